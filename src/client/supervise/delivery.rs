//! How a command gets its token.

use super::RunError;
use crate::client::{Token, Tokens};
use crate::secret::Secret;
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The wait before a file that could not be written is tried again.
pub(super) const WRITE_AGAIN: Duration = Duration::from_secs(5);

/// How a command gets its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In an environment variable: as of the start, never renewed.
    Environment(Variable),
    /// In a file that is replaced at each renewal; the variable holds its path.
    File {
        /// Where.
        path: PathBuf,
        /// The variable that tells the command.
        variable: Variable,
    },
}

/// The name of an environment variable: what a POSIX shell can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable(String);

/// Not a name for an environment variable.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a variable's name is letters, digits and `_`, and begins with no digit")]
pub struct InvalidVariable;

impl Variable {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Variable {
    type Err = InvalidVariable;

    fn from_str(text: &str) -> Result<Self, InvalidVariable> {
        let mut bytes = text.bytes();
        let first = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidVariable)
        }
    }
}

/// A file that always holds one whole token, readable by its owner alone, and that is removed on drop.
#[derive(Debug)]
pub(super) struct TokenFile(pub(super) Arc<Place>);

/// Where the file is, shared with writes that are still under way when its owner leaves.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    stage: Mutex<Stage>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// What is there, if anything, is not ours.
    Unwritten,
    Written,
    /// Nothing is written any more: nobody is left to remove it.
    Left,
}

impl TokenFile {
    pub(super) async fn create(path: PathBuf, token: &Token) -> Result<Self, RunError> {
        let failed = |path: &Path, cause| RunError::Write {
            path: path.to_owned(),
            cause,
        };
        // The command may change its folder, so it is told the whole path.
        let path = std::path::absolute(&path).map_err(|cause| failed(&path, cause))?;
        let file = Self(Arc::new(Place {
            path,
            stage: Mutex::new(Stage::Unwritten),
        }));
        let written = file.write(token).await;
        written.map_err(|cause| failed(file.path(), cause))?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Writes each renewed token. A token that could not be written is tried again; the old one stays, as one that was
    /// revoked does until there is another: a file that is gone or empty would tell its reader no more.
    pub(super) async fn renew(&self, tokens: &Tokens, mut last: Token) -> Infallible {
        loop {
            let Ok(token) = tokens.successor(&last).await else {
                return std::future::pending().await;
            };
            match self.write(&token).await {
                Ok(()) => last = token,
                Err(error) => {
                    tracing::warn!(%error, path = %self.path().display(), "the renewed token could not be written");
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        }
    }

    async fn write(&self, token: &Token) -> io::Result<()> {
        let (place, token) = (Arc::clone(&self.0), token.value().clone());
        let written = tokio::task::spawn_blocking(move || place.replace(&token));
        written
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut *self.0.stage(), Stage::Left);
        if stage == Stage::Written
            && let Err(error) = std::fs::remove_file(self.path())
        {
            tracing::warn!(%error, path = %self.path().display(), "the token's file could not be removed");
        }
    }
}

impl Place {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a token in place of what is there, in one step: a reader sees the old or the new one, whole.
    pub(super) fn replace(&self, token: &Secret) -> io::Result<()> {
        let folder = self
            .path
            .parent()
            .ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        // Made with mode 0600 under a name of its own; removed again if anything fails.
        let mut file = tempfile::Builder::new()
            .prefix(".cambist-token-")
            .tempfile_in(folder)?;
        file.write_all(token.expose().as_bytes())?;
        let mut stage = self.stage();
        // A thread cannot be called back: its token may be whole only after the command's end.
        if *stage != Stage::Left {
            file.persist(&self.path)?;
            *stage = Stage::Written;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_names_that_a_shell_can_read() {
        for good in ["A", "_", "CAMBIST_TOKEN", "a1"] {
            assert!(good.parse::<Variable>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "A=B", "A B", "A\0", "é"] {
            assert_eq!(bad.parse::<Variable>(), Err(InvalidVariable), "{bad:?}");
        }
    }
}
