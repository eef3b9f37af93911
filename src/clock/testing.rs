//! A clock that tests move. The integration tests include this file too.

use super::Clock;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct TestClock {
    wall: AtomicI64,
    /// In microseconds.
    monotonic: AtomicU64,
}

impl TestClock {
    pub(crate) fn at(second: i64) -> Arc<Self> {
        Arc::new(Self {
            wall: AtomicI64::new(second),
            monotonic: AtomicU64::new(0),
        })
    }

    /// Time passes.
    pub(crate) fn advance(&self, seconds: u32) {
        self.wall.fetch_add(i64::from(seconds), Ordering::SeqCst);
        self.monotonic
            .fetch_add(u64::from(seconds) * 1_000_000, Ordering::SeqCst);
    }

    /// The wall clock is set forward or back, and no time passes.
    pub(crate) fn step(&self, seconds: i64) {
        self.wall.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.wall.load(Ordering::SeqCst)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic.load(Ordering::SeqCst))
    }

    /// Only this clock's time passes.
    fn pause(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap();
        self.monotonic.fetch_add(micros, Ordering::SeqCst);
    }
}
