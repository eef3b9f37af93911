//! What is counted of the feed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters of the feed.
#[derive(Debug, Default)]
pub(super) struct Stats {
    watchers: AtomicUsize,
    deltas: AtomicU64,
    snapshots: AtomicU64,
    lagged: AtomicU64,
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Who watches now.
    pub watchers: usize,
    /// Markers in force.
    pub markers: usize,
    /// Deltas that were sent, once for each watcher.
    pub deltas: u64,
    /// Snapshots that were made.
    pub snapshots: u64,
    /// Watchers that fell behind and had to begin again with a snapshot.
    pub lagged: u64,
}

impl Stats {
    pub(super) fn count_delta(&self) {
        self.deltas.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_snapshot(&self) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_lagged(&self) {
        self.lagged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self, markers: usize) -> Counts {
        Counts {
            watchers: self.watchers.load(Ordering::Relaxed),
            markers,
            deltas: self.deltas.load(Ordering::Relaxed),
            snapshots: self.snapshots.load(Ordering::Relaxed),
            lagged: self.lagged.load(Ordering::Relaxed),
        }
    }
}

/// A watcher's place among those that there may be; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Stats>);

impl Seat {
    pub(super) fn take(stats: &Arc<Stats>, most: usize) -> Option<Self> {
        let more = |now: usize| (now < most).then(|| now.saturating_add(1));
        let taken = stats
            .watchers
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.ok().map(|_| Self(Arc::clone(stats)))
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}
