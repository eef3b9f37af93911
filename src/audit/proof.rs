//! Proofs that a record is in the log (C2SP tlog-proof), to be kept with a token and checked without us.

use super::checkpoint::{Checkpoint, InvalidCheckpoint};
use super::note::{NoteError, NoteKey};
use super::tree::{Hash, ProofError, leaf, verify_inclusion};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::str::FromStr;

/// What the format's first line says.
const FORMAT: &str = "c2sp.org/tlog-proof@v1";
/// Most hashes on a path: a tree of 2^64 leaves is not higher.
const HIGHEST: usize = 64;

/// A record's place, the path from it to a root, and the checkpoint that signs that root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The record's sequence.
    pub index: u64,
    /// From the leaf's side up.
    pub path: Vec<Hash>,
    /// The checkpoint as a signed note.
    pub note: String,
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidProof {
    /// Not of the format.
    #[error("not a proof as {FORMAT} has it")]
    Malformed,
    /// The checkpoint in it is not the log's.
    #[error("the checkpoint in the proof: {0}")]
    Note(#[from] NoteError),
    /// The note is no checkpoint.
    #[error("the note in the proof: {0}")]
    Checkpoint(#[from] InvalidCheckpoint),
    /// The checkpoint is of another log than its key's.
    #[error("the checkpoint in the proof is of another log")]
    Origin,
    /// The record is not what it is about.
    #[error("{0}")]
    Path(#[from] ProofError),
}

impl Proof {
    /// Checks that `record`, a line without its newline, is in the log that `key` signs for. Answers with the checkpoint
    /// that says so.
    ///
    /// # Errors
    /// [`InvalidProof`].
    pub fn verify(&self, record: &[u8], key: &NoteKey) -> Result<Checkpoint, InvalidProof> {
        let checkpoint: Checkpoint = key.open(self.note.as_bytes())?.parse()?;
        if checkpoint.origin != key.name() {
            return Err(InvalidProof::Origin);
        }
        self.leads_from(record, &checkpoint)?;
        Ok(checkpoint)
    }

    /// Checks that it leads from `record` to the checkpoint in it. Who signed that is left to [`Proof::verify`].
    ///
    /// # Errors
    /// [`InvalidProof`].
    pub fn leads(&self, record: &[u8]) -> Result<(), InvalidProof> {
        let (text, _) = self.note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let checkpoint = format!("{text}\n").parse()?;
        self.leads_from(record, &checkpoint)
    }

    fn leads_from(&self, record: &[u8], checkpoint: &Checkpoint) -> Result<(), InvalidProof> {
        let (size, root) = (checkpoint.size, &checkpoint.root);
        Ok(verify_inclusion(
            leaf(record),
            self.index,
            size,
            &self.path,
            root,
        )?)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash.bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// Others may have put an `extra` line in; it says nothing to us.
impl FromStr for Proof {
    type Err = InvalidProof;

    fn from_str(text: &str) -> Result<Self, InvalidProof> {
        let malformed = InvalidProof::Malformed;
        let (head, note) = text.split_once("\n\n").ok_or(malformed)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FORMAT) {
            return Err(malformed);
        }
        if let Some(extra) = lines.next_if(|line| line.starts_with("extra ")) {
            let data = extra.strip_prefix("extra ").unwrap_or_default();
            STANDARD.decode(data).map_err(|_| malformed)?;
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(number).ok_or(malformed)?;
        let path: Option<Vec<Hash>> = lines.map(hash).take(HIGHEST.saturating_add(1)).collect();
        let path = path.filter(|path| path.len() <= HIGHEST).ok_or(malformed)?;
        let note = note.to_owned();
        Ok(Self { index, path, note })
    }
}

/// One number has one text: no sign, no leading zeros.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn hash(line: &str) -> Option<Hash> {
    let bytes = STANDARD.decode(line).ok()?;
    bytes.try_into().ok().map(Hash::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use proptest::prelude::*;

    /// A log of one record, and the proof of it.
    fn proven(origin: &str) -> (Proof, NoteKey) {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = NoteKey::new("log", pair.public_key().as_ref().try_into().unwrap()).unwrap();
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size: 1,
            root: leaf(b"record"),
        };
        let text = checkpoint.to_string();
        let note = key.note(&text, pair.sign(text.as_bytes()).as_ref());
        let (index, path) = (0, Vec::new());
        (Proof { index, path, note }, key)
    }

    #[test]
    fn a_proof_is_of_its_record_and_log_alone() {
        let (proof, key) = proven("log");
        assert_eq!(proof.to_string().parse(), Ok(proof.clone()));
        assert_eq!(proof.verify(b"record", &key).unwrap().size, 1);
        let root = InvalidProof::Path(ProofError::Root);
        assert_eq!(proof.verify(b"Record", &key), Err(root));
        let elsewhere = Proof {
            index: 1,
            ..proof.clone()
        };
        let range = InvalidProof::Path(ProofError::OutOfRange);
        assert_eq!(elsewhere.verify(b"record", &key), Err(range));
        let unsigned = InvalidProof::Note(NoteError::Unsigned);
        assert_eq!(proof.verify(b"record", &proven("log").1), Err(unsigned));
        let (other, key) = proven("another");
        assert_eq!(other.verify(b"record", &key), Err(InvalidProof::Origin));
    }

    #[test]
    fn what_is_not_of_the_format_is_refused() {
        let (proof, _) = proven("log");
        let text = proof.to_string();
        let extra = text.replacen("\nindex", "\nextra QUJD\nindex", 1);
        assert_eq!(extra.parse(), Ok(proof));
        let hashes = |count: usize| {
            let line = format!("{}\n", STANDARD.encode([7; 32]));
            text.replacen("index 0\n", &format!("index 0\n{}", line.repeat(count)), 1)
        };
        assert_eq!(
            hashes(HIGHEST).parse::<Proof>().unwrap().path.len(),
            HIGHEST
        );
        for wrong in [
            String::new(),
            text.replacen("@v1", "@v2", 1),
            text.replacen("index 0", "index 00", 1),
            text.replacen("index 0", "index +0", 1),
            text.replacen("index 0\n", "index 0\nQUJD\n", 1),
            text.replacen("\nindex", "\nextra *\nindex", 1),
            text.replace("\n\n", "\n"),
            hashes(HIGHEST + 1),
        ] {
            let read = wrong.parse::<Proof>();
            assert_eq!(read, Err(InvalidProof::Malformed), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            index in any::<u64>(),
            path in prop::collection::vec(any::<[u8; 32]>(), 0..=HIGHEST),
            note in "[ -~\n]{0,200}",
        ) {
            let path = path.into_iter().map(Hash::new).collect();
            let written = Proof { index, path, note };
            prop_assert_eq!(written.to_string().parse(), Ok(written));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,99}(\n\\PC{0,20}){0,9}") {
            let _ = text.parse::<Proof>();
            let _ = format!("{FORMAT}\n{text}").parse::<Proof>();
        }
    }
}
