//! The feed: every marker in force to whoever watches, then each change of them.
//!
//! What is sent is encoded once, however many are sent it. Changes are kept as deltas in a ring of so many bytes, each with a
//! number; a watcher is a place in the ring, and nothing is buffered for one that reads slowly. One whose place has left
//! the ring gets a snapshot again: the newest, which is kept for all who need one. One that somebody reads is kept beside it, for
//! a time, so that whoever reads it comes to its end however often others need a newer one (`state.rs`); and where both would
//! take more memory than they may, no newer one is made meanwhile.
//!
//! Of ten million markers a snapshot takes 240 MB, beside the 810 MB of the hot set and the ring's 16 MiB.
//!
//! Each delta and each part of a snapshot is of one partition (`partition.rs`), and a watcher passes over those that are not
//! for it. What a snapshot says of itself in the end is of those parts that were sent.
//!
//! # What a revision promises
//!
//! Whoever has taken everything up to a message that is labelled with a revision has every marker of that revision.
//! A label is read before the changes are taken, and a snapshot's before the set is gone through, so that each may hold
//! something newer, and never lacks anything. A delta tells of a marker what is so when it is made, and not what
//! was put: the last delta of a marker is what is in force, whoever put it, and taking one twice does no harm. What
//! was put without a revision ([`Feed::nudge`]) has the label of the revision before it; so whoever resumes at a revision is
//! sent the deltas of that one again.
//!
//! Of deltas that are made together only the last one has the new label. A watcher that passes over that one, after it was sent
//! another of them, is sent a heartbeat with the label in its place; one that was sent none hears of it with the next heartbeat
//! for all. Who watches other tenants' markers than before begins anew with a snapshot, and is not one who comes back: its
//! revision says what it has of another [`View`].

mod ring;
mod snapshot;
mod state;
mod stats;
mod watcher;

pub use snapshot::End;
pub use stats::Counts;
pub use watcher::Watcher;

use super::{HotSet, Partition, View};
use crate::limits;
use crate::limits::nearing::Nearing;
use crate::limits::seats::Most;
use crate::marker::{MarkerId, pack};
use crate::refusal::Refusal;
use crate::store::Revision;
use crate::store::recovery::CUTOFF;
use crate::store::replica::Replica;
use bytes::Bytes;
use jiff::Timestamp;
use ring::Delta;
use state::{Room, State};
use stats::{Seat, Stats};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How far what is sent goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The revision that it is of.
    pub revision: Revision,
    /// The last instant at which it was sure that nothing newer existed.
    pub as_of: Option<Timestamp>,
    /// The earliest that it can be, where that is known: what has ended before may be dropped.
    pub earliest: Option<Timestamp>,
}

/// What of the store becomes markers: those that are set by themselves, API keys, signing keys, the cut-off of a rollback.
const MARKED: [&str; 4] = [super::PREFIX, "key/", "signing/", CUTOFF];

impl Label {
    /// How far a replica is, which knows nothing of what time it is.
    #[must_use]
    pub fn of(replica: &Replica) -> Self {
        // First: what is confirmed after it may be of a newer revision than the one that is read.
        let as_of = replica.as_of();
        let revision = replica.revision();
        // Where a marker could not be read, nobody can say that nothing is missing.
        let is_whole = MARKED.iter().all(|prefix| replica.is_sound(prefix));
        let as_of = as_of.filter(|_| is_whole);
        Self {
            revision,
            as_of,
            earliest: None,
        }
    }
}

/// What is kept at most.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    watchers: usize,
    per_principal: usize,
    /// Bytes of deltas.
    deltas: usize,
    /// Bytes of deltas that may come after a small snapshot before it is made anew.
    catch_up: u64,
    /// Bytes of snapshots, where there is more than one.
    snapshots: u64,
    /// Markers that a verifier holds.
    markers: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            watchers: limits::WATCHERS,
            per_principal: limits::WATCHERS_PER_PRINCIPAL,
            deltas: limits::WATCH_DELTAS_BYTES,
            catch_up: limits::SNAPSHOT_CATCH_UP,
            snapshots: limits::SNAPSHOTS_BYTES,
            markers: limits::FEED_MARKERS,
        }
    }
}

