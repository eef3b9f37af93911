//! What SQLite may answer, sorted by what it means for the data.

use crate::store::StoreFault;
use rusqlite::types::FromSqlError;
use rusqlite::{ErrorCode, ffi};
use std::path::PathBuf;

/// A statement failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqlFault {
    /// What is in the file cannot have been written by this program.
    #[error("{0}")]
    Corrupt(String),
    /// The file may hold something else than this process believes.
    #[error("{0}")]
    Doubt(String),
    /// SQLite's own answer.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl SqlFault {
    pub(super) fn corrupt(what: &str) -> Self {
        Self::Corrupt(what.to_owned())
    }

    fn code(&self) -> Option<ffi::Error> {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => Some(*error),
            _ => None,
        }
    }

    /// Whether the disk is full. SQLite guarantees that nothing was committed.
    pub(super) fn is_full(&self) -> bool {
        self.code()
            .is_some_and(|error| error.code == ErrorCode::DiskFull)
    }

    /// Whether room on the disk may help while a file is being opened, when nothing can be half done. The
    /// shared-memory file beside the store says "I/O error" when it cannot grow.
    pub(super) fn may_lack_room(&self) -> bool {
        self.is_full()
            || self.code().is_some_and(|error| {
                matches!(
                    error.extended_code,
                    ffi::SQLITE_IOERR_SHMSIZE
                        | ffi::SQLITE_IOERR_SHMOPEN
                        | ffi::SQLITE_IOERR_SHMMAP
                        | ffi::SQLITE_IOERR_WRITE
                        | ffi::SQLITE_CANTOPEN
                )
            })
    }

    /// Whether another connection held the file for too long; nothing was done.
    pub(super) fn is_busy(&self) -> bool {
        self.code()
            .is_some_and(|error| error.code == ErrorCode::DatabaseBusy)
    }
}

impl From<FromSqlError> for SqlFault {
    fn from(error: FromSqlError) -> Self {
        Self::Corrupt(format!("a column has the wrong type: {error}"))
    }
}

impl From<SqlFault> for StoreFault {
    fn from(fault: SqlFault) -> Self {
        Self(fault.to_string())
    }
}

/// Why a store's file is not opened, made, copied or put back. The files are left as they were.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The content is damaged. Put back a backup; recovery redoes from the log what it lacks.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A backup is being made; the next one waits for its turn outside.
    #[error("a backup is being made already; wait until it is done")]
    Copying,
    /// The file is there already, and is not overwritten.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// Another broker has it open.
    #[error("{0} is in use by another process; only one broker may have a store open")]
    InUse(PathBuf),
    /// The operating system says no.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Its answer.
        #[source]
        error: std::io::Error,
    },
    /// There is no randomness for a new incarnation.
    #[error(transparent)]
    NoRandomness(#[from] crate::clock::NoRandomness),
    /// The file is of another kind.
    #[error("{path} is not a store of this program: {what}")]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A write-ahead log without its store: the file was moved away and the log was left.
    #[error("{0} is there without its store; put the two together again, or move it away")]
    Orphaned(PathBuf),
    /// SQLite cannot work with the file; the reason is for the operator.
    #[error("{path}: {what}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// SQLite's answer.
        what: String,
    },
    /// The file is of a format that this version does not know.
    #[error("{path} has store format {found}; this version reads format {known}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: u32,
        /// The format that is known.
        known: u32,
    },
}
