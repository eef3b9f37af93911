//! What a feed tells, message by message, on a clock that tests move.

mod bounds;
mod turns;

use super::held::{Done, Reader};
use super::told::Fault;
use super::*;
use crate::clock::testing::TestClock;
use crate::limits;
use crate::marker::{Cover, Kind, Marker, MarkerId, Part, Second, pack};
use crate::proto::watch_response::Event;
use crate::proto::{Delta, Heartbeat, SnapshotEnd, SnapshotPart};
use aws_lc_rs::digest::{SHA256, digest};
use tokio_util::bytes::Bytes;

impl Feed {
    /// One that nothing comes to but what tests hand it.
    pub(in crate::verify) fn still(clock: Arc<dyn Clock>) -> Self {
        let (_, progress) = watch::channel(Progress::default());
        Self(Arc::new(Inner {
            held: held(clock),
            progress,
            _task: None,
        }))
    }

    /// A snapshot of these comes in.
    pub(in crate::verify) fn snapshot(&self, markers: &[Marker]) {
        let mut reader = Reader::new(&self.0.held, limits::FEED_MARKERS, false);
        let as_of = self.0.held.clock.now();
        reader.take(whole("1", markers, as_of)).unwrap();
    }

    /// A change comes in.
    pub(in crate::verify) fn delta(&self, markers: &[Marker]) {
        let mut reader = Reader::new(&self.0.held, limits::FEED_MARKERS, true);
        let as_of = self.0.held.clock.now();
        reader.take(delta("2", markers, as_of)).unwrap();
    }
}

fn packed(markers: &[Marker]) -> Bytes {
    let mut bytes = Vec::new();
    markers.iter().for_each(|marker| pack(marker, &mut bytes));
    bytes.into()
}

fn time(at: Timestamp) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: 0,
    })
}

/// Over the digests of parts.
fn over(parts: &[&[Marker]]) -> Vec<u8> {
    let parts = parts.iter().map(|part| digest(&SHA256, &packed(part)));
    let all: Vec<u8> = parts.flat_map(|part| part.as_ref().to_vec()).collect();
    digest(&SHA256, &all).as_ref().to_vec()
}

fn end(revision: &str, all: &[Marker], as_of: Timestamp) -> SnapshotEnd {
    SnapshotEnd {
        revision: revision.to_owned(),
        count: all.len().try_into().unwrap(),
        digest: over(&[all]),
        as_of: time(as_of),
        view: b"view".to_vec(),
    }
}

fn part(markers: &[Marker], first: bool, end: Option<SnapshotEnd>) -> Event {
    Event::Snapshot(SnapshotPart {
        markers: packed(markers),
        first,
        end,
    })
}

fn whole(revision: &str, markers: &[Marker], as_of: Timestamp) -> Event {
    part(markers, true, Some(end(revision, markers, as_of)))
}

/// The rest of a snapshot whose first part has so many of them.
fn rest(revision: &str, all: &[Marker], first: usize, as_of: Timestamp) -> Event {
    let mut end = end(revision, all, as_of);
    end.digest = over(&[&all[..first], &all[first..]]);
    part(&all[first..], false, Some(end))
}

fn delta(revision: &str, markers: &[Marker], as_of: Timestamp) -> Event {
    Event::Delta(Delta {
        revision: revision.to_owned(),
        markers: packed(markers),
        as_of: time(as_of),
    })
}

fn beat(revision: &str, as_of: Timestamp) -> Event {
    Event::Heartbeat(Heartbeat {
        revision: revision.to_owned(),
        as_of: time(as_of),
        earliest: time(as_of),
    })
}

/// The marker of the `n`-th thing, in force for ever.
fn marker(n: u8) -> Marker {
    Marker {
        id: MarkerId::new([n; 16]),
        cover: Cover::all(Second::NEVER),
    }
}

fn undone(n: u8) -> Marker {
    let cover = Cover {
        before: Second::ZERO,
        until: Second::NEVER,
    };
    Marker { cover, ..marker(n) }
}

struct World {
    clock: Arc<TestClock>,
    feed: Feed,
}

impl World {
    fn new() -> Self {
        let clock = TestClock::at(1_000_000);
        let feed = Feed::still(clock.clone());
        Self { clock, feed }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn reader(&self, resumed: bool) -> Reader<'_> {
        Reader::new(&self.feed.0.held, 8, resumed)
    }

