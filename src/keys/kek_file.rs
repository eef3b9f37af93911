//! The key-encryption key's file: 32 raw bytes that nobody but the owner can read.

use super::{Kek, SealingFault};
use crate::clock::{NoRandomness, Random};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Why a file is not taken as a key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum KekFileError {
    /// It cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// Others can read or change it.
    #[error("{0}: mode {1:04o} lets others than the owner at it; make it 0600")]
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
    /// [`KekFileError`], also where the file's mode gives group or others any access.
    pub fn from_file(path: &Path) -> Result<Self, KekFileError> {
        let failed = |error| KekFileError::Io(path.to_owned(), error);
        let file = File::open(path).map_err(failed)?;
        // The mode of what was opened, not of what the path may name by now.
        let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KekFileError::Exposed(path.to_owned(), mode));
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
