//! Signed notes (C2SP signed-note): a text, an empty line, and lines of signatures.

use crate::limits;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::str::FromStr;

/// The type byte of Ed25519 keys.
const PLAIN: u8 = 1;
/// That of Ed25519 keys which cosign checkpoints (C2SP tlog-cosignature).
const COSIGNS: u8 = 4;
/// What a signature's line begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// A name and the public key that goes with it, as verifiers are given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    kind: u8,
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
        Self::of(PLAIN, name, public)
    }

    /// The key of a witness.
    ///
    /// # Errors
    /// [`InvalidNoteKey`].
    pub fn of_witness(name: &str, public: [u8; 32]) -> Result<Self, InvalidNoteKey> {
        Self::of(COSIGNS, name, public)
    }

    fn of(kind: u8, name: &str, public: [u8; 32]) -> Result<Self, InvalidNoteKey> {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(InvalidNoteKey);
        }
        let of = [name.as_bytes(), b"\n", &[kind], &public].concat();
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(digest(&SHA256, &of).as_ref()) {
            *to = *from;
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            public,
            id,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a witness's: what it signs says when, and that it is a cosignature.
    #[must_use]
    pub fn cosigns(&self) -> bool {
        self.kind == COSIGNS
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
        self.signing(text, signatures).map(|_| text)
    }

    /// The line, of some that each end with a newline, which holds this key's signature of `text`.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn line<'a>(&self, text: &str, lines: &'a str) -> Result<&'a str, NoteError> {
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        self.signing(text, lines)
    }

    /// A note with a line of this key's, instead of those that it has.
    #[must_use]
    pub fn added(&self, note: &str, line: &str) -> String {
        let (text, signatures) = note.rsplit_once("\n\n").unwrap_or((note, ""));
        let others = signatures.lines().filter(|line| match parse(line) {
            Some((name, id, _)) => !self.is(name, &id),
            None => true,
        });
        let lines: String = others.chain([line]).flat_map(|line| [line, "\n"]).collect();
        format!("{text}\n\n{lines}")
    }

    /// The first of some lines that is this key's. All that are must be right.
    fn signing<'a>(&self, text: &str, lines: &'a str) -> Result<&'a str, NoteError> {
        let mut found = None;
        for line in lines.split('\n') {
            let (name, id, signature) = parse(line).ok_or(NoteError::Malformed)?;
            if self.is(name, &id) {
                let verified = self.verify(text, &signature);
                verified.ok_or(NoteError::Forged)?;
                found = found.or(Some(line));
            }
        }
        found.ok_or(NoteError::Unsigned)
    }

    fn is(&self, name: &str, id: &[u8; 4]) -> bool {
        name == self.name && *id == self.id
    }

    fn verify(&self, text: &str, signature: &[u8]) -> Option<()> {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        if !self.cosigns() {
            return key.verify(text.as_bytes(), signature).ok();
        }
        let (time, signature) = signature.split_first_chunk()?;
        // One that says no time says nothing of what else the witness had seen.
        let time = Some(u64::from_be_bytes(*time)).filter(|time| *time != 0)?;
        i64::try_from(time).ok()?;
        let message = format!("cosignature/v1\ntime {time}\n{text}");
        key.verify(message.as_bytes(), signature).ok()
    }
}

/// `name+id+key`: the id in hexadecimal, the key in base64 behind its type.
impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id);
        let key = STANDARD.encode([&[self.kind][..], &self.public].concat());
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
        let (kind, public) = match bytes.split_first() {
            Some((kind @ &(PLAIN | COSIGNS), public)) => (*kind, public),
            _ => return Err(InvalidNoteKey),
        };
        let public = public.try_into().map_err(|_| InvalidNoteKey)?;
        let key = Self::of(kind, name, public)?;
        let named = format!("{:08x}", u32::from_be_bytes(key.id));
        (named == id).then_some(key).ok_or(InvalidNoteKey)
    }
}

/// A signature's line: whose it is by name and id, and the signature.
fn parse(line: &str) -> Option<(&str, [u8; 4], Vec<u8>)> {
    let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, signature) = bytes.split_first_chunk()?;
    Some((name, *id, signature.to_vec()))
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

    /// The example of C2SP tlog-cosignature has no key to it, so another is made of the same form.
    #[test]
    fn a_witness_cosigns_a_text_at_a_time() {
        let (log, pair_of_log) = pair("log.example.org/one");
        let (_, pair) = pair("witness.example.com/w1");
        let public = pair.public_key().as_ref().try_into().unwrap();
        let witness = NoteKey::of_witness("witness.example.com/w1", public).unwrap();
        assert!(witness.cosigns() && !log.cosigns());
        assert_eq!(witness.to_string().parse(), Ok(witness.clone()));
        let text = "log.example.org/one\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let cosigned = |time: u64, message: String| {
            let signature = pair.sign(message.as_bytes());
            let stamped = [&time.to_be_bytes()[..], signature.as_ref()].concat();
            let line = witness.note("", &stamped);
            line.trim_start().to_owned()
        };
        let at = |time: u64| cosigned(time, format!("cosignature/v1\ntime {time}\n{text}"));
        let (line, later) = (at(1_679_315_147), at(1_679_315_148));
        assert_eq!(witness.line(text, &line), Ok(line.trim_end()));
        let note = log.note(text, pair_of_log.sign(text.as_bytes()).as_ref());
        let both = witness.added(&note, line.trim_end());
        assert!(both.starts_with(&note), "the log's own stays first");
        assert_eq!(witness.open(both.as_bytes()), Ok(text));
        assert_eq!(log.open(both.as_bytes()), Ok(text));
        assert_eq!(
            witness.added(&both, later.trim_end()),
            format!("{note}{later}")
        );
        // Another time than was signed, none, one that no clock shows, a plain signature, of another text.
        let mut retold = STANDARD
            .decode(line.trim_end().rsplit(' ').next().unwrap())
            .unwrap();
        retold[11] ^= 1;
        let retold = format!("{DASH}witness.example.com/w1 {}\n", STANDARD.encode(retold));
        let other = cosigned(7, "cosignature/v1\ntime 7\nanother\n".to_owned());
        for wrong in [
            retold,
            at(0),
            at(1 << 63),
            cosigned(7, text.to_owned()),
            other,
        ] {
            assert_eq!(
                witness.line(text, &wrong),
                Err(NoteError::Forged),
                "{wrong}"
            );
        }
        let plain = log.note(text, pair_of_log.sign(text.as_bytes()).as_ref());
        assert_eq!(witness.open(plain.as_bytes()), Err(NoteError::Unsigned));
        assert_eq!(witness.line(text, ""), Err(NoteError::Malformed));
        assert_eq!(witness.line(text, "no line\n"), Err(NoteError::Malformed));
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