    fn covers(&self, n: u8) -> bool {
        let part = Part::known(MarkerId::new([n; 16]), Kind::Token, Second::FIRST);
        self.feed.check(&[part].into_iter().collect()).is_err()
    }

    fn covered(&self) -> Vec<u8> {
        (0..20).filter(|n| self.covers(*n)).collect()
    }

    fn revision(&self) -> Option<String> {
        self.feed.status().revision.map(|text| text.to_string())
    }

    fn age(&self) -> Option<u64> {
        self.feed.status().age.map(|age| age.as_secs())
    }
}

fn refused(done: Result<Done, Fault>) {
    assert!(done.is_err(), "{done:?}");
}

#[test]
fn a_snapshot_counts_once_it_is_whole_and_takes_the_place_of_all() {
    let world = World::new();
    let mut reader = world.reader(false);
    assert_eq!((world.age(), world.revision()), (None, None));
    let (all, now) = ([marker(1), marker(2), marker(3)], world.now());
    reader.take(part(&all[..2], true, None)).unwrap();
    assert!(world.covered().is_empty() && world.age().is_none());
    // Somebody is there, and that says nothing yet.
    reader.take(beat("a", now)).unwrap();
    assert_eq!(world.age(), None);
    reader.take(rest("a", &all, 2, now)).unwrap();
    assert_eq!(world.covered(), [1, 2, 3]);
    assert_eq!((world.age(), world.revision()), (Some(0), Some("a".into())));

    reader.take(part(&[marker(4)], true, None)).unwrap();
    world.clock.advance(5);
    reader.take(beat("a2", world.now())).unwrap();
    assert_eq!(
        world.covered(),
        [1, 2, 3],
        "the old one is in use until then"
    );
    assert_eq!(world.age(), Some(5), "and nothing says that it is fresh");
    let all = [marker(4), marker(5)];
    let done = reader.take(rest("b", &all, 1, world.now()));
    assert!(matches!(done, Ok(Done::Replaced(Some(_)))));
    assert_eq!(world.covered(), [4, 5]);
    assert_eq!((world.age(), world.revision()), (Some(0), Some("b".into())));
}

#[test]
fn a_snapshot_begins_anew_with_each_first_part() {
    let world = World::new();
    let mut reader = world.reader(false);
    reader.take(part(&[marker(1)], true, None)).unwrap();
    reader.take(whole("a", &[marker(2)], world.now())).unwrap();
    assert_eq!(world.covered(), [2]);
}

#[test]
fn a_snapshot_that_is_not_what_was_sent_changes_nothing() {
    let world = World::new();
    world.feed.snapshot(&[marker(1)]);
    let all = [marker(2), marker(3)];
    let right = || end("b", &all, world.now());
    let wrong = [
        SnapshotEnd {
            count: 1,
            ..right()
        },
        SnapshotEnd {
            count: 3,
            ..right()
        },
        SnapshotEnd {
            digest: end("b", &all[1..], world.now()).digest,
            ..right()
        },
        SnapshotEnd {
            digest: Vec::new(),
            ..right()
        },
        SnapshotEnd {
            revision: String::new(),
            ..right()
        },
        SnapshotEnd {
            revision: "r".repeat(limits::FEED_REVISION + 1),
            ..right()
        },
        SnapshotEnd {
            as_of: Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            }),
            ..right()
        },
    ];
    for end in wrong {
        let mut reader = world.reader(false);
        refused(reader.take(part(&all, true, Some(end.clone()))));
        assert_eq!(world.covered(), [1], "{end:?}");
        assert_eq!(world.revision(), Some("1".into()), "{end:?}");
    }
    refused(world.reader(false).take(part(&all, false, Some(right()))));
    refused(world.reader(false).take(Event::Snapshot(SnapshotPart {
        markers: packed(&all).slice(1..),
        first: true,
        end: Some(right()),
    })));
    let mut reader = world.reader(false);
    reader.take(part(&all, true, Some(right()))).unwrap();
    // It is of the same instant as what is held, and may be of an earlier revision: until all has come that is newer, what
    // either of them revokes is refused.
    assert_eq!(world.covered(), [1, 2, 3]);
    reader.take(beat("2", world.now())).unwrap();
    assert_eq!(world.covered(), [2, 3]);
}

