//! What is left of logs that were given up, by rollbacks that were accepted: who still speaks of one of them has nothing
//! against the log that came after.
//!
//! | who | what tells that it speaks of another log |
//! |---|---|
//! | a copy | its note is signed by a key that was set aside, as `key.` and the old log's id |
//! | a witness | `cosigned-by` is there, and it is not in it |
//!
//! A witness answers with a size and no signature, and knows a log by its origin, which stays. So the file names those that have
//! cosigned the log as it is now. A log that was never begun anew has no such file, and each witness is believed.
//!
//! A name alone is not believed: whoever writes to the folder could give one to any key, and have the copy overwritten that tells
//! on them. A key that was set aside is still sealed, under the old log's id, as the broker alone can have sealed it; and the log
//! as it is now is another one, which the store sees to.
//!
//! A folder that was moved away takes its key along: to have a copy known that was away meanwhile, put that folder's `key` into
//! the new one, as `key.old`.

use crate::app::publishing;
use crate::audit::{Log, NoteKey};
use crate::keys::{Kek, LogKey, LogKeyError};
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
    /// What their checkpoints were signed with.
    keys: Arc<[NoteKey]>,
    /// Held by who writes.
    writing: Arc<Mutex<()>>,
}

impl GivenUp {
    /// What the folder of a log tells. Blocks, as all but [`GivenUp::signed`] do: they read or write files.
    pub(super) fn open(folder: &Path, log: &Log, kek: &Kek) -> io::Result<Self> {
        Ok(Self {
            folder: folder.into(),
            keys: keys(folder, &String::from(log.id()), log.origin(), kek)?,
            writing: Arc::default(),
        })
    }

    /// The log is begun anew: no witness has seen it yet.
    pub(in crate::app) fn begin(folder: &Path) -> io::Result<()> {
        write(folder, "")
    }

    /// Whether a note was signed by a log that was given up.
    pub(super) fn signed(&self, note: &[u8]) -> bool {
        self.keys.iter().any(|key| key.open(note).is_ok())
    }

    /// Whether a witness speaks of the log as it is now.
    pub(super) fn believes(&self, witness: &NoteKey) -> io::Result<bool> {
        Ok(self.cosigned()?.is_none_or(|all| names(&all, witness)))
    }

    /// A witness has cosigned the log as it is now.
    pub(super) fn cosigns(&self, witness: &NoteKey) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.cosigned()? {
            Some(all) if !names(&all, witness) => write(&self.folder, &format!("{all}{witness}\n")),
            _ => Ok(()),
        }
    }

    fn cosigned(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.folder.join(COSIGNED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            all => all.map(Some),
        }
    }
}

/// The keys of other logs than this one that were sealed here. What is no such key says nothing.
fn keys(folder: &Path, log: &str, origin: &str, kek: &Kek) -> io::Result<Arc<[NoteKey]>> {
    let prefix = format!("{}.", publishing::KEY);
    let mut keys = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_key = |name: &str| name.starts_with(&prefix);
        if !entry.file_name().to_str().is_some_and(is_key) {
            continue;
        }
        let path = entry.path();
        if let Err(LogKeyError::OtherLog(old)) = LogKey::open(&path, log, kek)
            && let Ok(Some(key)) = LogKey::open(&path, &old, kek)
        {
            keys.extend(NoteKey::new(origin, key.public()));
        }
    }
    Ok(keys.into())
}

fn write(folder: &Path, all: &str) -> io::Result<()> {
    let mut draft = NamedTempFile::new_in(folder)?;
    draft.write_all(all.as_bytes())?;
    draft.as_file().sync_all()?;
    let kept = draft.persist(folder.join(COSIGNED));
    kept.map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn names(all: &str, witness: &NoteKey) -> bool {
    let key = witness.to_string();
    all.lines().any(|line| line == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandomness;
    use zeroize::Zeroizing;

    const ORIGIN: &str = "https://log.example.org/node-1";

    fn kek(byte: u8) -> Kek {
        Kek::new(Zeroizing::new([byte; Kek::LENGTH])).unwrap()
    }

    fn given_up(folder: &Path) -> GivenUp {
        GivenUp {
            folder: folder.into(),
            keys: keys(folder, "now", ORIGIN, &kek(1)).unwrap(),
            writing: Arc::default(),
        }
    }

    #[test]
    fn a_witness_is_believed_once_it_has_cosigned_what_was_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let witness = |name: &str| NoteKey::of_witness(name, [7; 32]).unwrap();
        let (one, two) = (witness("one.example.net"), witness("two.example.net"));
        let given_up = given_up(folder.path());
        // Never begun anew.
        given_up.cosigns(&one).unwrap();
        assert!(!folder.path().join(COSIGNED).exists());
        assert!(given_up.believes(&one).unwrap() && given_up.believes(&two).unwrap());
        for _ in 0..2 {
            GivenUp::begin(folder.path()).unwrap();
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
    fn a_note_of_a_log_that_was_given_up_is_known_by_its_sealed_key() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // The note that a key signs which is sealed for this log by this broker, and lies there.
        let note = |name: &str, log: &str, sealed_by: u8| {
            let key = LogKey::create(
                &at(name),
                log,
                &kek(sealed_by),
                &*SystemRandomness::shared(),
            );
            let (key, text) = (key.unwrap(), "text\n");
            let public = NoteKey::new(ORIGIN, key.public()).unwrap();
            public.note(text, &key.sign(text).unwrap())
        };
        let old = note("key.old", "old", 1);
        let none = [
            ("the log's own", note("key", "now", 1)),
            ("the log's own, renamed", note("key.now", "now", 1)),
            ("somebody else's", note("key.else", "else", 2)),
            ("not set aside", note("kept", "kept", 1)),
            ("forged", old.replacen("text", "Text", 1)),
            ("empty", String::new()),
        ];
        // Its own, under the name of another log.
        let own = fs::read_to_string(at("key.now")).unwrap();
        let claimed = own.replacen("\"now\"", "\"old\"", 1);
        assert_ne!(claimed, own);
        fs::write(at("key.claimed"), claimed).unwrap();
        fs::write(at("key.none"), "no key\n").unwrap();
        let given_up = given_up(folder.path());
        assert!(given_up.signed(old.as_bytes()));
        for (what, note) in none {
            assert!(!given_up.signed(note.as_bytes()), "{what}");
        }
    }
}
