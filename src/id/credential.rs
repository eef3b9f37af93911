//! Ids of keys, tokens and credentials.

use super::text_newtype;
use crate::limits;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not one of these ids.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a valid {0}")]
pub struct InvalidCredentialId(&'static str);

/// The public id of an API key: 16 characters of `[0-9A-Za-z]`. Not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPublicId([u8; Self::LENGTH]);

impl KeyPublicId {
    /// Length in characters.
    pub const LENGTH: usize = 16;

    /// Parses an id.
    ///
    /// # Errors
    /// [`InvalidCredentialId`].
    pub fn parse(text: &str) -> Result<Self, InvalidCredentialId> {
        let error = InvalidCredentialId("key id");
        let bytes: [u8; Self::LENGTH] = text.as_bytes().try_into().map_err(|_| error)?;
        if bytes.iter().all(u8::is_ascii_alphanumeric) {
            Ok(Self(bytes))
        } else {
            Err(error)
        }
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The bytes are ASCII by construction.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for KeyPublicId {
    type Err = InvalidCredentialId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for KeyPublicId {
    type Error = InvalidCredentialId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<KeyPublicId> for String {
    fn from(id: KeyPublicId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for KeyPublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyPublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token's `jti`: 128 random bits, as 22 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; 16]);

impl TokenId {
    /// An id from random bits.
    #[must_use]
    pub const fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// [`InvalidCredentialId`].
    pub fn parse(text: &str) -> Result<Self, InvalidCredentialId> {
        let mut bits = [0; 16];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bits) {
            Ok(16) => Ok(Self(bits)),
            _ => Err(InvalidCredentialId("token id")),
        }
    }
}

impl TryFrom<String> for TokenId {
    type Error = InvalidCredentialId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 22];
        let _ = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// A signing key's id: the RFC 7638 thumbprint for ours, opaque text for others'.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// Parses a key id: 1 to [`limits::KEY_ID`] bytes without control characters.
    ///
    /// # Errors
    /// [`InvalidCredentialId`].
    pub fn parse(text: &str) -> Result<Self, InvalidCredentialId> {
        if text.is_empty() || text.len() > limits::KEY_ID || text.chars().any(char::is_control) {
            return Err(InvalidCredentialId("key id"));
        }
        Ok(Self(text.into()))
    }
}

text_newtype!(KeyId, InvalidCredentialId);

/// Which credential a token descends from; in records, in markers, in a token's `cmb.c`.
///
/// Text form: `key:<public id>` or `x509:<base64url SHA-256 of the certificate>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CredentialId {
    /// An API key, by its public id.
    ApiKey(KeyPublicId),
    /// A workload certificate, by the SHA-256 of its DER form.
    Certificate([u8; 32]),
}

impl CredentialId {
    /// Parses the text form.
    ///
    /// # Errors
    /// [`InvalidCredentialId`].
    pub fn parse(text: &str) -> Result<Self, InvalidCredentialId> {
        let error = InvalidCredentialId("credential id");
        match text.split_once(':') {
            Some(("key", id)) => KeyPublicId::parse(id).map(Self::ApiKey),
            Some(("x509", digest)) => {
                let mut bytes = [0; 32];
                match URL_SAFE_NO_PAD.decode_slice(digest, &mut bytes) {
                    Ok(32) => Ok(Self::Certificate(bytes)),
                    _ => Err(error),
                }
            }
            _ => Err(error),
        }
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiKey(id) => write!(f, "key:{id}"),
            Self::Certificate(digest) => {
                let mut text = [0; 43];
                let _ = URL_SAFE_NO_PAD.encode_slice(digest, &mut text);
                write!(f, "x509:{}", std::str::from_utf8(&text).unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CredentialId {
    type Err = InvalidCredentialId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for CredentialId {
    type Error = InvalidCredentialId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<CredentialId> for String {
    fn from(id: CredentialId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn malformed_ids_are_refused() {
        for text in [
            "",
            "key:",
            "key:short",
            "x509:AAAA",
            "key:aaaaaaaaaaaaaaa_",
            "other:aaaaaaaaaaaaaaaa",
        ] {
            assert!(CredentialId::parse(text).is_err(), "{text}");
        }
        // Non-zero spare bits: two texts must not name one token.
        assert!(TokenId::parse("AAAAAAAAAAAAAAAAAAAAAA").is_ok());
        assert!(TokenId::parse("AAAAAAAAAAAAAAAAAAAAAB").is_err());
        assert!(KeyId::parse(&"k".repeat(limits::KEY_ID)).is_ok());
        assert!(KeyId::parse(&"k".repeat(limits::KEY_ID + 1)).is_err());
    }

    proptest! {
        #[test]
        fn ids_print_and_parse_back(bits: [u8; 16], digest: [u8; 32], key in "[0-9A-Za-z]{16}") {
            let token = TokenId::new(bits);
            prop_assert_eq!(TokenId::parse(&token.to_string()), Ok(token));
            for id in [CredentialId::Certificate(digest), CredentialId::ApiKey(KeyPublicId::parse(&key).unwrap())] {
                prop_assert_eq!(CredentialId::parse(&id.to_string()), Ok(id));
            }
        }
    }
}
