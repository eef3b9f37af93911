//! What is counted of the feed.

use super::Bounds;
use crate::limits::nearing::Nearing;
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
    nearing: Nearing,
    /// Those of each principal that has any.
    by: HashMap<Arc<str>, Own>,
}

/// A principal's.
#[derive(Debug, Default)]
struct Own {
    count: usize,
    nearing: Nearing,
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Who watches now.
    pub watchers: usize,
    /// How many of them are the one principal that is most of them.
    pub most_of_one: usize,
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
        let (watchers, most_of_one) = {
            let taken = self.taken();
            let of_each = taken.by.values().map(|own| own.count);
            (taken.all, of_each.max().unwrap_or(0))
        };
        Counts {
            watchers,
            most_of_one,
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

/// What is to be warned of.
struct Near {
    all: Option<usize>,
    own: Option<usize>,
}

impl Taken {
    /// Counts one more.
    fn add(&mut self, who: &str, most: &Bounds) -> Near {
        self.all = self.all.saturating_add(1);
        let own = self.by.entry(who.into()).or_default();
        own.count = own.count.saturating_add(1);
        let is_near = self.nearing.look(self.all, most.watchers);
        let is_own = own.nearing.look(own.count, most.per_principal);
        Near {
            all: is_near.then_some(self.all),
            own: is_own.then_some(own.count),
        }
    }
}

impl Near {
    fn warn(&self, who: &str, most: &Bounds) {
        if let Some(watchers) = self.all {
            tracing::warn!(
                watchers,
                most = most.watchers,
                "nearly as many watch revocations as may at a time: further ones will be turned away"
            );
        }
        if let Some(watchers) = self.own {
            tracing::warn!(
                who,
                watchers,
                most = most.per_principal,
                "nearly as many watch revocations for one principal as may at a time: further ones of it will be turned away"
            );
        }
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
        let own = taken.by.get(who).map_or(0, |own| own.count);
        let cause = match (taken.all < most.watchers, own < most.per_principal) {
            (true, true) => {
                let near = taken.add(who, most);
                drop(taken);
                near.warn(who, most);
                let (stats, who) = (Arc::clone(stats), who.into());
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
        let is_last = taken.by.get_mut(&self.who).is_none_or(|own| {
            own.count = own.count.saturating_sub(1);
            own.count == 0
        });
        if is_last {
            taken.by.remove(&self.who);
        }
    }
}
