//! What is counted of the feed.

use super::Bounds;
use crate::refusal::{Code, Refusal};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counters of the feed.
#[derive(Debug, Default)]
pub(super) struct Stats {
    taken: Mutex<Taken>,
    refused: AtomicU64,
    deltas: AtomicU64,
    snapshots: AtomicU64,
    lagged: AtomicU64,
}

/// The seats that are taken.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// How many of them by each principal that has any.
    by: HashMap<Arc<str>, usize>,
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
    /// Who wanted to watch while as many did as may.
    pub refused: u64,
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
            watchers: self.taken().all,
            markers,
            deltas: self.deltas.load(Ordering::Relaxed),
            snapshots: self.snapshots.load(Ordering::Relaxed),
            lagged: self.lagged.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watcher's place among those that there may be, of all and of its principal; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    stats: Arc<Stats>,
    who: Arc<str>,
}

impl Seat {
    /// # Errors
    /// [`Code::TooBusy`] where all are taken that there may be.
    pub(super) fn take(stats: &Arc<Stats>, who: &str, most: &Bounds) -> Result<Self, Refusal> {
        let mut taken = stats.taken();
        let own = taken.by.get(who).copied().unwrap_or(0);
        let cause = match (taken.all < most.watchers, own < most.per_principal) {
            (true, true) => {
                let who: Arc<str> = who.into();
                taken.all = taken.all.saturating_add(1);
                taken.by.insert(Arc::clone(&who), own.saturating_add(1));
                let stats = Arc::clone(stats);
                return Ok(Self { stats, who });
            }
            (false, _) => "as many watch as may at a time",
            (true, false) => "as many watch for this principal as may at a time",
        };
        stats.refused.fetch_add(1, Ordering::Relaxed);
        Err(Refusal::new(Code::TooBusy, cause))
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.stats.taken();
        taken.all = taken.all.saturating_sub(1);
        let left = taken.by.get(&self.who).copied().unwrap_or(0);
        match left.saturating_sub(1) {
            0 => taken.by.remove(&self.who),
            left => taken.by.insert(Arc::clone(&self.who), left),
        };
    }
}
