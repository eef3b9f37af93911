//! What is left of logs that were given up, by rollbacks that were accepted: who still speaks of one of them has nothing
//! against the log that came after.
//!
//! | who | what tells that it speaks of another log |
//! |---|---|
//! | a copy | its note is signed by a key that was set aside, as `vkey.` and the old log's id |
//! | a witness | `cosigned-by` is there, and it is not in it |
//!
//! A witness answers with a size and no signature, and knows a log by its origin, which stays. So the file names those that have
//! cosigned the log as it is now. A log that was never begun anew has no such file, and each witness is believed.
//!
//! A folder that was moved away takes its key along: to have a copy known that was away meanwhile, put that folder's `vkey` into
//! the new one, as `vkey.old`.

use crate::audit::{DiskShelf, NoteKey};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::NamedTempFile;

/// The file with the keys of the witnesses that have cosigned the log since it was begun anew, a line each.
const COSIGNED: &str = "cosigned-by";

/// A log's folder, as far as it tells of logs that were given up.
#[derive(Clone, Debug)]
pub(in crate::app) struct GivenUp {
    folder: Arc<Path>,
    /// Held by who writes.
    writing: Arc<Mutex<()>>,
}

impl GivenUp {
    pub(in crate::app) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.into(),
            writing: Arc::default(),
        }
    }

    /// The log is begun anew: no witness has seen it yet. Blocks, as all of these do: they read or write files.
    pub(in crate::app) fn begin(&self) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write("")
    }

    /// Whether a note was signed by a log that was given up.
    pub(super) fn signed(&self, note: &[u8]) -> io::Result<bool> {
        let prefix = format!("{}.", DiskShelf::KEY);
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let is_key = |name: &str| name.starts_with(&prefix);
            if !entry.file_name().to_str().is_some_and(is_key) {
                continue;
            }
            let key = fs::read_to_string(entry.path())?;
            let key = key.trim_end().parse::<NoteKey>();
            if key.is_ok_and(|key| key.open(note).is_ok()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a witness speaks of the log as it is now.
    pub(super) fn believes(&self, witness: &NoteKey) -> io::Result<bool> {
        Ok(self.cosigned()?.is_none_or(|all| names(&all, witness)))
    }

    /// A witness has cosigned the log as it is now.
    pub(super) fn cosigns(&self, witness: &NoteKey) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.cosigned()? {
            Some(all) if !names(&all, witness) => self.write(&format!("{all}{witness}\n")),
            _ => Ok(()),
        }
    }

    fn cosigned(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.folder.join(COSIGNED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            all => all.map(Some),
        }
    }

    fn write(&self, all: &str) -> io::Result<()> {
        let mut draft = NamedTempFile::new_in(&self.folder)?;
        draft.write_all(all.as_bytes())?;
        draft.as_file().sync_all()?;
        let kept = draft.persist(self.folder.join(COSIGNED));
        kept.map_err(|error| error.error)?;
        File::open(&self.folder)?.sync_all()
    }
}

fn names(all: &str, witness: &NoteKey) -> bool {
    let key = witness.to_string();
    all.lines().any(|line| line == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    #[test]
    fn a_witness_is_believed_once_it_has_cosigned_what_was_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let witness = |name: &str| NoteKey::of_witness(name, [7; 32]).unwrap();
        let (one, two) = (witness("one.example.net"), witness("two.example.net"));
        let given_up = GivenUp::new(folder.path());
        // Never begun anew.
        given_up.cosigns(&one).unwrap();
        assert!(!folder.path().join(COSIGNED).exists());
        assert!(given_up.believes(&one).unwrap() && given_up.believes(&two).unwrap());
        for _ in 0..2 {
            given_up.begin().unwrap();
            assert!(!given_up.believes(&one).unwrap() && !given_up.believes(&two).unwrap());
            given_up.cosigns(&two).unwrap();
            assert!(!given_up.believes(&one).unwrap() && given_up.believes(&two).unwrap());
        }
        given_up.cosigns(&one).unwrap();
        given_up.cosigns(&two).unwrap();
        let all = fs::read_to_string(folder.path().join(COSIGNED)).unwrap();
        assert_eq!(all, format!("{two}\n{one}\n"));
    }

    #[test]
    fn a_note_of_a_log_that_was_given_up_is_known_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let key = NoteKey::new("https://log.example.org/node-1", public).unwrap();
        let text = "text\n";
        let note = key.note(text, pair.sign(text.as_bytes()).as_ref());
        let forged = note.replacen("text", "Text", 1);
        let given_up = GivenUp::new(folder.path());
        fs::write(folder.path().join("vkey"), format!("{key}\n")).unwrap();
        fs::write(folder.path().join("vkey.none"), "no key\n").unwrap();
        assert!(!given_up.signed(note.as_bytes()).unwrap(), "the log's own");
        fs::write(folder.path().join("vkey.old"), format!("{key}\n")).unwrap();
        assert!(given_up.signed(note.as_bytes()).unwrap());
        assert!(!given_up.signed(forged.as_bytes()).unwrap());
        assert!(!given_up.signed(b"").unwrap());
    }
}
