//! What the store's callers and its writer share.

use super::readers::Readers;
use crate::store::Revision;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Shared state. Each lock is held for a copy or an assignment.
#[derive(Debug)]
pub(super) struct Shared {
    revision: Mutex<Revision>,
    doubt: OnceLock<String>,
    pub(super) readers: Readers,
}

impl Shared {
    pub(super) fn new(revision: Revision, readers: Readers) -> Self {
        Self {
            revision: Mutex::new(revision),
            doubt: OnceLock::new(),
            readers,
        }
    }

    /// The newest revision that the writer knows to be durable.
    pub(super) fn revision(&self) -> Revision {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_revision(&self, revision: Revision) {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner) = revision;
    }

    /// Why the store takes no more writes, if it does not.
    pub(super) fn doubt(&self) -> Option<String> {
        self.doubt.get().cloned()
    }

    /// Ends writing for this opening of the store. The first reason is the one that counts.
    pub(super) fn set_doubt(&self, reason: &str) {
        let text = format!(
            "an earlier write has an unknown outcome ({reason}); restart to open the store again"
        );
        self.doubt.set(text).ok();
    }
}