#[test]
fn changes_are_made_in_their_order_and_undone() {
    let world = World::new();
    let mut reader = world.reader(false);
    reader.take(whole("a", &[marker(1)], world.now())).unwrap();
    reader
        .take(delta("b", &[marker(2), marker(3)], world.now()))
        .unwrap();
    assert_eq!(world.covered(), [1, 2, 3]);
    world.clock.advance(7);
    assert_eq!(world.age(), Some(7));
    reader
        .take(delta("c", &[undone(2), undone(1), marker(1)], world.now()))
        .unwrap();
    assert_eq!(world.covered(), [1, 3]);
    assert_eq!((world.age(), world.revision()), (Some(0), Some("c".into())));
    world.clock.advance(7);
    reader.take(beat("d", world.now())).unwrap();
    assert_eq!((world.age(), world.revision()), (Some(0), Some("d".into())));
}

#[test]
fn a_change_of_what_was_not_told_is_refused() {
    let world = World::new();
    refused(
        world
            .reader(false)
            .take(delta("a", &[marker(1)], world.now())),
    );
    world.reader(false).take(beat("a", world.now())).unwrap();
    assert_eq!(world.age(), None, "a beat without anything says nothing");
    world.feed.snapshot(&[marker(1)]);
    world.clock.advance(5);
    // A feed that was asked for anew goes on from nothing that is held.
    let mut anew = world.reader(false);
    anew.take(beat("z", world.now())).unwrap();
    refused(anew.take(delta("z", &[marker(2)], world.now())));
    assert_eq!((world.age(), world.revision()), (Some(5), Some("1".into())));
    // One that was asked to go on does.
    let mut on = world.reader(true);
    on.take(delta("2", &[marker(2)], world.now())).unwrap();
    assert_eq!((world.covered(), world.age()), (vec![1, 2], Some(0)));
    // In the middle of a snapshot there is nothing that it would change.
    on.take(part(&[marker(3)], true, None)).unwrap();
    refused(on.take(delta("3", &[marker(4)], world.now())));
}

#[test]
fn what_is_not_whole_changes_nothing() {
    let world = World::new();
    world.feed.snapshot(&[marker(1)]);
    let wrong = [
        Delta {
            revision: "b".into(),
            markers: packed(&[marker(2)]).slice(..23),
            as_of: time(world.now()),
        },
        Delta {
            revision: String::new(),
            markers: packed(&[marker(2)]),
            as_of: time(world.now()),
        },
        Delta {
            revision: "b".into(),
            markers: packed(&[marker(2)]),
            as_of: Some(prost_types::Timestamp {
                seconds: i64::MIN,
                nanos: 0,
            }),
        },
    ];
    for delta in wrong {
        refused(world.reader(true).take(Event::Delta(delta)));
        assert_eq!(world.covered(), [1]);
    }
}

#[test]
fn an_older_snapshot_never_takes_the_place_of_a_newer_one() {
    let world = World::new();
    let began = world.now();
    let mut reader = world.reader(false);
    reader.take(whole("a", &[], began)).unwrap();
    world.clock.advance(10);
    reader.take(delta("b", &[marker(1)], world.now())).unwrap();
    // Another broker, that lags behind, or one that sends what it made for others.
    let mut anew = world.reader(false);
    // What it revokes counts at once, whoever tells it: in the snapshot as after that.
    anew.take(whole("a", &[marker(2)], began)).unwrap();
    assert_eq!(
        (world.covered(), world.revision()),
        (vec![1, 2], Some("b".into()))
    );
    anew.take(delta("a2", &[marker(3)], began)).unwrap();
    anew.take(beat("a2", began)).unwrap();
    assert_eq!((world.covered(), world.age()), (vec![1, 2, 3], Some(0)));
    // It has caught up, once that is all.
    let told = world.now();
    let done = anew.take(delta("b", &[marker(1), undone(2)], told));
    assert!(matches!(done, Ok(Done::Applied)));
    let done = anew.take(beat("b", told));
    assert!(matches!(done, Ok(Done::Replaced(Some(_)))));
    assert_eq!(
        (world.covered(), world.revision()),
        (vec![1, 3], Some("b".into()))
    );
    anew.take(delta("c", &[undone(3)], told)).unwrap();
    assert_eq!(world.covered(), [1]);
    // One that is of the same instant is as good, whatever time it took to come.
    let told = world.now();
    world.clock.advance(3);
    let mut same = world.reader(false);
    same.take(whole("b", &[marker(1)], told)).unwrap();
    same.take(beat("b", told)).unwrap();
    assert_eq!(world.age(), Some(3));
    // And once what is held is older than that, it is an older one no more.
    world.clock.advance(30);
    world
        .reader(false)
        .take(whole("c", &[marker(2)], world.now()))
        .unwrap();
    assert_eq!(world.covered(), [2]);
}

