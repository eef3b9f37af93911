//! The feed with watchers that are read by hand, and no face.

mod bounds;
mod model;
mod running;
mod snapshots;
mod tenants;

use super::*;
use crate::id::Tenant;
use crate::marker::{Cover, Marker, Second, Thing, unpack};
use crate::refusal::Code;
use crate::store::Incarnation;
use aws_lc_rs::digest::{SHA256, digest};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio_stream::Stream as _;

/// What is sent, kept in the place of bytes.
#[derive(Clone, Debug)]
enum Message {
    Part(Vec<u8>, bool, Option<End>),
    Delta(Vec<u8>, Label),
    Beat(Label),
}

/// Frames are as long as the markers in them, and begin with the number of a message.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<Message>>>);

impl Kept {
    fn keep(&self, size: usize, message: Message) -> Bytes {
        let mut kept = self.0.lock().unwrap();
        let mut frame = kept.len().to_be_bytes().to_vec();
        frame.resize(frame.len().max(size), 0);
        kept.push(message);
        frame.into()
    }

    fn get(&self, frame: &Bytes) -> Message {
        let number = usize::from_be_bytes(*frame.first_chunk().unwrap());
        self.0.lock().unwrap()[number].clone()
    }
}

impl Encode for Kept {
    fn part(&self, markers: Vec<u8>, is_first: bool, end: Option<&End>) -> Bytes {
        let size = markers.len();
        self.keep(size, Message::Part(markers, is_first, end.cloned()))
    }

    fn delta(&self, markers: Vec<u8>, label: &Label) -> Bytes {
        self.keep(markers.len(), Message::Delta(markers, *label))
    }

    fn heartbeat(&self, label: &Label) -> Bytes {
        self.keep(0, Message::Beat(*label))
    }
}

fn revision(incarnation: u128, counter: u64) -> Revision {
    let incarnation = Incarnation(incarnation);
    Revision {
        incarnation,
        counter,
    }
}

fn label(counter: u64) -> Label {
    let as_of = Timestamp::from_second(i64::try_from(counter).unwrap()).unwrap();
    Label {
        revision: revision(1, counter),
        as_of: Some(as_of),
        earliest: None,
    }
}

fn name(id: &str) -> MarkerId {
    Thing::Issuer(id).id()
}

/// A feed at revision 1, and what it reads and writes.
struct Site {
    hot: Arc<HotSet>,
    kept: Kept,
    feed: Feed,
    now: Cell<Instant>,
}

impl Site {
    fn new(bounds: Bounds) -> Self {
        let (hot, kept) = (Arc::<HotSet>::default(), Kept::default());
        let encode = Box::new(kept.clone());
        let feed = Feed::bounded(Arc::clone(&hot), encode, || label(1), bounds);
        let now = Cell::new(Instant::now());
        Self {
            hot,
            kept,
            feed,
            now,
        }
    }

    fn wait(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    /// How many snapshots there are in memory.
    fn snapshots(&self) -> usize {
        self.feed.0.state().snapshots.len()
    }

    fn make_room(&self) -> Room {
        let bytes = snapshot::expected(self.hot.markers());
        self.feed.0.change().make_room(self.now.get(), bytes)
    }

    fn take_snapshot(&self) {
        self.feed.0.take_snapshot(|| self.now.get());
    }

    /// As somebody who is told everything.
    fn watch(&self, from: Option<Revision>) -> Watcher {
        self.view(&View::All, from)
    }

    fn view(&self, view: &View, from: Option<Revision>) -> Watcher {
        self.feed.watch("somebody", view, from).unwrap()
    }

    fn revoke(&self, id: &str) {
        self.hot.revoke(Thing::Issuer(id), Second::NEVER);
    }

    /// What comes next; a snapshot is made if it is waited for.
    fn next(&self, watcher: &mut Watcher) -> Option<Message> {
        for _ in 0..2 {
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut *watcher).poll_next(&mut cx) {
                Poll::Ready(Some(frame)) => return Some(self.kept.get(&frame)),
                Poll::Ready(None) => return None,
                Poll::Pending => {
                    let room = self.make_room();
                    if room == Room::Made {
                        assert!(self.snapshots() < limits::SNAPSHOTS);
                        self.take_snapshot();
                    }
                    assert!(self.snapshots() <= limits::SNAPSHOTS);
                    let bytes = self.feed.0.state().snapshot_bytes();
                    assert!(self.snapshots() <= 1 || bytes <= self.feed.0.bounds.snapshots);
                    if room != Room::None {
                        self.feed.0.tell_ready();
                    }
                }
            }
        }
        None
    }
}

/// A verifier.
#[derive(Clone, Debug, Default)]
struct Client {
    set: BTreeMap<MarkerId, Cover>,
    coming: Option<Vec<u8>>,
    /// The digests of the parts so far.
    digests: Vec<u8>,
    /// What it was told that its set is of.
    view: Option<[u8; 16]>,
    label: Option<Label>,
    /// Since it came the last time.
    stream: Option<Revision>,
}

