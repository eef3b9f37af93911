//! What is counted of the feed.

use crate::limits::seats::{self, Full, Most, Near, Seats};
use crate::refusal::{Code, Refusal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the feed.
#[derive(Debug, Default)]
pub(super) struct Stats {
    seats: Arc<Seats>,
    refused: AtomicU64,
    deltas: AtomicU64,
    snapshots: AtomicU64,
    lagged: AtomicU64,
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
        Counts {
            watchers: self.seats.count(),
            most_of_one: self.seats.most_of_one(),
            markers,
            deltas: self.deltas.load(Ordering::Relaxed),
            snapshots: self.snapshots.load(Ordering::Relaxed),
            lagged: self.lagged.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

fn warn(near: Near, who: &str, most: Most) {
    if let Some(watchers) = near.all {
        tracing::warn!(
            watchers,
            most = most.all,
            "nearly as many watch revocations as may at a time: further ones will be turned away"
        );
    }
    if let Some(watchers) = near.of_one {
        tracing::warn!(
            who,
            watchers,
            most = most.of_one,
            "nearly as many watch revocations for one principal as may at a time: further ones of it will be turned away"
        );
    }
}

/// A watcher's place, and where it is counted what becomes of it.
#[derive(Debug)]
pub(super) struct Seat {
    stats: Arc<Stats>,
    _seat: seats::Seat,
}

impl Seat {
    /// # Errors
    /// [`Code::TooBusy`] where all are taken that there may be.
    pub(super) fn take(stats: &Arc<Stats>, who: &str, most: Most) -> Result<Self, Refusal> {
        let full = |full| {
            stats.refused.fetch_add(1, Ordering::Relaxed);
            let cause = match full {
                Full::All => "as many watch as may at a time",
                Full::OfOne => "as many watch for this principal as may at a time",
            };
            Refusal::new(Code::TooBusy, cause)
        };
        let (seat, near) = stats.seats.take(who, most).map_err(full)?;
        warn(near, who, most);
        Ok(Self {
            stats: Arc::clone(stats),
            _seat: seat,
        })
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.stats
    }
}
