//! Who this broker is: its issuer URL and its node's name.

use crate::limits;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// Why a text is not an issuer or a node id.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidIdentity {
    /// Not a URL, or not in its normal form, so that two spellings would name one issuer.
    #[error("not a URL in its normal form")]
    Url,
    /// The scheme is not https.
    #[error("an issuer is an https URL")]
    Scheme,
    /// RFC 8414 section 2 allows neither query nor fragment; nobody wants credentials in a URL.
    #[error("an issuer has no query, fragment, user name or password")]
    Parts,
    /// Metadata URLs are made from it by putting a path in.
    #[error("an issuer does not end with a slash")]
    Slash,
    /// Over its bound.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// Not a node id.
    #[error(
        "a node id is small letters, digits, `-` and `.`, beginning and ending with a letter or digit"
    )]
    Node,
}

/// The issuer: an https URL without query or fragment (RFC 8414 section 2), compared byte by byte.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(try_from = "String")]
pub struct Issuer(Arc<str>);

impl Issuer {
    /// Parses an issuer.
    ///
    /// # Errors
    /// [`InvalidIdentity`].
    pub fn parse(text: &str) -> Result<Self, InvalidIdentity> {
        if text.len() > limits::ISSUER {
            return Err(InvalidIdentity::TooLong(limits::ISSUER));
        }
        let url = url::Url::parse(text).map_err(|_| InvalidIdentity::Url)?;
        if url.scheme() != "https" {
            return Err(InvalidIdentity::Scheme);
        }
        let plain = url.query().is_none() && url.fragment().is_none();
        if !plain || !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidIdentity::Parts);
        }
        if text.ends_with('/') {
            return Err(InvalidIdentity::Slash);
        }
        // A bare authority is normalised to the path "/", which we do not write.
        if url.as_str() != text && url.as_str().strip_suffix('/') != Some(text) {
            return Err(InvalidIdentity::Url);
        }
        Ok(Self(text.into()))
    }

    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Issuer {
    type Error = InvalidIdentity;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node's name within its issuer: a label of the log's origin, so only `[a-z0-9.-]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(try_from = "String")]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Parses a node id: 1 to [`limits::NODE`] bytes.
    ///
    /// # Errors
    /// [`InvalidIdentity`].
    pub fn parse(text: &str) -> Result<Self, InvalidIdentity> {
        if text.len() > limits::NODE {
            return Err(InvalidIdentity::TooLong(limits::NODE));
        }
        let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends_well =
            text.bytes().next().is_some_and(label) && text.bytes().last().is_some_and(label);
        if ends_well && text.bytes().all(|b| label(b) || b == b'-' || b == b'.') {
            Ok(Self(text.into()))
        } else {
            Err(InvalidIdentity::Node)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidIdentity;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use InvalidIdentity as E;
    use proptest::prelude::*;

    #[test]
    fn each_rule_for_issuers_has_its_error() {
        for (text, error) in [
            ("", E::Url),
            ("cambist.example.org", E::Url),
            ("http://cambist.example.org", E::Scheme),
            ("https://cambist.example.org?a=b", E::Parts),
            ("https://cambist.example.org#a", E::Parts),
            ("https://user@cambist.example.org", E::Parts),
            ("https://cambist.example.org/", E::Slash),
            ("https://CAMBIST.example.org", E::Url),
            ("https://cambist.example.org:443", E::Url),
            ("https://cambist.example.org/a/../b", E::Url),
        ] {
            assert_eq!(Issuer::parse(text), Err(error), "{text}");
        }
        for text in [
            "https://cambist.example.org",
            "https://cambist.example.org:8443/a/b",
        ] {
            assert_eq!(Issuer::parse(text).unwrap().as_str(), text);
        }
        let longest = format!("https://example.org/{}", "a".repeat(limits::ISSUER - 20));
        assert!(Issuer::parse(&longest).is_ok());
        assert!(Issuer::parse(&format!("{longest}a")).is_err());
    }

    #[test]
    fn node_ids_are_labels() {
        for text in ["", "-a", "a-", "A", "a b", "a/b", "é"] {
            assert_eq!(NodeId::parse(text), Err(E::Node), "{text}");
        }
        assert!(NodeId::parse("node-1.eu").is_ok());
        assert!(NodeId::parse(&"n".repeat(limits::NODE)).is_ok());
        assert!(NodeId::parse(&"n".repeat(limits::NODE + 1)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_kept_as_written(text in "https://[a-z]{1,8}(:[0-9]{1,4})?(/[a-z./%]{0,6})?") {
            if let Ok(issuer) = Issuer::parse(&text) {
                prop_assert_eq!(issuer.as_str(), text);
            }
        }
    }
}
