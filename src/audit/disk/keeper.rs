//! A copy of the last checkpoint in a file.

use super::note_file;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Keeps a checkpoint in a file, on another disk than the log's if it is to be of use.
#[derive(Clone, Debug)]
pub struct FileKeeper(PathBuf);

impl FileKeeper {
    /// In this file. Its folder must be there: a mount that is missing is not to be taken for an empty one.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Replaces it as a whole, durably.
    pub(in crate::audit) fn keep(&self, note: &[u8]) -> io::Result<()> {
        note_file::write(self.folder(), &self.0, note)
    }

    /// What is in it; nothing where its folder is there and it is not.
    pub(in crate::audit) fn kept(&self) -> io::Result<Option<Vec<u8>>> {
        let kept = note_file::read(&self.0)?;
        if kept.is_none() && !self.folder().is_dir() {
            let message = format!("{} is not there", self.folder().display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(kept)
    }

    fn folder(&self) -> &Path {
        self.0.parent().unwrap_or(Path::new("."))
    }
}

impl fmt::Display for FileKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}
