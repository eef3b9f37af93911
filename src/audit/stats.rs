//! What the log counts: plain atomics that telemetry reads.

use super::party::Party;
use crate::limits::seats::Seats;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Counters and distributions of one log, since it was opened.
#[derive(Debug, Default)]
pub struct Stats {
    /// Records that the log holds: the sequence of the next one.
    pub next: AtomicU64,
    /// Records that the last checkpoint is of.
    pub published: AtomicU64,
    /// Attempts to publish a checkpoint that failed.
    pub publish_failures: AtomicU64,
    /// Bytes that all of the log takes on disk.
    pub disk: AtomicU64,
    /// Bytes that it may take; 0 where there is no bound.
    pub disk_bound: AtomicU64,
    /// The first record that is there: those before it were removed.
    pub begins: AtomicU64,
    /// Records made durable.
    pub records: AtomicU64,
    /// Bytes made durable.
    pub bytes: AtomicU64,
    /// Records a group commit carried.
    pub batch: Distribution,
    /// Time a group commit took, write and sync, in microseconds.
    pub commit: Distribution,
    /// Records that wait for the writer or are being committed.
    pub queued: AtomicUsize,
    /// Their bytes.
    pub queued_bytes: AtomicUsize,
    /// Issues that a marker stopped at the last moment.
    pub fenced: AtomicU64,
    /// Refusals that were not recorded one by one, but counted towards a summary.
    pub summarised: AtomicU64,
    /// Refusals among those that were queued to be recorded by themselves and were not: the disk was too full, or the log
    /// failed. A summary that is not recorded is told with the next one, and counted nowhere again.
    pub dropped: AtomicU64,
    /// Failures that closed a segment.
    pub failures: AtomicU64,
    /// Segments begun.
    pub segments: AtomicU64,
    /// Searches through the log that are under way.
    pub queries: Arc<Seats>,
    /// Readers that follow the log.
    pub tails: Arc<Seats>,
    /// Who is sent its checkpoints.
    pub parties: OnceLock<Vec<Arc<Party>>>,
}

/// A distribution in powers of two.
#[derive(Debug, Default)]
pub struct Distribution {
    count: AtomicU64,
    sum: AtomicU64,
    buckets: [AtomicU64; Self::BUCKETS],
}

impl Distribution {
    /// How many buckets there are: bucket `i` counts values below `2^i` and not below half of it; the last
    /// one everything above as well.
    pub const BUCKETS: usize = 24;

    pub(super) fn add(&self, value: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
        let bits = u64::BITS.saturating_sub(value.leading_zeros());
        let at = usize::try_from(bits).map_or(0, |bits| bits.min(Self::BUCKETS - 1));
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// The buckets' counts.
    #[must_use]
    pub fn buckets(&self) -> [u64; Self::BUCKETS] {
        std::array::from_fn(|at| {
            self.buckets
                .get(at)
                .map_or(0, |bucket| bucket.load(Ordering::Relaxed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_bucket_of_their_power_of_two() {
        let distribution = Distribution::default();
        for value in [0, 1, 2, 3, 4, 1 << 22, (1 << 23) - 1, u64::MAX >> 1] {
            distribution.add(value);
        }
        let buckets = distribution.buckets();
        assert_eq!(buckets[..4], [1, 1, 2, 1]);
        assert_eq!(buckets[Distribution::BUCKETS - 1], 3);
        assert_eq!(distribution.count(), 8);
    }
}
