//! The text of an API key (DESIGN.md section 8).
//!
//! `cmb_<id>_<secret><check>`: id 16 and secret 43 characters of `0-9A-Za-z` (over 256 bits), check the
//! CRC-32/ISO-HDLC of everything before it, prefix included, as six characters of the same alphabet,
//! most significant first, left-padded with `0`. Seventy characters in all.
//!
//! Only `[A-Za-z0-9_]`, so that a key survives every client's encoding; the checksum lets garbage die
//! before any look-up and lets scanners tell a key from a look-alike.
//!
//! Test vectors:
//!
//! ```
//! use cambist::secret::api_key;
//! for key in [
//!     "cmb_0000000000000000_00000000000000000000000000000000000000000000CYaO1",
//!     "cmb_CambistTestKey01_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ2Dgl12",
//! ] {
//!     assert!(api_key::parse(key).is_ok(), "{key}");
//! }
//! // One character changed: the checksum no longer holds.
//! let key = "cmb_CambistTestKey01_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPR2Dgl12";
//! assert!(api_key::parse(key).is_err());
//! ```

use super::Secret;
use crate::clock::{NoRandomness, Random};
use crate::id::KeyPublicId;
use aws_lc_rs::digest::{SHA256, digest};

/// How a key's text begins.
pub const PREFIX: &str = "cmb_";
const SECRET_LENGTH: usize = 43;
const CHECK_LENGTH: usize = 6;
/// Length of a key's text.
pub const LENGTH: usize = PREFIX.len() + KeyPublicId::LENGTH + 1 + SECRET_LENGTH + CHECK_LENGTH;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key's text that is well-formed: what to look up, and what to compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// The public id.
    pub id: KeyPublicId,
    /// SHA-256 of the secret part.
    pub digest: [u8; 32],
}

impl std::fmt::Debug for Parsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parsed({})", self.id)
    }
}

/// The text is not an API key's. Says nothing of the text.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an API key")]
pub struct Malformed;

/// Parses and hashes a key's text; rejects anything whose checksum does not hold.
///
/// # Errors
/// [`Malformed`].
pub fn parse(text: &str) -> Result<Parsed, Malformed> {
    if text.len() != LENGTH {
        return Err(Malformed);
    }
    let (body, check) = text
        .split_at_checked(LENGTH - CHECK_LENGTH)
        .ok_or(Malformed)?;
    if checksum(body.as_bytes()) != check.as_bytes() {
        return Err(Malformed);
    }
    let rest = body.strip_prefix(PREFIX).ok_or(Malformed)?;
    let (id, secret) = rest.split_once('_').ok_or(Malformed)?;
    let well_formed =
        secret.len() == SECRET_LENGTH && secret.bytes().all(|b| b.is_ascii_alphanumeric());
    if !well_formed {
        return Err(Malformed);
    }
    Ok(Parsed {
        id: KeyPublicId::parse(id).map_err(|_| Malformed)?,
        digest: hash(secret),
    })
}

/// What of a key's text is secret: everything after its public id.
#[must_use]
pub fn secret_part(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)?
        .split_once('_')
        .map(|(_, secret)| secret)
}

/// Makes a new key: its text, which is shown once, and what is kept of it.
///
/// # Errors
/// [`NoRandomness`].
pub fn generate(random: &dyn Random) -> Result<(Secret, Parsed), NoRandomness> {
    let id: String = characters(random, KeyPublicId::LENGTH)?;
    let secret: String = characters(random, SECRET_LENGTH)?;
    let body = format!("{PREFIX}{id}_{secret}");
    let check = checksum(body.as_bytes());
    let text = format!("{body}{}", String::from_utf8_lossy(&check));
    let parsed = Parsed {
        id: KeyPublicId::parse(&id).map_err(|_| NoRandomness)?,
        digest: hash(&secret),
    };
    Ok((Secret::new(text), parsed))
}

fn hash(secret: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    out
}

fn checksum(body: &[u8]) -> [u8; CHECK_LENGTH] {
    let mut rest = crc32fast::hash(body);
    let mut text = [b'0'; CHECK_LENGTH];
    for place in text.iter_mut().rev() {
        *place = letter(rest % 62);
        rest /= 62;
    }
    text
}

fn letter(value: u32) -> u8 {
    usize::try_from(value)
        .ok()
        .and_then(|at| ALPHABET.get(at))
        .copied()
        .unwrap_or(b'0')
}

/// Uniform characters: bytes of 248 and above would favour the alphabet's first letters and are drawn again.
fn characters(random: &dyn Random, count: usize) -> Result<String, NoRandomness> {
    let mut text = String::with_capacity(count);
    while text.len() < count {
        let bytes: [u8; 64] = crate::clock::random(random)?;
        let wanted = count.saturating_sub(text.len());
        text.extend(
            bytes
                .iter()
                .filter(|b| **b < 248)
                .take(wanted)
                .map(|b| char::from(letter(u32::from(*b) % 62))),
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandomness;
    use proptest::prelude::*;

    fn fresh() -> (Secret, Parsed) {
        generate(&SystemRandomness::default()).unwrap()
    }

    #[test]
    fn a_generated_key_parses_to_what_is_kept() {
        let (text, kept) = fresh();
        assert_eq!(text.expose().len(), LENGTH);
        assert_eq!(parse(text.expose()), Ok(kept));
    }

    #[test]
    fn the_check_is_crc32_iso_hdlc() {
        // The check value of CRC-32/ISO-HDLC over "123456789" is CBF43926.
        assert_eq!(crc32fast::hash(b"123456789"), 0xCBF4_3926);
        assert_eq!(&checksum(b"123456789"), b"3jZRME");
    }

    #[test]
    fn length_is_checked_at_both_sides() {
        let (text, _) = fresh();
        let text = text.expose();
        assert_eq!(parse(text.get(..LENGTH - 1).unwrap()), Err(Malformed));
        assert_eq!(parse(&format!("{text}0")), Err(Malformed));
        assert_eq!(parse(&format!("{text}\n")), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_changed_character_is_noticed(at in 0..LENGTH, by in "[0-9A-Za-z_]") {
            let (text, _) = fresh();
            let mut changed = text.expose().to_owned();
            changed.replace_range(at..=at, &by);
            prop_assume!(changed != text.expose());
            prop_assert_eq!(parse(&changed), Err(Malformed));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }
    }
}
