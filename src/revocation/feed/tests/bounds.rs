//! What snapshots take together, and what is warned of before a bound is met.

use super::*;
use crate::limits::nearing::testing::warnings;

/// A site whose snapshots are of two parts and the end, with this bound on what all of them take.
fn two_parts(snapshots: u64) -> Site {
    let site = Site::new(Bounds {
        snapshots,
        ..Bounds::default()
    });
    (0..=limits::SNAPSHOT_PART).for_each(|n| site.revoke(&n.to_string()));
    site.feed.advance(label(2));
    site
}

/// Somebody who needs a snapshot of its own.
fn anew(site: &Site, counter: u64) -> Watcher {
    site.feed.advance(label(counter));
    let mut watcher = site.watch(None);
    watcher.look(&View::All);
    watcher
}

/// Whether the next part that comes is a first one.
fn part(site: &Site, watcher: &mut Watcher) -> Option<bool> {
    match site.next(watcher) {
        Some(Message::Part(_, is_first, None)) => Some(is_first),
        None => None,
        other => panic!("not a part: {other:?}"),
    }
}

/// What one snapshot takes, and what it is taken for before it is made.
fn bytes() -> (u64, u64) {
    let site = two_parts(0);
    assert_eq!(part(&site, &mut site.watch(None)), Some(true));
    let bytes = site.feed.0.state().snapshot_bytes();
    let expected = snapshot::expected(site.hot.markers());
    assert!(bytes <= expected && bytes > 0);
    (bytes, expected)
}

#[test]
fn a_second_snapshot_is_made_within_so_many_bytes_and_not_one_more() {
    assert_eq!(Bounds::default().snapshots, limits::SNAPSHOTS_BYTES);
    let (bytes, expected) = bytes();
    for (spare, snapshots) in [(0, 2), (1, 1)] {
        let site = two_parts(bytes + expected - spare);
        let mut first = anew(&site, 3);
        assert_eq!(part(&site, &mut first), Some(true));
        let mut second = anew(&site, 4);
        let is_made = part(&site, &mut second).is_some();
        assert_eq!((is_made, site.snapshots()), (snapshots == 2, snapshots));
        assert_eq!(part(&site, &mut first), Some(false), "it is still there");
    }
}

#[test]
fn the_newest_snapshot_is_made_however_large_it_is() {
    let site = two_parts(0);
    let mut client = Client::default();
    client.read_all(&site, &mut site.watch(None));
    assert_eq!(client.set, set(&site.hot));
}

#[test]
fn where_the_set_has_grown_beyond_the_room_that_there_was_only_the_newest_stays() {
    let (bytes, expected) = bytes();
    for (more, snapshots) in [(0, 2), (2 * limits::WATCH_TENANTS, 1)] {
        let site = two_parts(bytes + expected);
        let mut reading = anew(&site, 3);
        assert_eq!(part(&site, &mut reading), Some(true));
        let mut other = anew(&site, 4);
        assert_eq!(site.make_room(), Room::Made);
        // While it is made.
        (0..more + limits::WATCH_TENANTS).for_each(|n| site.revoke(&format!("more {n}")));
        site.take_snapshot();
        assert_eq!(site.snapshots(), snapshots);
        assert_eq!(part(&site, &mut other), Some(true));
        // Whoever read the one before begins anew, where it is gone.
        assert_eq!(part(&site, &mut reading), Some(snapshots == 1));
    }
}

#[test]
fn who_reads_the_only_snapshot_has_its_turn_however_often_others_need_another() {
    let site = two_parts(0);
    let (mut reading, mut client) = (anew(&site, 3), Client::default());
    assert!(!client.take(site.next(&mut reading).unwrap()), "a part");
    let mut others = Vec::new();
    let short = Duration::from_millis(1);
    for counter in 4..10 {
        let mut other = anew(&site, counter);
        assert_eq!(part(&site, &mut other), None);
        others.push(other);
    }
    site.wait(limits::SNAPSHOT_TURN.saturating_sub(short));
    assert!(others.iter_mut().all(|other| part(&site, other).is_none()));
    // It comes to its end, and makes room by that.
    while !client.take(site.next(&mut reading).unwrap()) {}
    assert_eq!(client.set, set(&site.hot));
    for other in &mut others {
        assert_eq!(part(&site, other), Some(true));
    }
    assert_eq!((site.snapshots(), site.feed.counts().lagged), (1, 0));

    // All of them read the second one, until it has had its turn.
    let mut last = anew(&site, 10);
    assert_eq!(part(&site, &mut last), None);
    site.wait(limits::SNAPSHOT_TURN);
    assert_eq!(part(&site, &mut last), Some(true));
    // Those who were slower begin with the third, which has all of its turn: nobody takes it from them meanwhile.
    let mut further = anew(&site, 11);
    for other in &mut others {
        assert_eq!(part(&site, other), Some(true));
        assert_eq!(part(&site, &mut further), None);
    }
    site.wait(limits::SNAPSHOT_TURN.saturating_sub(short));
    assert_eq!(part(&site, &mut further), None);
    for other in &mut others {
        assert_eq!(part(&site, other), Some(false));
    }
    assert_eq!(site.feed.counts().lagged, 6);
    assert_eq!(site.feed.counts().snapshots, 3);
}

/// The share of a bound from which on it is warned of.
fn near(most: usize) -> usize {
    most * limits::NEAR.0 / 100
}

#[test]
fn markers_that_verifiers_can_hardly_hold_are_warned_of_once() {
    let bounds = Bounds::default();
    assert_eq!(bounds.markers, limits::FEED_MARKERS);
    let site = Site::new(Bounds {
        markers: 10,
        ..bounds
    });
    let mut put = 0;
    let mut warned = |more: usize| {
        (put..put + more).for_each(|n| site.revoke(&n.to_string()));
        put += more;
        warnings(|| site.feed.beat()).len()
    };
    assert_eq!(warned(near(10) - 1), 0);
    assert_eq!(warned(1), 1);
    assert_eq!((warned(0), warned(5)), (0, 0));
}

#[test]
fn watchers_are_warned_of_before_they_are_turned_away() {
    let site = Site::new(Bounds {
        watchers: 20,
        per_principal: 10,
        ..Bounds::default()
    });
    let mut all = Vec::new();
    let mut warned =
        |who: &str| warnings(|| all.push(site.feed.watch(who, &View::All, None).unwrap()));
    for _ in 0..near(10) - 1 {
        assert!(warned("fleet").is_empty());
    }
    let told = warned("fleet");
    assert!(told.len() == 1 && told[0].contains("fleet"), "{told:?}");
    assert!(warned("fleet").is_empty());
    assert_eq!(site.feed.counts().most_of_one, near(10) + 1);
    for n in near(10) + 1..near(20) - 1 {
        assert!(warned(&n.to_string()).is_empty());
    }
    let told = warned("one more");
    assert!(told.len() == 1 && told[0].contains("most=20"), "{told:?}");
    assert!(warned("another").is_empty());
    assert_eq!(site.feed.counts().refused, 0);
}