#[test]
fn a_broker_that_is_sure_of_nothing_makes_nothing_fresh() {
    let world = World::new();
    let unsure = |revision: &str, all: &[Marker]| {
        let end = SnapshotEnd {
            as_of: None,
            ..end(revision, all, world.now())
        };
        part(all, true, Some(end))
    };
    let silent = |revision: &str| Heartbeat {
        revision: revision.into(),
        as_of: None,
        earliest: None,
    };
    let mut reader = world.reader(false);
    reader.take(unsure("a", &[marker(1)])).unwrap();
    assert_eq!((world.covered(), world.age()), (vec![1], None));
    reader.take(Event::Heartbeat(silent("a"))).unwrap();
    assert_eq!(world.age(), None);
    reader.take(beat("a", world.now())).unwrap();
    assert_eq!(world.age(), Some(0));
    // What is held is better known than another that may be older.
    world.clock.advance(9);
    let mut anew = world.reader(false);
    anew.take(unsure("b", &[marker(2)])).unwrap();
    // Though what it tells of counts from its coming.
    assert_eq!((world.covered(), world.age()), (vec![1, 2], Some(9)));
    anew.take(beat("b", world.now())).unwrap();
    assert_eq!((world.covered(), world.age()), (vec![2], Some(0)));
    anew.take(Event::Heartbeat(silent("c"))).unwrap();
    assert_eq!((world.age(), world.revision()), (Some(0), Some("c".into())));
}

#[test]
fn a_broker_that_lags_makes_what_is_held_no_older() {
    let world = World::new();
    let mut reader = world.reader(false);
    reader.take(whole("a", &[], world.now())).unwrap();
    let long_ago = Timestamp::from_second(world.now().as_second() - 40).unwrap();
    world.clock.advance(2);
    world.reader(true).take(beat("a", long_ago)).unwrap();
    assert_eq!(world.age(), Some(2));
}

#[test]
fn markers_end_when_both_clocks_say_so() {
    let world = World::new();
    let ends = |n: u8, seconds: i64| {
        let at = world.now().as_second() + seconds;
        let until = Second::of(Timestamp::from_second(at).unwrap());
        Marker {
            cover: Cover::all(until),
            ..marker(n)
        }
    };
    let mut reader = world.reader(false);
    let all = [ends(1, 100), ends(2, 100_000), marker(3)];
    reader.take(whole("a", &all, world.now())).unwrap();
    // Our clock is a week ahead: tokens that have expired by it are good again once it is set right.
    world.clock.step(7 * 24 * 60 * 60);
    world.feed.0.held.expire();
    assert_eq!(world.covered(), [1, 2, 3]);
    world.clock.step(-7 * 24 * 60 * 60);
    // The broker's is.
    let ahead = Timestamp::from_second(world.now().as_second() + 1_000).unwrap();
    reader.take(beat("a", ahead)).unwrap();
    world.feed.0.held.expire();
    assert_eq!(world.covered(), [1, 2, 3]);
    // Both are, and the broker has counted that no more than an instant has passed, or cannot say.
    let counted = world.now();
    world.clock.step(7 * 24 * 60 * 60);
    for earliest in [time(counted), None] {
        let beat = Heartbeat {
            revision: "a".to_owned(),
            as_of: time(world.now()),
            earliest,
        };
        reader.take(Event::Heartbeat(beat)).unwrap();
        world.feed.0.held.expire();
        assert_eq!(world.covered(), [1, 2, 3]);
    }
    world.clock.step(-7 * 24 * 60 * 60);
    world.clock.advance(1_000);
    reader.take(beat("a", world.now())).unwrap();
    world.feed.0.held.expire();
    assert_eq!(world.covered(), [2, 3]);
}
