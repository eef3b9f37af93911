//! Signed notes (C2SP signed-note): a text, an empty line, and lines of signatures.

use crate::limits;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::str::FromStr;

/// The type byte of Ed25519 keys.
const TYPE: u8 = 1;
/// What a signature's line begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// A name and the public key that goes with it, as verifiers are given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    public: [u8; 32],
    id: [u8; 4],
}

/// A text that is no verifier key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a verifier key: `name+id+key`, of Ed25519")]
pub struct InvalidNoteKey;

/// Why a note is not believed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoteError {
    /// Larger than [`limits::NOTE`], or not of a note's form.
    #[error("not a signed note")]
    Malformed,
    /// No signature of the key.
    #[error("the note is not signed by the key")]
    Unsigned,
    /// A signature in the key's name that is not the key's.
    #[error("the note's signature is not the key's")]
    Forged,
}

impl NoteKey {
    /// A key by name. A name has no white space and no `+`.
    ///
    /// # Errors
    /// [`InvalidNoteKey`].
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, InvalidNoteKey> {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(InvalidNoteKey);
        }
        let of = [name.as_bytes(), b"\n", &[TYPE], &public].concat();
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(digest(&SHA256, &of).as_ref()) {
            *to = *from;
        }
        Ok(Self {
            name: name.to_owned(),
            public,
            id,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The note of `text`, which ends with a newline, and its signature by this key.
    #[must_use]
    pub fn note(&self, text: &str, signature: &[u8]) -> String {
        let signature = STANDARD.encode([&self.id[..], signature].concat());
        format!("{text}\n{DASH}{} {signature}\n", self.name)
    }

    /// The text of a note that this key signed. Others' signatures are passed over.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn open<'a>(&self, note: &'a [u8]) -> Result<&'a str, NoteError> {
        let malformed = NoteError::Malformed;
        if note.len() > limits::NOTE {
            return Err(malformed);
        }
        let note = std::str::from_utf8(note).map_err(|_| malformed)?;
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(malformed);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(malformed)?;
        let text = note.get(..text.len().saturating_add(1)).ok_or(malformed)?;
        let signatures = signatures.strip_suffix('\n').ok_or(malformed)?;
        let mut signed = false;
        for line in signatures.split('\n') {
            let (name, encoded) = line
                .strip_prefix(DASH)
                .and_then(|rest| rest.split_once(' '))
                .ok_or(malformed)?;
            let bytes = STANDARD.decode(encoded).map_err(|_| malformed)?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or(malformed)?;
            if name != self.name || *id != self.id {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(text.as_bytes(), signature)
                .map_err(|_| NoteError::Forged)?;
            signed = true;
        }
        signed.then_some(text).ok_or(NoteError::Unsigned)
    }
}

/// `name+id+key`: the id in hexadecimal, the key in base64 behind its type.
impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id);
        let key = STANDARD.encode([&[TYPE][..], &self.public].concat());
        write!(f, "{}+{id:08x}+{key}", self.name)
    }
}

impl FromStr for NoteKey {
    type Err = InvalidNoteKey;

