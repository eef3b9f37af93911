//! A revocation as it was asked for, however late it is written.

use super::Revocable;
use crate::administration::change::Author;
use jiff::Timestamp;

/// What is to be revoked, and what is told of it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) what: Revocable,
    pub(super) reason: String,
    pub(super) author: Author,
    /// When it was asked for. What is made after this is none of it.
    pub(super) at: Timestamp,
}

impl Asked {
    /// The same of another thing: one that it is made of.
    pub(super) fn of(&self, what: Revocable) -> Self {
        Self {
            what,
            ..self.clone()
        }
    }
}
