//! What is counted. Reading and counting are lock-free.

use super::error::VerifyError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Checks of a guard, by result.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: AtomicU64,
    refused: [AtomicU64; VerifyError::CODES.len()],
    /// Checks of tokens that were remembered.
    pub hits: AtomicU64,
    /// Tokens that were accepted though what is known of revocations was older than the check wanted, as it was told to.
    pub accepted_stale: AtomicU64,
}

/// What came of following a feed.
#[derive(Debug, Default)]
pub struct FeedStats {
    /// Connections on which it began.
    pub begun: AtomicU64,
    /// How often it ended, or could not begin.
    pub failures: AtomicU64,
    /// Snapshots that were taken whole.
    pub snapshots: AtomicU64,
    /// Changes that were applied.
    pub deltas: AtomicU64,
}

/// What came of fetching keys.
#[derive(Debug, Default)]
pub struct KeyStats {
    /// Key sets that were fetched.
    pub fetches: AtomicU64,
    /// Fetches that failed; the old keys stayed.
    pub failures: AtomicU64,
}

impl Stats {
    /// Tokens that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Tokens that were refused for this reason, one of [`VerifyError::CODES`].
    #[must_use]
    pub fn refused(&self, code: &str) -> u64 {
        let place = VerifyError::CODES.iter().position(|known| *known == code);
        let counter = place.and_then(|place| self.refused.get(place));
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub(super) fn checked<T>(&self, result: &Result<T, VerifyError>) {
        match result {
            Ok(_) => count(&self.accepted),
            Err(error) => {
                if let Some(counter) = self.refused.get(error.index()) {
                    count(counter);
                }
            }
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
