//! The key that a log signs its checkpoints with: its own, one for the log's whole life, sealed beside it.

use super::{Kek, KeyFault, Sealed, SealingFault, SigningAlgorithm, SigningKey};
use crate::clock::Random;
use crate::regular;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// An Ed25519 key for the checkpoints of one log.
#[derive(Debug)]
pub struct LogKey(SigningKey);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum LogKeyError {
    /// The file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The file is not of its format.
    #[error(
        "{0}: not a log's key: put it back as it was, or remove it and start with --accept-rollback"
    )]
    Malformed(PathBuf),
    /// It is another log's.
    #[error("the key is that of the log {0}")]
    OtherLog(String),
    /// It does not open.
    #[error("{0}: {1}")]
    Sealed(PathBuf, #[source] SealingFault),
    /// It is no key.
    #[error("{0}: {1}")]
    Key(PathBuf, #[source] KeyFault),
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// 1.
    version: u8,
    /// The log's id.
    log: String,
    sealed: Sealed,
}

fn context(log: &str) -> String {
    format!("cambist log key\n{log}")
}

impl Stored {
    fn read(path: &Path) -> Result<Option<Self>, LogKeyError> {
        let failed = |error| LogKeyError::Io(path.to_owned(), error);
        let mut file = match regular::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let stored = serde_json::from_slice::<Self>(&bytes).ok();
        let stored = stored.filter(|stored| stored.version == 1);
        stored
            .map(Some)
            .ok_or_else(|| LogKeyError::Malformed(path.to_owned()))
    }
}

impl LogKey {
    /// The key in a file, if there is one. `log` is the log's id: the key opens for no other.
    ///
    /// # Errors
    /// [`LogKeyError`].
    pub fn open(path: &Path, log: &str, kek: &Kek) -> Result<Option<Self>, LogKeyError> {
        let Some(stored) = Stored::read(path)? else {
            return Ok(None);
        };
        if stored.log != log {
            return Err(LogKeyError::OtherLog(stored.log));
        }
        let der = kek
            .open(&stored.sealed, &context(log))
            .map_err(|fault| LogKeyError::Sealed(path.to_owned(), fault))?;
        SigningKey::from_pkcs8(SigningAlgorithm::Ed25519, &der)
            .map(|key| Some(Self(key)))
            .map_err(|fault| LogKeyError::Key(path.to_owned(), fault))
    }

    /// Sees that the key in a file, if there is one, is sealed under this key-encryption key, whichever log's it is.
    ///
    /// # Errors
    /// [`LogKeyError`].
    pub fn check_seal(path: &Path, kek: &Kek) -> Result<(), LogKeyError> {
        let Some(stored) = Stored::read(path)? else {
            return Ok(());
        };
        let sealed = kek.has_sealed(&stored.sealed);
        sealed.map_err(|fault| LogKeyError::Sealed(path.to_owned(), fault))
    }

    /// Makes a key and writes it, durably, to a file that did not exist.
    ///
    /// # Errors
    /// [`LogKeyError`]; a file that is there is left as it is.
    pub fn create(
        path: &Path,
        log: &str,
        kek: &Kek,
        random: &dyn Random,
    ) -> Result<Self, LogKeyError> {
        let faulty = |fault| LogKeyError::Key(path.to_owned(), fault);
        let failed = |error| LogKeyError::Io(path.to_owned(), error);
        let key = SigningKey::generate(SigningAlgorithm::Ed25519).map_err(faulty)?;
        let sealed = kek
            .seal(&key.to_pkcs8().map_err(faulty)?, &context(log), random)
            .map_err(|fault| LogKeyError::Sealed(path.to_owned(), fault))?;
        let stored = Stored {
            version: 1,
            log: log.to_owned(),
            sealed,
        };
        let bytes = serde_json::to_vec(&stored).map_err(|error| failed(error.into()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        // Whole and durable before it has its name, so that no crash leaves half a key to trip over.
        let mut draft = NamedTempFile::new_in(folder).map_err(failed)?;
        draft.write_all(&bytes).map_err(failed)?;
        draft.as_file().sync_all().map_err(failed)?;
        draft
            .persist_noclobber(path)
            .map_err(|error| failed(error.error))?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(Self(key))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.ed25519_public().unwrap_or_default()
    }

    /// Signs a checkpoint's text.
    ///
    /// # Errors
    /// [`KeyFault::Signing`].
    pub fn sign(&self, text: &str) -> Result<Vec<u8>, KeyFault> {
        self.0.sign(text.as_bytes())
    }
}