/// How what is sent is written.
pub trait Encode: fmt::Debug + Send + Sync {
    /// A part of a snapshot, with its packed markers; the last part has none, and says what was sent.
    fn part(&self, markers: Vec<u8>, is_first: bool, end: Option<&End>) -> Bytes;
    /// Packed markers that changed.
    fn delta(&self, markers: Vec<u8>, label: &Label) -> Bytes;
    /// That all is well.
    fn heartbeat(&self, label: &Label) -> Bytes;
}

/// The feed. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hot: Arc<HotSet>,
    encode: Box<dyn Encode>,
    bounds: Bounds,
    state: RwLock<State>,
    /// Wakes the watchers: there is something new.
    ticks: watch::Sender<u64>,
    /// Wakes those that wait for a snapshot.
    ready: watch::Sender<u64>,
    /// A watcher needs a snapshot.
    wanted: Notify,
    /// Something was put without a revision.
    nudged: Notify,
    stats: Arc<Stats>,
    /// Whether there are nearly more markers than verifiers hold.
    nearing: Nearing,
}

impl Shared {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        self.ticks
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn tell_ready(&self) {
        self.ready
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Feed {
    /// A feed of `hot`, whose changes are kept from here on. `now` tells how far it is.
    #[must_use]
    pub fn new(hot: Arc<HotSet>, encode: Box<dyn Encode>, now: impl FnOnce() -> Label) -> Self {
        Self::bounded(hot, encode, now, Bounds::default())
    }

    fn bounded(
        hot: Arc<HotSet>,
        encode: Box<dyn Encode>,
        now: impl FnOnce() -> Label,
        bounds: Bounds,
    ) -> Self {
        hot.changes();
        // After it: what is not kept is then of this revision or before, or of the one that is being applied, which
        // `State` knows.
        let label = now();
        let beat = encode.heartbeat(&label);
        Self(Arc::new(Shared {
            hot,
            encode,
            bounds,
            state: RwLock::new(State::new(label, beat, bounds)),
            ticks: watch::Sender::new(0),
            ready: watch::Sender::new(0),
            wanted: Notify::new(),
            nudged: Notify::new(),
            stats: Arc::default(),
            nearing: Nearing::default(),
        }))
    }

    /// The principal `who` watches what is in its view, from a revision on of which it has all that is, or from the
    /// beginning.
    ///
    /// # Errors
    /// [`crate::refusal::Code::TooBusy`] past [`limits::WATCHERS`], and past [`limits::WATCHERS_PER_PRINCIPAL`] of its own.
    pub fn watch(
        &self,
        who: &str,
        view: &View,
        from: Option<Revision>,
    ) -> Result<Watcher, Refusal> {
        let most = Most {
            all: self.0.bounds.watchers,
            of_one: self.0.bounds.per_principal,
        };
        let seat = Seat::take(&self.0.stats, who, most)?;
        Ok(Watcher::new(Arc::clone(&self.0), seat, view, from))
    }

    /// Something was put into the hot set that no revision will tell of, or not now: it is sent at once.
    pub fn nudge(&self) {
        self.0.nudged.notify_one();
    }

    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.stats.counts(self.0.hot.markers().len())
    }

    /// Follows `revisions` until `stop`, and ends all who watch then. `now` tells how far it is, as [`Label::of`] does.
    pub async fn run(
        self,
        revisions: watch::Receiver<Revision>,
        now: impl Fn() -> Label,
        stop: CancellationToken,
    ) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow(revisions, &now) => {}
            () = self.build(&now) => {}
        }
        self.0.change().ended = true;
        self.0.tick();
        self.0.tell_ready();
    }

    async fn follow(&self, mut revisions: watch::Receiver<Revision>, now: impl Fn() -> Label) {
        let mut beats = interval(limits::WATCH_HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_soon = false;
        loop {
            let is_beat = tokio::select! {
                changed = revisions.changed() => match changed {
                    Ok(()) => false,
                    Err(_ended) => return,
                },
                () = self.0.nudged.notified() => false,
                _ = beats.tick() => true,
            };
            self.advance(now());
            if is_beat {
                self.beat();
                is_soon = false;
            } else if !is_soon && self.0.state().owes_word {
                beats.reset_after(limits::WATCH_WORD);
                is_soon = true;
            }
        }
    }

    /// Sends what has changed.
    fn advance(&self, label: Label) {
        let changes = self.0.hot.changes().into_iter();
        let mut changes: Vec<_> = changes.map(|(id, of)| (of, id)).collect();
        changes.sort_unstable();
        let before = self.0.state().label;
        let mut deltas = Vec::new();
        let mut chunks = changes
            .chunk_by(|(one, _), (other, _)| one == other)
            .flat_map(|alike| alike.chunks(limits::DELTA_MARKERS))
            .peekable();
        while let Some(chunk) = chunks.next() {
            let is_last = chunks.peek().is_none();
            // Only with the last one is the revision reached.
            let reached = if is_last { label } else { before };
            deltas.push(Delta {
                partition: chunk.first().map_or(Partition::SHARED, |(of, _)| *of),
                is_last,
                frame: self.0.encode.delta(self.packed(chunk), &reached),
            });
        }
        let is_something = !deltas.is_empty();
        self.0.change().advance(label, deltas);
        if is_something {
            self.0.tick();
        }
    }

    /// What is so of these markers.
    fn packed(&self, changed: &[(Partition, MarkerId)]) -> Vec<u8> {
        let mut packed = Vec::new();
        for (of, id) in changed {
            pack(&self.0.hot.told(id, *of), &mut packed);
        }
        packed
    }

    fn beat(&self) {
        let label = self.0.state().label;
        let beat = self.0.encode.heartbeat(&label);
        self.0.change().beat(beat);
        self.0.tick();
        self.look_at_size();
    }

    /// Warns before verifiers can no longer hold what is in force: here somebody may do something about it.
    fn look_at_size(&self) {
        let (markers, most) = (self.0.hot.markers().len(), self.0.bounds.markers);
        if self.0.nearing.look(markers, most) {
            tracing::warn!(
                markers,
                most,
                "there are nearly more markers in force than verifiers hold unless told otherwise (`most_markers`): past \
                 that what they know of revocations grows stale"
            );
        }
    }

    /// Makes snapshots, each when it is needed and there is room for it.
    async fn build(&self, now: impl Fn() -> Label) {
        let mut ticks = self.0.ticks.subscribe();
        loop {
            self.0.wanted.notified().await;
            let mut room = Room::None;
            let looked = ticks.wait_for(|_| {
                let bytes = snapshot::expected(self.0.hot.markers());
                room = self.0.change().make_room(Instant::now(), bytes);
                room != Room::None
            });
            if looked.await.is_err() {
                return;
            }
            if room == Room::Made {
                // As fresh as can be. Whether a word is owed for that, the other half of this task tells.
                self.advance(now());
                self.nudge();
                let shared = Arc::clone(&self.0);
                let built = tokio::task::spawn_blocking(move || shared.take_snapshot(Instant::now));
                if built.await.is_err() {
                    return;
                }
            }
            self.0.tell_ready();
        }
    }
}

impl Shared {
    fn take_snapshot(&self, now: impl FnOnce() -> Instant) {
        let begin = self.state().begin_snapshot();
        let parts = snapshot::parts(self.hot.markers(), &*self.encode);
        self.change().put_snapshot(begin, parts, now());
        self.stats.count_snapshot();
    }
}

#[cfg(test)]
mod tests;