    fn from_str(text: &str) -> Result<Self, InvalidNoteKey> {
        let mut parts = text.splitn(3, '+');
        let (name, id, key) = (parts.next(), parts.next(), parts.next());
        let (name, id, key) = (
            name.ok_or(InvalidNoteKey)?,
            id.ok_or(InvalidNoteKey)?,
            key.ok_or(InvalidNoteKey)?,
        );
        let bytes = STANDARD.decode(key).map_err(|_| InvalidNoteKey)?;
        let public = match bytes.split_first() {
            Some((&TYPE, public)) => public.try_into().map_err(|_| InvalidNoteKey)?,
            _ => return Err(InvalidNoteKey),
        };
        let key = Self::new(name, public)?;
        let named = format!("{:08x}", u32::from_be_bytes(key.id));
        (named == id).then_some(key).ok_or(InvalidNoteKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use proptest::prelude::*;

    fn pair(name: &str) -> (NoteKey, Ed25519KeyPair) {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (NoteKey::new(name, public).unwrap(), pair)
    }

    /// The example of C2SP's signed-note, by Go's `golang.org/x/mod/sumdb/note`.
    #[test]
    fn the_specifications_own_note_is_opened() {
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let note = "If you think cryptography is the answer to your problem,\n\
            then you don't know what your problem is.\n\n\
            \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let parsed: NoteKey = key.parse().unwrap();
        assert_eq!(parsed.to_string(), key);
        let text = parsed.open(note.as_bytes()).unwrap();
        assert!(text.starts_with("If you think") && text.ends_with("problem is.\n"));
        let bent = note.replace("answer", "Answer");
        assert_eq!(parsed.open(bent.as_bytes()), Err(NoteError::Forged));
    }

    #[test]
    fn what_a_key_signs_it_opens_beside_others() {
        let (ours, pair_of_ours) = pair("https://log.example.org/node-1");
        let (theirs, pair_of_theirs) = pair("witness.example.org");
        let text = "a\n\nb\n";
        let sign = |pair: &Ed25519KeyPair| pair.sign(text.as_bytes()).as_ref().to_vec();
        let note = ours.note(text, &sign(&pair_of_ours));
        assert_eq!(ours.open(note.as_bytes()), Ok(text));
        assert_eq!(theirs.open(note.as_bytes()), Err(NoteError::Unsigned));
        // Witnesses add their lines under it.
        let more = theirs.note(text, &sign(&pair_of_theirs));
        let line = more.rsplit_once("\n\n").unwrap().1;
        let both = note.clone() + &line.repeat(20);
        assert_eq!(ours.open(both.as_bytes()), Ok(text));
        assert_eq!(theirs.open(both.as_bytes()), Ok(text));
        // A second line in our name that is not ours spoils it.
        let forged = both
            + ours
                .note(text, &sign(&pair_of_theirs))
                .rsplit_once("\n\n")
                .unwrap()
                .1;
        assert_eq!(ours.open(forged.as_bytes()), Err(NoteError::Forged));
        for broken in [
            "",
            "\n",
            "a\n",
            "a\n\n",
            "a\n\n\u{2014} x\n",
            "a\r\n\n\u{2014} x AAAAAAAA\n",
        ] {
            assert_eq!(
                ours.open(broken.as_bytes()),
                Err(NoteError::Malformed),
                "{broken:?}"
            );
        }
        assert_eq!(
            ours.open(note.trim_end().as_bytes()),
            Err(NoteError::Malformed)
        );
    }

    #[test]
    fn notes_are_bounded_at_n_and_n_plus_one() {
        let (key, pair) = pair("log");
        let of_size = |size: usize| {
            let empty = key.note("\n", &[0; 64]).len() - 1;
            let text = "x".repeat(size - empty - 1) + "\n";
            key.note(&text, pair.sign(text.as_bytes()).as_ref())
        };
        let note = of_size(limits::NOTE);
        assert_eq!(note.len(), limits::NOTE);
        assert!(key.open(note.as_bytes()).is_ok());
        let over = of_size(limits::NOTE + 1);
        assert_eq!(key.open(over.as_bytes()), Err(NoteError::Malformed));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (key, _) = pair("log");
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        for wrong in [
            "",
            "log",
            "log+",
            "log++",
            &text.replace("log+", "lag+"),
            &text.replace("+AX", "+BX"),
        ] {
            if wrong != text {
                assert_eq!(wrong.parse::<NoteKey>(), Err(InvalidNoteKey), "{wrong}");
            }
        }
        for name in ["", "a b", "a+b", "a\n"] {
            assert_eq!(NoteKey::new(name, [0; 32]), Err(InvalidNoteKey));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,60}(\n\n)?(\u{2014} log [A-Za-z0-9+/=]{0,20}\n)?") {
            let (key, _) = pair("log");
            let _ = key.open(&bytes);
            prop_assert!(key.open(text.as_bytes()).is_err());
            let _ = text.parse::<NoteKey>();
        }
    }
}
