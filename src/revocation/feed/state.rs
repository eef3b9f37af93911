//! What watchers share.

use super::ring::{After, Delta, Ring};
use super::snapshot::{Part, Snapshot};
use super::{Bounds, Label};
use crate::limits;
use crate::revocation::partition::Chosen;
use crate::store::Revision;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// How far the feed is, and what it has for those who watch.
#[derive(Debug)]
pub(super) struct State {
    /// How far it is: every change up to here is among the deltas.
    pub(super) label: Label,
    /// The lowest counter of this incarnation that can be resumed at.
    floor: u64,
    /// The last delta of another incarnation.
    foreign: u64,
    /// Whether a delta came with the revision that is reached.
    is_told: bool,
    /// Whether a revision was reached without one, of which the deltas before it may have told: somebody may wait to hear
    /// of it.
    pub(super) owes_word: bool,
    ring: Ring,
    catch_up: u64,
    pub(super) beat: Beat,
    /// Never more than [`limits::SNAPSHOTS`], one that is being made among them, and of so many bytes as `most` together unless
    /// there is one alone; the newest is the last. What watchers have of them keeps none, and shows which of them are being
    /// read.
    pub(super) snapshots: Vec<Arc<Snapshot>>,
    most: u64,
    /// When the newest one was made.
    made: Option<Instant>,
    /// How often a label was taken.
    steps: u64,
    /// The step that the next snapshot must be of, at least.
    wanted: u64,
    /// Nobody is told anything any more.
    pub(super) ended: bool,
}

/// The last heartbeat.
#[derive(Debug)]
pub(super) struct Beat {
    /// How many there were.
    pub(super) number: u64,
    /// The delta after which it came.
    pub(super) after: u64,
    label: Label,
    pub(super) frame: Bytes,
}

/// Whether there is room for another snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// None is needed: there is one that is fit.
    Needless,
    /// There is, and it is to be taken.
    Made,
    /// Not yet: as many as may be are being read.
    None,
}

/// Where a snapshot begins.
#[derive(Debug)]
pub(super) struct Begin {
    label: Label,
    step: u64,
    number: u64,
    total: u64,
}

impl State {
    pub(super) fn new(label: Label, frame: Bytes, bounds: Bounds) -> Self {
        Self {
            label,
            // Of the revision that was being applied when changes began to be kept, some may be missing.
            floor: label.revision.counter.saturating_add(1),
            foreign: 0,
            is_told: false,
            owes_word: false,
            ring: Ring::new(bounds.deltas),
            catch_up: bounds.catch_up,
            beat: Beat {
                number: 1,
                after: 0,
                label,
                frame,
            },
            snapshots: Vec::new(),
            most: bounds.snapshots,
            made: None,
            steps: 0,
            wanted: 0,
            ended: false,
        }
    }

    /// Takes the deltas that come with a label.
    pub(super) fn advance(&mut self, label: Label, deltas: Vec<Delta>) {
        let (before, now) = (self.label.revision, label.revision);
        if !now.covers(&before) {
            // The counters of what is kept say nothing any more.
            self.foreign = self.ring.last();
            self.floor = now.counter;
        }
        let is_new = now != before;
        self.owes_word |= is_new && self.is_told && deltas.is_empty();
        self.is_told = !deltas.is_empty() || (self.is_told && !is_new);
        for delta in deltas {
            let dropped = self.ring.push(delta, now.counter);
            if let Some(dropped) = dropped.filter(|_| self.ring.start() > self.foreign) {
                self.floor = self.floor.max(dropped.saturating_add(1));
            }
        }
        self.label = label;
        self.steps = self.steps.saturating_add(1);
    }

    /// Somebody who was told things wants a snapshot, and none that goes back behind those. Answers of which step it must be.
    pub(super) fn want_snapshot(&mut self) -> u64 {
        self.wanted = self.steps;
        self.steps
    }

    /// Takes a heartbeat. A snapshot that nobody was sent anything of for some heartbeats goes.
    pub(super) fn beat(&mut self, frame: Bytes) {
        self.beat = Beat {
            number: self.beat.number.saturating_add(1),
            after: self.ring.last(),
            label: self.label,
            frame,
        };
        self.owes_word = false;
        let last = self.beat.number.saturating_sub(limits::SNAPSHOT_IDLE_BEATS);
        self.snapshots
            .retain(|snapshot| snapshot.used.load(Ordering::Relaxed) >= last);
    }