impl Client {
    /// Takes a message. Answers whether its set is whole.
    fn take(&mut self, message: Message) -> bool {
        let label = match &message {
            Message::Part(_, _, end) => end.as_ref().map(|end| end.label),
            Message::Delta(_, label) | Message::Beat(label) => Some(*label),
        };
        if let Some(Label { revision, .. }) = label {
            let before = self.stream.replace(revision);
            let goes_back = before.is_some_and(|before| {
                before.incarnation == revision.incarnation && before.counter > revision.counter
            });
            assert!(!goes_back, "back to {revision}");
        }
        match message {
            Message::Part(markers, is_first, end) => {
                if is_first {
                    self.coming = Some(Vec::new());
                    self.digests.clear();
                }
                self.digests.extend(digest(&SHA256, &markers).as_ref());
                let coming = self.coming.as_mut().unwrap();
                coming.extend(markers);
                let Some(end) = end else {
                    return false;
                };
                assert_eq!(digest(&SHA256, &self.digests).as_ref(), end.digest);
                let all = unpack(coming).unwrap();
                self.set = all.map(|marker| (marker.id, marker.cover)).collect();
                assert_eq!(u64::try_from(self.set.len()).unwrap(), end.count);
                self.coming = None;
                self.view = Some(end.view);
                self.label = Some(end.label);
            }
            Message::Delta(markers, label) => {
                assert!(self.coming.is_none(), "a delta within a snapshot");
                for Marker { id, cover } in unpack(&markers).unwrap() {
                    if cover.before == Second::ZERO {
                        self.set.remove(&id);
                    } else {
                        self.set.insert(id, cover);
                    }
                }
                self.label = Some(label);
            }
            Message::Beat(label) => {
                assert!(self.coming.is_none(), "a heartbeat within a snapshot");
                self.label = Some(label);
            }
        }
        true
    }

    fn read_all(&mut self, site: &Site, watcher: &mut Watcher) {
        while let Some(message) = site.next(watcher) {
            self.take(message);
        }
    }
}

fn set(hot: &HotSet) -> BTreeMap<MarkerId, Cover> {
    let mut all = BTreeMap::new();
    hot.markers().for_each(|marker, _| {
        all.insert(marker.id, marker.cover);
    });
    all
}

#[test]
fn snapshots_and_deltas_come_in_parts_of_so_many_and_not_one_more() {
    for (count, parts) in [
        (limits::SNAPSHOT_PART, 1),
        (limits::SNAPSHOT_PART + 1, 2),
        (limits::DELTA_MARKERS, 1),
        (limits::DELTA_MARKERS + 1, 2),
    ] {
        let site = Site::new(Bounds {
            catch_up: 0,
            ..Bounds::default()
        });
        let (mut watcher, mut client) = (site.watch(None), Client::default());
        client.read_all(&site, &mut watcher);
        (0..count).for_each(|n| site.revoke(&n.to_string()));
        site.feed.advance(label(2));
        let mut reached = Vec::new();
        while let Some(message) = site.next(&mut watcher) {
            assert!(matches!(message, Message::Delta(..)));
            client.take(message);
            reached.push(client.label.unwrap());
        }
        // Only the last one says that the revision is reached.
        assert_eq!(reached.len(), parts);
        assert!(reached.iter().rev().skip(1).all(|at| *at == label(1)));
        assert_eq!(reached.last(), Some(&label(2)));
        assert_eq!(client.set.len(), count);
        let mut other = site.watch(None);
        let mut firsts = Vec::new();
        while let Some(Message::Part(markers, is_first, end)) = site.next(&mut other) {
            firsts.push(is_first);
            // The last one has none, and says what was sent.
            assert_eq!(end.is_some(), firsts.len() == parts + 1);
            assert_eq!(end.is_some(), markers.is_empty());
        }
        assert!(firsts[0] && firsts[1..].iter().all(|is_first| !is_first));
        assert_eq!(firsts.len(), parts + 1);
    }
}

#[test]
fn so_many_watch_at_a_time_and_those_who_leave_make_room() {
    let bounds = Bounds::default();
    assert_eq!(bounds.watchers, limits::WATCHERS);
    let site = Site::new(Bounds {
        watchers: 3,
        ..bounds
    });
    let watch = |who: &str| site.feed.watch(who, &View::All, None);
    let mut all: Vec<_> = ["a", "b", "c"].map(|who| watch(who).unwrap()).into();
    assert_eq!(site.feed.counts().watchers, 3);
    assert_eq!(watch("d").unwrap_err().code(), Code::TooBusy);
    assert_eq!(site.feed.counts().refused, 1);
    all.pop();
    all.push(watch("d").unwrap());
    assert_eq!(site.feed.counts().watchers, 3);
}

