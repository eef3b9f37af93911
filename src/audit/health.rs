//! Whether the log takes records.

use arc_swap::ArcSwap;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The log's state, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogHealth {
    /// Records are written; tokens are issued.
    Writing,
    /// No token is issued. On a full disk revocations may still be recorded, from the reserve.
    Failed {
        /// Since when.
        since: Timestamp,
        /// Why, for the operator.
        cause: Arc<str>,
    },
}

/// The state as the writer sets it and everybody reads it.
#[derive(Debug)]
pub(super) struct Health {
    issuing: AtomicBool,
    now: ArcSwap<LogHealth>,
    changed: watch::Sender<()>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            issuing: AtomicBool::new(true),
            now: ArcSwap::from_pointee(LogHealth::Writing),
            changed: watch::Sender::default(),
        }
    }
}

impl Health {
    /// Whether tokens can be issued; one atomic load.
    pub(super) fn issuing(&self) -> bool {
        self.issuing.load(Ordering::Acquire)
    }

    /// The state; lock-free.
    pub(super) fn now(&self) -> Arc<LogHealth> {
        self.now.load_full()
    }

    /// Tells of every change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Here and in [`Self::failed`] it is said, and not by whoever follows the changes: a failure that is over at once, as
    /// when somebody else wrote to a segment, is seen by nobody who looks later.
    pub(super) fn writing(&self) {
        if self.set(LogHealth::Writing) {
            tracing::info!("the log is written again");
        }
    }

    /// Keeps the instant of the first of several failures.
    pub(super) fn failed(&self, now: Timestamp, cause: &str) {
        if self.fail(now, cause) {
            tracing::error!(cause, "no token is issued");
        }
    }

    /// The writer has ended, and nobody is told that records are written.
    pub(super) fn ended(&self, now: Timestamp) {
        self.fail(now, "the log is closed");
    }

    fn fail(&self, now: Timestamp, cause: &str) -> bool {
        let since = match &**self.now.load() {
            LogHealth::Failed { since, .. } => *since,
            LogHealth::Writing => now,
        };
        self.set(LogHealth::Failed {
            since,
            cause: cause.into(),
        })
    }

    /// Answers whether it is another than before.
    fn set(&self, health: LogHealth) -> bool {
        let is_another = **self.now.load() != health;
        if is_another {
            self.issuing
                .store(health == LogHealth::Writing, Ordering::Release);
            self.now.store(Arc::new(health));
            self.changed.send_replace(());
        }
        is_another
    }
}
