//! What an operator asks of the node itself, behind a trait because files are involved.

use super::change::Author;
use crate::refusal::Denial;
use crate::store::{Reply, Revision};
use jiff::Timestamp;
use std::fmt::Debug;
use std::path::Path;

/// A copy that was made of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The revision it is at.
    pub revision: Revision,
    /// Its size.
    pub bytes: u64,
}

/// The operator's calls. Every one is recorded.
pub trait Maintenance: Debug + Send + Sync {
    /// Copies the store, while it is in use, to a new file.
    fn backup<'a>(
        &'a self,
        path: &'a Path,
        author: &'a Author,
    ) -> Reply<'a, Result<Copied, Denial>>;
    /// Takes the wall clock as right, after a step.
    fn confirm_clock<'a>(&'a self, author: &'a Author) -> Reply<'a, Result<Timestamp, Denial>>;
}
