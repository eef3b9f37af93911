//! Names that people give to governed things.

use super::text_newtype;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Why a name is not accepted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidName {
    /// Nothing there.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Over its bound.
    #[error("{0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// A character that it may not hold.
    #[error("{0} holds {1:?}, which is not allowed")]
    Character(&'static str, char),
}

fn checked(
    kind: &'static str,
    text: &str,
    limit: usize,
    allowed: fn(char) -> bool,
) -> Result<Arc<str>, InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty(kind));
    }
    if text.len() > limit {
        return Err(InvalidName::TooLong(kind, limit));
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(InvalidName::Character(kind, c)),
        None => Ok(text.into()),
    }
}

/// Visible ASCII but the quote and backslash: safe in JSON, JWT, logs and shells' quotes.
fn printable(c: char) -> bool {
    c.is_ascii_graphic() && c != '"' && c != '\\'
}

fn prose(c: char) -> bool {
    !c.is_control()
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $kind:literal, $limit:expr, $allowed:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// [`InvalidName`] says what is wrong.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                checked($kind, text, $limit, $allowed).map(Self)
            }
        }

        text_newtype!($name, InvalidName);
    };
}

name! {
    /// The name (or an alias) of an audience: compared byte by byte, never case-folded.
    Audience, "audience", limits::AUDIENCE, printable
}
name! {
    /// The team that answers for a credential.
    Owner, "owner", limits::NAME, printable
}
name! {
    /// A partition of the estate that no lineage crosses.
    Tenant, "tenant", limits::NAME, printable
}
name! {
    /// A label's name or value.
    Label, "label", limits::NAME, printable
}
name! {
    /// What a credential is for, in a sentence.
    Purpose, "purpose", limits::PURPOSE, prose
}
name! {
    /// A caller's name for one write, so that a repeat is recognised.
    IdempotencyKey, "idempotency key", limits::IDEMPOTENCY_KEY, printable
}

name! {
    /// Somebody who reports leaked keys, as the configuration calls them.
    Reporter, "reporter", limits::NAME, printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_n_and_n_plus_one() {
        assert!(Audience::parse(&"a".repeat(limits::AUDIENCE)).is_ok());
        assert!(Audience::parse(&"a".repeat(limits::AUDIENCE + 1)).is_err());
        assert!(Owner::parse(&"a".repeat(limits::NAME)).is_ok());
        assert!(Owner::parse(&"a".repeat(limits::NAME + 1)).is_err());
        assert!(Purpose::parse(&"a".repeat(limits::PURPOSE)).is_ok());
        assert!(Purpose::parse(&"a".repeat(limits::PURPOSE + 1)).is_err());
        assert!(IdempotencyKey::parse(&"a".repeat(limits::IDEMPOTENCY_KEY)).is_ok());
        assert!(IdempotencyKey::parse(&"a".repeat(limits::IDEMPOTENCY_KEY + 1)).is_err());
    }

    #[test]
    fn control_characters_spaces_and_quotes_are_refused() {
        for text in ["", "a b", "a\n", "a\"b", "a\\b", "a\u{0}", "é"] {
            assert!(Audience::parse(text).is_err(), "{text:?}");
        }
        assert!(Purpose::parse("Deploy the shop, nightly").is_ok());
        assert!(Purpose::parse("a\nb").is_err());
    }
}
