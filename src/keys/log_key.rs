//! The key that a log signs its checkpoints with: its own, one for the log's whole life, sealed beside it.

use super::{Kek, KeyFault, Sealed, SealingFault, SigningAlgorithm, SigningKey};
use crate::clock::Random;
use crate::regular;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, PersistError};

/// An Ed25519 key for the checkpoints of one log.
#[derive(Debug)]
pub struct LogKey {
    key: SigningKey,
    signed_from: Option<u64>,
}

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
    /// It is not what it was at the beginning of the start.
    #[error("{0}: the log's key was changed while the broker started: start once more")]
    Changed(PathBuf),
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
    /// 2, or 1 without `signed_from`.
    version: u8,
    /// The log's id.
    log: String,
    /// From this record on, each segment that begins has a header that the broker signed. Here, as who writes to the log's
    /// folder can take a header's tag away, and cannot seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_from: Option<u64>,
    sealed: Sealed,
}

/// What the key is sealed for: it opens with nothing else beside it.
fn context(log: &str, signed_from: Option<u64>) -> String {
    match signed_from {
        Some(from) => format!("cambist log key 2\n{log}\n{from}"),
        None => format!("cambist log key\n{log}"),
    }
}

fn version(signed_from: Option<u64>) -> u8 {
    1_u8.saturating_add(signed_from.is_some().into())
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
        let stored = stored.filter(|stored| stored.version == version(stored.signed_from));
        stored
            .map(Some)
            .ok_or_else(|| LogKeyError::Malformed(path.to_owned()))
    }

    /// The key, under the name and the rest that the file gives it.
    fn unseal(&self, path: &Path, kek: &Kek) -> Result<SigningKey, LogKeyError> {
        let der = kek
            .open(&self.sealed, &context(&self.log, self.signed_from))
            .map_err(|fault| LogKeyError::Sealed(path.to_owned(), fault))?;
        SigningKey::from_pkcs8(SigningAlgorithm::Ed25519, &der)
            .map_err(|fault| LogKeyError::Key(path.to_owned(), fault))
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
        let key = stored.unseal(path, kek)?;
        let signed_from = stored.signed_from;
        Ok(Some(Self { key, signed_from }))
    }

    /// [`LogKey::open`], of a log whose headers were read by what the file said a moment ago: who takes the file away and puts
    /// it back in between would have had headers believed that nobody signed.
    ///
    /// # Errors
    /// [`LogKeyError`].
    pub fn open_as_read(
        path: &Path,
        log: &str,
        signed_from: Option<u64>,
        kek: &Kek,
    ) -> Result<Option<Self>, LogKeyError> {
        let key = Self::open(path, log, kek)?;
        let is_as_read = |key: &Self| key.signed_from.is_none() || key.signed_from == signed_from;
        match key.as_ref().is_none_or(is_as_read) {
            true => Ok(key),
            false => Err(LogKeyError::Changed(path.to_owned())),
        }
    }

    /// From which record on the headers of the log are signed, as the key in a file says, whichever log's it is: none where an
    /// earlier version made it, or where there is none.
    ///
    /// # Errors
    /// [`LogKeyError`], also where it is not sealed under this key-encryption key.
    pub fn signed_from(path: &Path, kek: &Kek) -> Result<Option<u64>, LogKeyError> {
        let Some(stored) = Stored::read(path)? else {
            return Ok(None);
        };
        stored.unseal(path, kek)?;
        Ok(stored.signed_from)
    }

    /// Makes a key and writes it, durably, to a file that did not exist. `signed_from` is what [`LogKey::signed_from`] will say.
    ///
    /// # Errors
    /// [`LogKeyError`]; a file that is there is left as it is.
    pub fn create(
        path: &Path,
        log: &str,
        signed_from: Option<u64>,
        kek: &Kek,
        random: &dyn Random,
    ) -> Result<Self, LogKeyError> {
        let key = SigningKey::generate(SigningAlgorithm::Ed25519);
        let key = key.map_err(|fault| LogKeyError::Key(path.to_owned(), fault))?;
        let key = Self { key, signed_from };
        key.write(path, log, kek, random, |draft| {
            draft.persist_noclobber(path)
        })?;
        Ok(key)
    }

    /// Has the key in a file say from which record on headers are signed, if it does not yet. It never says another.
    ///
    /// # Errors
    /// [`LogKeyError`]; the file is the old one or the new one then.
    pub fn note_signed(
        path: &Path,
        signed_from: u64,
        kek: &Kek,
        random: &dyn Random,
    ) -> Result<(), LogKeyError> {
        let stored = Stored::read(path)?;
        let Some(stored) = stored.filter(|stored| stored.signed_from.is_none()) else {
            return Ok(());
        };
        let key = Self {
            key: stored.unseal(path, kek)?,
            signed_from: Some(signed_from),
        };
        key.write(path, &stored.log, kek, random, |draft| draft.persist(path))
    }

    fn write(
        &self,
        path: &Path,
        log: &str,
        kek: &Kek,
        random: &dyn Random,
        persist: impl FnOnce(NamedTempFile) -> Result<File, PersistError>,
    ) -> Result<(), LogKeyError> {
        let faulty = |fault| LogKeyError::Key(path.to_owned(), fault);
        let failed = |error| LogKeyError::Io(path.to_owned(), error);
        let signed_from = self.signed_from;
        let secret = self.key.to_pkcs8().map_err(faulty)?;
        let sealed = kek
            .seal(&secret, &context(log, signed_from), random)
            .map_err(|fault| LogKeyError::Sealed(path.to_owned(), fault))?;
        let stored = Stored {
            version: version(signed_from),
            log: log.to_owned(),
            signed_from,
            sealed,
        };
        let bytes = serde_json::to_vec(&stored).map_err(|error| failed(error.into()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        // Whole and durable before it has its name, so that no crash leaves half a key to trip over.
        let mut draft = NamedTempFile::new_in(folder).map_err(failed)?;
        draft.write_all(&bytes).map_err(failed)?;
        draft.as_file().sync_all().map_err(failed)?;
        persist(draft).map_err(|error| failed(error.error))?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.key.ed25519_public().unwrap_or_default()
    }

    /// Signs a checkpoint's text.
    ///
    /// # Errors
    /// [`KeyFault::Signing`].
    pub fn sign(&self, text: &str) -> Result<Vec<u8>, KeyFault> {
        self.key.sign(text.as_bytes())
    }
}
