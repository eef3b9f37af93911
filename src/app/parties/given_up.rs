//! What is left of logs that were given up, by rollbacks that were accepted: a copy of one of their checkpoints says nothing
//! against the log that came after. Its note is signed by a key that was set aside, as `key.` and the old log's id.
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
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

/// What the checkpoints of logs that were given up were signed with.
#[derive(Clone, Debug)]
pub(super) struct GivenUp(Arc<[NoteKey]>);

impl GivenUp {
    /// What the folder of a log tells. Blocks: reads files.
    pub(super) fn open(folder: &Path, log: &Log, kek: &Kek) -> io::Result<Self> {
        let keys = keys(folder, &String::from(log.id()), log.origin(), kek)?;
        Ok(Self(keys))
    }

    /// Whether a note was signed by a log that was given up.
    pub(super) fn signed(&self, note: &[u8]) -> bool {
        self.0.iter().any(|key| key.open(note).is_ok())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandomness;
    use zeroize::Zeroizing;

    const ORIGIN: &str = "https://log.example.org/node-1";

    fn kek(byte: u8) -> Kek {
        Kek::new(Zeroizing::new([byte; Kek::LENGTH])).unwrap()
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
                Some(0),
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
        let given_up = GivenUp(keys(folder.path(), "now", ORIGIN, &kek(1)).unwrap());
        assert!(given_up.signed(old.as_bytes()));
        for (what, note) in none {
            assert!(!given_up.signed(note.as_bytes()), "{what}");
        }
    }
}
