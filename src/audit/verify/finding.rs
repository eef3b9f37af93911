//! What is found.

use super::Late;
use crate::audit::acknowledged::Lack;
use crate::audit::read::ReadError;
use crate::audit::tree::Tile;
use std::io;

/// What is wrong with a log: the first thing that was found.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// A record cannot be read, or is missing between others.
    #[error("{}", told(*.sequence, .error))]
    Unreadable {
        /// The record that should come.
        sequence: u64,
        /// Why it does not.
        error: ReadError,
    },
    /// A record is not the one that the tree was built over.
    #[error("record {0} is not the one that was logged: its hash is not the tree's")]
    Changed(u64),
    /// The records are right, but a tile is not.
    #[error(
        "the records are those of the checkpoint, but {0} is not: remove it, and it is made again"
    )]
    Tile(Tile),
    /// The records are right, but what a segment says before its records is not.
    #[error(
        "the records are those of the checkpoint, but the header of the segment that begins at record {first} is not as it was written: {what}"
    )]
    Header {
        /// The segment's first record.
        first: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The log begins too late.
    #[error(
        "the log begins at record {begins}, and no record under its checkpoint says that those before it were removed"
    )]
    Cut {
        /// The first record that is there.
        begins: u64,
    },
    /// The hash of a record that was removed, or is not to be read, is not there.
    #[error(
        "record {0} was removed or is not read, and the tile that holds its hash cannot be read"
    )]
    Gone(u64),
    /// The log ends too early.
    #[error(
        "the log ends after {records} records, and its checkpoint is of {checkpoint}: those from record {records} on are missing"
    )]
    Missing {
        /// Records there are.
        records: u64,
        /// Records that the checkpoint is of.
        checkpoint: u64,
    },
    /// The log's writer found that acknowledged records are gone, whether or not a checkpoint is of them. Such a log is not gone
    /// on with.
    #[error("{0}")]
    Lacks(Lack),
    /// The records up to a checkpoint are not those that it was signed for; where they are not read, their hashes in the
    /// tiles.
    #[error("the first {0} records are not those that a checkpoint was signed for")]
    Forked(u64),
    /// There is no checkpoint, or it is not to be believed.
    #[error("the log's checkpoint: {0}")]
    Checkpoint(String),
    /// The records are right, but searches through this index may pass some over.
    #[error(
        "the records are those of the checkpoint, but the index of the segment that begins at record {0} is not of them: remove it, and it is made again"
    )]
    Index(u64),
    /// The records are right, and show what no log must.
    #[error("{0}")]
    Late(Late),
    /// Tiles or checkpoint cannot be read.
    #[error("the log cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Why a record does not come; some reasons name it.
fn told(sequence: u64, error: &ReadError) -> String {
    match error {
        ReadError::Io(_) | ReadError::Damaged { .. } => format!("record {sequence}: {error}"),
        ReadError::Missing(_) | ReadError::Unreadable(_) | ReadError::Changed(_) => {
            error.to_string()
        }
    }
}
