//! SPIFFE IDs and trust domains, by the SPIFFE-ID standard, section 2.

use super::text_newtype;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Why a text is not a SPIFFE ID or trust-domain name.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSpiffeId {
    /// Over its bound.
    #[error("longer than the bound")]
    TooLong,
    /// The scheme is not exactly `spiffe`.
    #[error("does not start with `spiffe://`")]
    Scheme,
    /// No trust domain.
    #[error("the trust domain is empty")]
    EmptyTrustDomain,
    /// A character outside `[a-z0-9.-_]` in the trust domain.
    #[error("the trust domain holds a character outside `[a-z0-9.-_]`")]
    TrustDomainCharacter,
    /// An empty path segment, a trailing slash among them.
    #[error("a path segment is empty")]
    EmptySegment,
    /// `.` or `..`.
    #[error("a path segment is `.` or `..`")]
    DotSegment,
    /// A character outside `[a-zA-Z0-9.-_]` in the path.
    #[error("the path holds a character outside `[a-zA-Z0-9.-_]`")]
    PathCharacter,
}

/// A trust domain's name: lower case, no scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a bare trust-domain name.
    ///
    /// # Errors
    /// [`InvalidSpiffeId`].
    pub fn parse(name: &str) -> Result<Self, InvalidSpiffeId> {
        check_trust_domain(name)?;
        Ok(Self(name.into()))
    }
}

text_newtype!(TrustDomain, InvalidSpiffeId);

fn check_trust_domain(name: &str) -> Result<(), InvalidSpiffeId> {
    if name.is_empty() {
        return Err(InvalidSpiffeId::EmptyTrustDomain);
    }
    if name.len() > limits::TRUST_DOMAIN {
        return Err(InvalidSpiffeId::TooLong);
    }
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    if name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(InvalidSpiffeId::TrustDomainCharacter)
    }
}

/// A SPIFFE ID: `spiffe://<trust domain>[/<path>]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId(Arc<str>);

const SCHEME: &str = "spiffe://";

impl SpiffeId {
    /// Parses a SPIFFE ID strictly: nothing is normalised.
    ///
    /// # Errors
    /// [`InvalidSpiffeId`].
    pub fn parse(text: &str) -> Result<Self, InvalidSpiffeId> {
        if text.len() > limits::SPIFFE_ID {
            return Err(InvalidSpiffeId::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
        match rest.split_once('/') {
            None => check_trust_domain(rest)?,
            Some((domain, path)) => {
                check_trust_domain(domain)?;
                path.split('/').try_for_each(check_segment)?;
            }
        }
        Ok(Self(text.into()))
    }

    /// The trust domain that answers for this ID.
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.parts().0.into())
    }

    /// The path with its leading slash; empty for a trust domain's own ID.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        let rest = self.0.strip_prefix(SCHEME).unwrap_or_default();
        rest.find('/')
            .and_then(|at| rest.split_at_checked(at))
            .unwrap_or((rest, ""))
    }
}

fn check_segment(segment: &str) -> Result<(), InvalidSpiffeId> {
    match segment {
        "" => Err(InvalidSpiffeId::EmptySegment),
        "." | ".." => Err(InvalidSpiffeId::DotSegment),
        _ if segment
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)) =>
        {
            Ok(())
        }
        _ => Err(InvalidSpiffeId::PathCharacter),
    }
}

text_newtype!(SpiffeId, InvalidSpiffeId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_rule_of_the_standard_has_its_error() {
        use InvalidSpiffeId as E;
        for (text, error) in [
            ("", E::Scheme),
            ("http://a/b", E::Scheme),
            ("SPIFFE://a/b", E::Scheme),
            ("spiffe://", E::EmptyTrustDomain),
            ("spiffe:///b", E::EmptyTrustDomain),
            ("spiffe://A/b", E::TrustDomainCharacter),
            ("spiffe://user@a/b", E::TrustDomainCharacter),
            ("spiffe://a:80/b", E::TrustDomainCharacter),
            ("spiffe://a%41/b", E::TrustDomainCharacter),
            ("spiffe://a?x", E::TrustDomainCharacter),
            ("spiffe://a/", E::EmptySegment),
            ("spiffe://a//b", E::EmptySegment),
            ("spiffe://a/b/", E::EmptySegment),
            ("spiffe://a/./b", E::DotSegment),
            ("spiffe://a/..", E::DotSegment),
            ("spiffe://a/b?x", E::PathCharacter),
            ("spiffe://a/b#x", E::PathCharacter),
            ("spiffe://a/%62", E::PathCharacter),
        ] {
            assert_eq!(SpiffeId::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn bounds_hold_at_n_and_n_plus_one() {
        let of = |n: usize| format!("spiffe://a/{}", "b".repeat(n - "spiffe://a/".len()));
        assert!(SpiffeId::parse(&of(limits::SPIFFE_ID)).is_ok());
        assert_eq!(
            SpiffeId::parse(&of(limits::SPIFFE_ID + 1)),
            Err(InvalidSpiffeId::TooLong)
        );
        assert!(TrustDomain::parse(&"a".repeat(limits::TRUST_DOMAIN)).is_ok());
        assert!(TrustDomain::parse(&"a".repeat(limits::TRUST_DOMAIN + 1)).is_err());
    }

    #[test]
    fn parts_are_told_apart() {
        let id = SpiffeId::parse("spiffe://example.org/ns/shop/sa/web").unwrap();
        assert_eq!(id.trust_domain().as_str(), "example.org");
        assert_eq!(id.path(), "/ns/shop/sa/web");
        let root = SpiffeId::parse("spiffe://example.org").unwrap();
        assert_eq!(
            (root.trust_domain().as_str(), root.path()),
            ("example.org", "")
        );
    }

    proptest! {
        #[test]
        fn what_parses_prints_back(text in "spiffe://[a-z0-9._-]{1,20}(/[a-zA-Z0-9_-]{1,8}){0,4}") {
            prop_assert_eq!(SpiffeId::parse(&text).unwrap().to_string(), text);
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = SpiffeId::parse(&text);
        }
    }
}
