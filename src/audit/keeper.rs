//! Copies of the last checkpoint, in places that this host's failures and its backups do not reach: another disk, or another
//! party's server. They are what a start is held against, since a folder that was put back from an old copy is sound in
//! itself.

use super::disk::FileKeeper;
use super::web::{WebError, WebKeeper};
use std::fmt;
use std::io;

/// Where one copy is kept.
#[derive(Clone, Debug)]
pub enum Keeper {
    /// In a file.
    File(FileKeeper),
    /// On a server.
    Web(WebKeeper),
}

/// Why a copy cannot be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server.
    #[error(transparent)]
    Web(#[from] WebError),
    /// Neither answers in time.
    #[error("it does not answer in time")]
    Slow,
    /// The task that reads or writes a file ended.
    #[error("the copying task ended")]
    Ended,
}

impl Keeper {
    /// Keeps a checkpoint in the place of the one before.
    ///
    /// # Errors
    /// [`KeepError`]; which of the two is kept is not known then.
    pub async fn keep(&self, note: &str) -> Result<(), KeepError> {
        match self {
            Self::Web(keeper) => Ok(keeper.keep(note).await?),
            Self::File(keeper) => {
                let (keeper, note) = (keeper.clone(), note.to_owned());
                let kept = tokio::task::spawn_blocking(move || keeper.keep(note.as_bytes())).await;
                Ok(kept.map_err(|_| KeepError::Ended)??)
            }
        }
    }

    /// The checkpoint that is kept, if any is.
    ///
    /// # Errors
    /// [`KeepError`].
    pub async fn kept(&self) -> Result<Option<Vec<u8>>, KeepError> {
        match self {
            Self::Web(keeper) => Ok(keeper.kept().await?),
            Self::File(keeper) => {
                let keeper = keeper.clone();
                let kept = tokio::task::spawn_blocking(move || keeper.kept()).await;
                Ok(kept.map_err(|_| KeepError::Ended)??)
            }
        }
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(keeper) => keeper.fmt(f),
            Self::Web(keeper) => keeper.fmt(f),
        }
    }
}
