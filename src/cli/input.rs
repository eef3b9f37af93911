//! Reading what must not stand on a command line: secrets come from a file or from standard input.

use super::failure::Failure;
use crate::id::KeyPublicId;
use crate::jose::Unverified;
use crate::limits;
use crate::secret::{self, Secret, api_key};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// A file, or standard input as `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    File(PathBuf),
    Stdin,
}

impl From<std::ffi::OsString> for Source {
    fn from(text: std::ffi::OsString) -> Self {
        if text == "-" {
            Self::Stdin
        } else {
            Self::File(text.into())
        }
    }
}

impl Source {
    /// Reads a secret of at most `limit` bytes, without the line break that editors leave.
    ///
    /// # Errors
    /// When it cannot be read, is longer, or is not text. Nothing of the content is told.
    pub(super) fn secret(&self, limit: usize) -> Result<Secret, Failure> {
        let text = Zeroizing::new(self.text(limit)?);
        Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Reads the text of one API key.
    ///
    /// # Errors
    /// As [`Source::secret`], and when it is none.
    pub(super) fn api_key(&self) -> Result<Secret, Failure> {
        let text = self.secret(limits::TOKEN)?;
        match api_key::parse(text.expose()) {
            Ok(_) => Ok(text),
            Err(_) => Err(Failure::usage(format!("{} does not hold one API key", self.name()))
                .why("it is not cmb_, an id and a secret with a right checksum, or something stands around it")
                .next("cambist scan FILE says where in a file there are keys")),
        }
    }

    /// Reads the text of one token.
    ///
    /// # Errors
    /// As [`Source::secret`], and when it is none.
    pub(super) fn token(&self) -> Result<Secret, Failure> {
        let text = self.secret(limits::TOKEN)?;
        match Unverified::parse(text.expose()) {
            Ok(_) => Ok(text),
            Err(_) => Err(Failure::usage(format!("{} does not hold one token", self.name()))
                .why("it is not three parts in base64url with dots between and a header that tells how it is signed, or something stands around it")
                .next("put the token's whole text into a file, and nothing else")),
        }
    }

    /// Reads text of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Source::secret`].
    pub(super) fn text(&self, limit: usize) -> Result<String, Failure> {
        match self {
            Self::Stdin => text(&self.name(), Ok(io::stdin().lock()), limit),
            Self::File(path) => text(&self.name(), File::open(path), limit),
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Reads text of at most `limit` bytes from what was opened under a name.
///
/// # Errors
/// As [`Source::secret`].
pub(super) fn text(
    name: &str,
    opened: io::Result<impl Read>,
    limit: usize,
) -> Result<String, Failure> {
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::new());
    opened
        .and_then(|from| from.take(bound).read_to_end(&mut bytes))
        .map_err(|error| Failure::usage(format!("{name} cannot be read")).why(error))?;
    if bytes.len() > limit {
        return Err(Failure::usage(format!(
            "{name} is longer than {limit} bytes"
        )));
    }
    std::str::from_utf8(&bytes)
        .map(str::to_owned)
        .map_err(|_| Failure::usage(format!("{name} is not text")))
}

/// Whether a word of a command line holds a token, or an API key, also one that was not copied whole: what nobody means
/// to type there.
pub(super) fn holds_credential(word: &str) -> bool {
    let key = word.split(api_key::PREFIX).skip(1).any(|rest| {
        let secret = rest.split_once('_').filter(|(id, _)| {
            id.len() == KeyPublicId::LENGTH && id.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        // Longer than what file names go on with.
        secret.is_some_and(|(_, secret)| {
            let text = secret.bytes().take_while(u8::is_ascii_alphanumeric);
            text.count() >= KeyPublicId::LENGTH
        })
    });
    key || secret::holds_credential(word)
}

/// The complaint about such a word, which does not repeat it.
pub(super) fn pasted() -> Failure {
    Failure::usage(
        "a credential must not stand on a command line or in a variable: give a file's path",
    )
    .next("put it into a file, or give - and standard input; if it is in use, replace it now")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_n_and_n_plus_one_and_line_ends_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let read = |content: &[u8], limit| {
            std::fs::write(&path, content).unwrap();
            Source::File(path.clone()).secret(limit)
        };
        assert_eq!(read(b"abcdefg\n", 8), Ok(Secret::new("abcdefg".to_owned())));
        for content in [&b"abcdefgh\n"[..], b"\xff"] {
            let failure = read(content, 8).unwrap_err();
            assert!(!format!("{failure:?}").contains("abcdefgh"));
        }
        assert!(
            Source::File(directory.path().join("absent"))
                .secret(8)
                .is_err()
        );
        assert_eq!(Source::from(std::ffi::OsString::from("-")), Source::Stdin);
    }

    #[test]
    fn a_credential_is_told_from_a_name() {
        let key = "cmb_9hUyCSJrTE3vv9rz_QkWobVReHImEiKiNlT24";
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln";
        for word in [
            key,
            token,
            &format!("--key={key}"),
            &format!("Authorization: Bearer {token}"),
            &format!("dir/{key}.txt"),
        ] {
            assert!(holds_credential(word), "{word}");
        }
        for word in [
            "ci.key",
            "cmb_9hUyCSJrTE3vv9rz",
            "cmb_9hUyCSJrTE3vv9rz_successor.key",
            "cmb_prod_ci.key",
            "a.b.c",
            "--json",
        ] {
            assert!(!holds_credential(word), "{word}");
        }
    }
}
