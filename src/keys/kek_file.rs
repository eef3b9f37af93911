//! The key-encryption key's file: 32 raw bytes that others cannot read.

use super::{Kek, SealingFault};
use crate::clock::{NoRandomness, Random};
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Whether a secret's file lets others at it. It is its owner's alone; but where the owner is another user, as with the
/// secrets that Kubernetes mounts, its group may read it, or nobody could.
#[must_use]
pub fn is_exposed(found: &Metadata) -> bool {
    exposed(
        found.mode(),
        found.uid() == rustix::process::geteuid().as_raw(),
    )
}

fn exposed(mode: u32, ours: bool) -> bool {
    let forbidden = if ours { 0o077 } else { 0o037 };
    mode & forbidden != 0
}

/// Why a file is not taken as a key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum KekFileError {
    /// It cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// Others can read or change it.
    #[error(
        "{0}: mode {1:04o} lets others at it; make it 0600, or 0640 with another owner and this user's group"
    )]
    Exposed(PathBuf, u32),
    /// Not 32 bytes.
    #[error("{0}: a key-encryption key is exactly {len} raw bytes", len = Kek::LENGTH)]
    Length(PathBuf),
    /// The library does not take it.
    #[error(transparent)]
    Sealing(#[from] SealingFault),
    /// There was no randomness to make one from.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl Kek {
    /// Reads a key.
    ///
    /// # Errors
    /// [`KekFileError`], also where the file is exposed ([`is_exposed`]).
    pub fn from_file(path: &Path) -> Result<Self, KekFileError> {
        let failed = |error| KekFileError::Io(path.to_owned(), error);
        let file = File::open(path).map_err(failed)?;
        // The mode of what was opened, not of what the path may name by now.
        let found = file.metadata().map_err(failed)?;
        if is_exposed(&found) {
            return Err(KekFileError::Exposed(
                path.to_owned(),
                found.mode() & 0o7777,
            ));
        }
        // One byte more than a key tells a longer file from a key.
        let mut read = Zeroizing::new([0; Self::LENGTH + 1]);
        let mut length = 0_usize;
        let mut file = file.take(Self::LENGTH as u64 + 1);
        while let Some(rest) = read.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match file.read(rest).map_err(failed)? {
                0 => break,
                count => length = length.saturating_add(count),
            }
        }
        let bytes = read
            .get(..length)
            .and_then(|bytes| <[u8; Self::LENGTH]>::try_from(bytes).ok())
            .ok_or_else(|| KekFileError::Length(path.to_owned()))?;
        Ok(Self::new(Zeroizing::new(bytes))?)
    }

    /// Makes a new key and writes it, durably, to a file that did not exist.
    ///
    /// # Errors
    /// [`KekFileError`]; an existing file is left as it is.
    pub fn create(path: &Path, source: &dyn Random) -> Result<Self, KekFileError> {
        let failed = |error| KekFileError::Io(path.to_owned(), error);
        let mut bytes = Zeroizing::new([0; Self::LENGTH]);
        source.fill(bytes.as_mut_slice())?;
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // Under another name until it is whole, readable by its owner only.
        let mut draft = NamedTempFile::new_in(folder).map_err(failed)?;
        draft.write_all(bytes.as_slice()).map_err(failed)?;
        draft.as_file().sync_all().map_err(failed)?;
        draft
            .persist_noclobber(path)
            .map_err(|refused| failed(refused.error))?;
        let folder = File::open(folder).map_err(failed)?;
        folder.sync_all().map_err(failed)?;
        Ok(Self::new(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_read_what_another_user_owns_and_nobody_may_do_more() {
        for mode in [0o400, 0o600, 0o700] {
            assert!(!exposed(mode, true) && !exposed(mode, false), "{mode:o}");
        }
        for mode in [0o440, 0o640] {
            assert!(exposed(mode, true) && !exposed(mode, false), "{mode:o}");
        }
        for mode in [0o604, 0o602, 0o601, 0o660, 0o620, 0o650, 0o610] {
            assert!(exposed(mode, true) && exposed(mode, false), "{mode:o}");
        }
    }
}