    /// The delta and the heartbeat after which whoever has a revision whole goes on; none where that is not known or no
    /// longer kept.
    pub(super) fn resume(&self, from: Revision) -> Option<(u64, u64)> {
        if !self.label.revision.covers(&from) || from.counter < self.floor {
            return None;
        }
        // It is told at once how fresh it is, unless it knows better.
        let beat = match self.beat.label.revision.covers(&from) {
            true => self.beat.number.saturating_sub(1),
            false => self.beat.number,
        };
        Some((self.ring.before(from.counter, self.foreign), beat))
    }

    pub(super) fn after(&self, number: u64, chosen: &Chosen) -> After {
        self.ring.after(number, |partition| chosen.sees(partition))
    }

    /// The newest snapshot, if it is one to begin with, of this step at least: the deltas since are kept, and are not more
    /// than it is itself.
    pub(super) fn fit_snapshot(&self, least: u64) -> Option<&Arc<Snapshot>> {
        self.snapshots.last().filter(|snapshot| {
            let since = self.ring.total().saturating_sub(snapshot.total);
            snapshot.step >= least
                && self.continues(snapshot)
                && since <= snapshot.bytes.max(self.catch_up)
        })
    }

    /// Whether the deltas since this one are kept.
    pub(super) fn continues(&self, snapshot: &Snapshot) -> bool {
        self.ring.continues(snapshot.at)
    }

    /// Makes room for another snapshot of so many bytes, unless there is one that is fit. Those go that nobody reads, or can go
    /// on from; and where as many as may be are read, the oldest ones, [`limits::SNAPSHOT_TURN`] after the newest was made. So
    /// whoever begins one when it is made has that long for it at least, is not sent from one to the next for ever, and nobody
    /// waits longer for another.
    pub(super) fn make_room(&mut self, now: Instant, bytes: u64) -> Room {
        if self.fit_snapshot(self.wanted).is_some() {
            return Room::Needless;
        }
        self.snapshots.retain(|snapshot| {
            let is_read = Arc::weak_count(snapshot) > 0;
            is_read && self.ring.continues(snapshot.at)
        });
        while !self.has_room(bytes) {
            let turn = self.made.map(|made| now.saturating_duration_since(made));
            if turn.is_some_and(|turn| turn < limits::SNAPSHOT_TURN) {
                return Room::None;
            }
            self.snapshots.remove(0);
        }
        Room::Made
    }

    /// Whether another one of so many bytes may be beside those that there are.
    fn has_room(&self, bytes: u64) -> bool {
        let all = self.snapshot_bytes().saturating_add(bytes);
        self.snapshots.is_empty() || (self.snapshots.len() < limits::SNAPSHOTS && all <= self.most)
    }

    /// What all of them take.
    pub(super) fn snapshot_bytes(&self) -> u64 {
        self.snapshots.iter().map(|snapshot| snapshot.bytes).sum()
    }

    /// Where a snapshot begins that is taken from now on.
    pub(super) fn begin_snapshot(&self) -> Begin {
        Begin {
            label: self.label,
            step: self.steps,
            number: self.ring.last(),
            total: self.ring.total(),
        }
    }

    /// Has one that was made `now`. Where the set has grown meanwhile by more than there was room for, those before it go.
    pub(super) fn put_snapshot(&mut self, begin: Begin, parts: Vec<Part>, now: Instant) {
        let bytes = parts.iter().map(|part| part.frame.len()).sum::<usize>();
        self.snapshots.push(Arc::new(Snapshot {
            label: begin.label,
            step: begin.step,
            at: begin.number,
            total: begin.total,
            bytes: bytes.try_into().unwrap_or(u64::MAX),
            parts,
            used: AtomicU64::new(self.beat.number),
        }));
        self.made = Some(now);
        while self.snapshots.len() > 1 && self.snapshot_bytes() > self.most {
            self.snapshots.remove(0);
        }
    }
}
