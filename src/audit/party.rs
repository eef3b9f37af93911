//! Those outside who are sent the log's checkpoints, as they are counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What somebody does with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartyKind {
    /// Keeps a copy.
    Copy,
    /// Cosigns.
    Witness,
}

/// One of them, since the start.
#[derive(Debug)]
pub struct Party {
    kind: PartyKind,
    name: String,
    size: AtomicU64,
    failures: AtomicU64,
    takes: AtomicBool,
}

impl Party {
    /// One that was sent nothing yet.
    #[must_use]
    pub fn new(kind: PartyKind, name: String) -> Self {
        Self {
            kind,
            name,
            size: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            takes: AtomicBool::new(false),
        }
    }

    /// What it does.
    #[must_use]
    pub fn kind(&self) -> PartyKind {
        self.kind
    }

    /// Its place or name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records that the last checkpoint is of that it took.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Attempts that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// It took a checkpoint of so many records. Answers whether the last one failed, or there was none.
    pub fn took(&self, size: u64) -> bool {
        self.size.store(size, Ordering::Relaxed);
        !self.takes.swap(true, Ordering::AcqRel)
    }

    /// It did not take one. Answers whether it took the last one, or there was none.
    pub fn failed(&self) -> bool {
        let first = self.failures.fetch_add(1, Ordering::Relaxed) == 0;
        self.takes.swap(false, Ordering::AcqRel) || first
    }
}
