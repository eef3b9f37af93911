//! What is known of sinks from outside.

use super::SinkName;
use crate::audit::Stats;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// One sink's counters.
#[derive(Debug)]
pub struct SinkStats {
    name: SinkName,
    log: Arc<Stats>,
    /// The cursor on disk.
    pub(super) next: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) missed: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) last_success: AtomicI64,
}

impl SinkStats {
    pub(super) fn new(name: SinkName, log: Arc<Stats>, next: u64) -> Self {
        Self {
            name,
            log,
            next: AtomicU64::new(next),
            delivered: AtomicU64::default(),
            refused: AtomicU64::default(),
            missed: AtomicU64::default(),
            failures: AtomicU64::default(),
            last_success: AtomicI64::default(),
        }
    }

    /// The sink.
    #[must_use]
    pub fn name(&self) -> &SinkName {
        &self.name
    }

    /// The first record that its cursor on disk does not cover.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// How many durable records it has not delivered.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let durable = self.log.next.load(Ordering::Acquire);
        durable.saturating_sub(self.next())
    }

    /// How many records it delivered since the start; some of them twice.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// How many its receiver refused for good.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many were removed from the log before it came to them.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// How many deliveries failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// When a delivery last succeeded, in seconds since the epoch; 0 before the first.
    #[must_use]
    pub fn last_success(&self) -> i64 {
        self.last_success.load(Ordering::Relaxed)
    }
}

/// The sinks of a log.
#[derive(Clone, Debug, Default)]
pub struct Sinks(Vec<Arc<SinkStats>>);

impl Sinks {
    /// These sinks.
    #[must_use]
    pub fn new(all: Vec<Arc<SinkStats>>) -> Self {
        Self(all)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Arc<SinkStats>] {
        &self.0
    }

    /// All records before this one were taken by every sink, and by their cursors on disk: what no sink needs any more. None
    /// where there is no sink.
    #[must_use]
    pub fn taken(&self) -> Option<u64> {
        self.furthest_behind().map(|sink| sink.next())
    }

    /// The sink that has taken the least.
    #[must_use]
    pub fn furthest_behind(&self) -> Option<&SinkStats> {
        let all = self.0.iter().map(|sink| &**sink);
        all.min_by_key(|sink| sink.next())
    }
}
