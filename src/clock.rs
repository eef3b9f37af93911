//! Injected time and randomness: the only module that reads the machine's own.

pub mod guard;
#[cfg(test)]
pub(crate) mod testing;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A source of time. Cheap to call; shared as `Arc<dyn Clock>`.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall-clock time, which may step.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start, which never goes back.
    fn monotonic(&self) -> Duration;
    /// Lets that much time pass. Blocks the thread, so only threads of our own call it.
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A source of cryptographic randomness, shared as `Arc<dyn Random>`.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness>;
}

/// The randomness source failed; nothing may be issued.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts the monotonic count at zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    pub fn shared() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
        })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The operating system's randomness, through aws-lc-rs.
#[derive(Debug, Default)]
pub struct SystemRandomness(SystemRandom);

impl SystemRandomness {
    /// A shared source.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        Arc::new(Self::default())
    }
}

impl Random for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        self.0.fill(bytes).map_err(|_| NoRandomness)
    }
}

/// `N` random bytes from `source`.
///
/// # Errors
/// As [`Random::fill`].
pub fn random<const N: usize>(source: &dyn Random) -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    source.fill(&mut bytes)?;
    Ok(bytes)
}
