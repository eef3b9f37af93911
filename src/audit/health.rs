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

    pub(super) fn writing(&self) {
        self.set(LogHealth::Writing);
    }

    /// Keeps the instant of the first of several failures.
    pub(super) fn failed(&self, now: Timestamp, cause: &str) {
        let since = match &**self.now.load() {
            LogHealth::Failed { since, .. } => *since,
            LogHealth::Writing => now,
        };
        self.set(LogHealth::Failed {
            since,
            cause: cause.into(),
        });
    }

    fn set(&self, health: LogHealth) {
        if **self.now.load() != health {
            self.issuing
                .store(health == LogHealth::Writing, Ordering::Release);
            self.now.store(Arc::new(health));
            self.changed.send_replace(());
        }
    }
}