#[test]
fn one_principal_takes_so_many_seats_and_not_one_more() {
    let site = Site::new(Bounds::default());
    let watch = |who: &str| site.feed.watch(who, &View::All, None);
    let take = || watch("fleet").unwrap();
    let mut fleet: Vec<_> = (0..limits::WATCHERS_PER_PRINCIPAL)
        .map(|_| take())
        .collect();
    assert_eq!(watch("fleet").unwrap_err().code(), Code::TooBusy);
    assert_eq!(site.feed.counts().refused, 1);
    let other = watch("other").unwrap();
    fleet.pop();
    fleet.push(take());
    assert_eq!(watch("fleet").unwrap_err().code(), Code::TooBusy);
    drop((fleet, other));
    assert_eq!(site.feed.counts().watchers, 0);
    drop(watch("fleet").unwrap());
}

/// Only what is so in the end is told of a marker that changed more than once.
#[test]
fn a_delta_has_each_marker_once_as_it_is_now() {
    let site = Site::new(Bounds::default());
    let (mut watcher, mut client) = (site.watch(None), Client::default());
    client.read_all(&site, &mut watcher);
    site.revoke("a");
    site.revoke("b");
    site.hot.release(Thing::Issuer("a"));
    site.feed.advance(label(2));
    let Some(Message::Delta(markers, _)) = site.next(&mut watcher) else {
        panic!("no delta");
    };
    let told: BTreeMap<_, _> = unpack(&markers)
        .unwrap()
        .map(|marker| (marker.id, marker.cover.before))
        .collect();
    assert_eq!(markers.len(), 48);
    assert_eq!(
        told,
        [(name("a"), Second::ZERO), (name("b"), Second::NEVER)].into()
    );
}

#[test]
fn who_comes_back_is_sent_what_it_missed_and_what_came_without_a_revision() {
    let site = Site::new(Bounds::default());
    site.revoke("a");
    site.feed.advance(label(2));
    let deltas = |from: Revision| {
        let (mut watcher, mut ids) = (site.watch(Some(from)), Vec::new());
        while let Some(message) = site.next(&mut watcher) {
            match message {
                Message::Delta(markers, _) => {
                    ids.extend(unpack(&markers).unwrap().map(|marker| marker.id));
                }
                Message::Beat(_) => {}
                Message::Part(..) => return None,
            }
        }
        Some(ids)
    };
    assert_eq!(deltas(revision(1, 2)), Some(vec![name("a")]));
    site.feed.advance(label(3));
    site.revoke("b");
    site.feed.advance(label(4));
    assert_eq!(deltas(revision(1, 3)), Some(vec![name("b")]));
    // An emergency: nothing can be written, the revision stays.
    site.revoke("c");
    site.feed.advance(label(4));
    let both = Some(vec![name("b"), name("c")]);
    assert_eq!(deltas(revision(1, 4)), both);
    // Ahead of ours, of another incarnation, and from when nothing was kept yet.
    for unknown in [
        revision(1, 5),
        revision(2, 4),
        revision(1, 1),
        revision(1, 0),
    ] {
        assert_eq!(deltas(unknown), None, "{unknown}");
    }
    // The data is another, and its counters are no longer those before.
    let other = Label {
        revision: revision(2, 3),
        as_of: None,
        earliest: None,
    };
    site.revoke("d");
    site.feed.advance(other);
    assert_eq!(deltas(revision(2, 3)), Some(vec![name("d")]));
    assert_eq!(deltas(revision(2, 2)), None);
    assert_eq!(deltas(revision(1, 4)), None);
}

/// A heartbeat from before a delta would say that the newest revision is an older one.
#[test]
fn a_heartbeat_never_goes_back() {
    let site = Site::new(Bounds::default());
    let (mut watcher, mut client) = (site.watch(None), Client::default());
    client.read_all(&site, &mut watcher);
    site.feed.beat();
    site.revoke("a");
    site.feed.advance(label(2));
    assert!(matches!(site.next(&mut watcher), Some(Message::Delta(..))));
    assert!(site.next(&mut watcher).is_none());
    site.feed.beat();
    let Some(Message::Beat(beat)) = site.next(&mut watcher) else {
        panic!("no heartbeat");
    };
    assert_eq!(beat, label(2));
    // Who gets a snapshot that was made for others is told at once how fresh it is now.
    let mut late = site.watch(None);
    assert!(matches!(site.next(&mut late), Some(Message::Part(..))));
    assert!(matches!(site.next(&mut late), Some(Message::Part(..))));
    assert!(matches!(site.next(&mut late), Some(Message::Delta(..))));
    assert!(matches!(site.next(&mut late), Some(Message::Beat(_))));
    assert!(site.next(&mut late).is_none());
    // And who comes back.
    let mut back = site.watch(Some(revision(1, 2)));
    assert!(matches!(site.next(&mut back), Some(Message::Delta(..))));
    assert!(matches!(site.next(&mut back), Some(Message::Beat(_))));
    // In words of its own, if it knows better than the last heartbeat.
    site.feed.advance(label(3));
    let mut back = site.watch(Some(revision(1, 3)));
    assert!(matches!(site.next(&mut back), Some(Message::Beat(at)) if at == label(3)));
    assert!(site.next(&mut back).is_none());
}
