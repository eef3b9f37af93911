//! Scopes (RFC 6749 section 3.3) and sets of them.

use super::text_newtype;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Why a scope, or a list of scopes, is not accepted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidScope {
    /// Not a `scope-token` of RFC 6749 section 3.3.
    #[error(
        "a scope is 1 to {} characters of visible ASCII without quote and backslash",
        limits::SCOPE
    )]
    Token,
    /// More scopes than [`limits::SCOPES`].
    #[error("more than {} scopes", limits::SCOPES)]
    TooMany,
}

/// One scope token: `1*( %x21 / %x23-5B / %x5D-7E )`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Arc<str>);

impl Scope {
    /// Parses a scope token.
    ///
    /// # Errors
    /// [`InvalidScope::Token`].
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        if text.is_empty() || text.len() > limits::SCOPE || !text.bytes().all(allowed) {
            return Err(InvalidScope::Token);
        }
        Ok(Self(text.into()))
    }
}

text_newtype!(Scope, InvalidScope);

/// A set of scopes: sorted, without repeats, at most [`limits::SCOPES`]. Empty means *none*, never all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct ScopeSet(Arc<[Scope]>);

impl ScopeSet {
    /// Collects scopes.
    ///
    /// # Errors
    /// [`InvalidScope::TooMany`].
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, InvalidScope> {
        let mut all: Vec<Scope> = Vec::new();
        for scope in scopes {
            if let Err(at) = all.binary_search(&scope) {
                if all.len() == limits::SCOPES {
                    return Err(InvalidScope::TooMany);
                }
                all.insert(at, scope);
            }
        }
        Ok(Self(all.into()))
    }

    /// Parses the space-separated form of RFC 6749.
    ///
    /// # Errors
    /// [`InvalidScope`].
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let mut scopes = Vec::new();
        for token in text.split(' ').filter(|token| !token.is_empty()) {
            if scopes.len() > limits::SCOPES {
                return Err(InvalidScope::TooMany);
            }
            scopes.push(Scope::parse(token)?);
        }
        Self::new(scopes)
    }

    /// The scopes, sorted.
    pub fn iter(&self) -> std::slice::Iter<'_, Scope> {
        self.0.iter()
    }

    /// Whether `scope` is in the set.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.binary_search(scope).is_ok()
    }

    /// Whether every scope of this set is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|scope| other.contains(scope))
    }

    /// The scopes in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(
            self.iter()
                .filter(|scope| other.contains(scope))
                .cloned()
                .collect(),
        )
    }

    /// How many scopes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a ScopeSet {
    type Item = &'a Scope;
    type IntoIter = std::slice::Iter<'a, Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl TryFrom<Vec<Scope>> for ScopeSet {
    type Error = InvalidScope;

    fn try_from(scopes: Vec<Scope>) -> Result<Self, Self::Error> {
        Self::new(scopes)
    }
}

impl From<ScopeSet> for Vec<Scope> {
    fn from(set: ScopeSet) -> Self {
        set.0.to_vec()
    }
}

impl fmt::Display for ScopeSet {
    /// The space-separated form of RFC 6749.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap()
    }

    #[test]
    fn bounds_hold_at_n_and_n_plus_one() {
        let many = |n| (0..n).map(|i| Scope::parse(&format!("s{i}")).unwrap());
        assert!(ScopeSet::new(many(limits::SCOPES)).is_ok());
        assert_eq!(
            ScopeSet::new(many(limits::SCOPES + 1)),
            Err(InvalidScope::TooMany)
        );
        assert!(Scope::parse(&"s".repeat(limits::SCOPE)).is_ok());
        assert!(Scope::parse(&"s".repeat(limits::SCOPE + 1)).is_err());
    }

    #[test]
    fn an_empty_set_is_none_and_never_all() {
        assert!(!ScopeSet::default().contains(&Scope::parse("a").unwrap()));
        assert!(!set("a").is_subset(&ScopeSet::default()));
    }

    proptest! {
        #[test]
        fn intersection_is_within_both(a in "[a-e ]{0,12}", b in "[a-e ]{0,12}") {
            let (a, b) = (set(&a), set(&b));
            let both = a.intersection(&b);
            prop_assert!(both.is_subset(&a) && both.is_subset(&b));
            prop_assert_eq!(a.is_subset(&b), both == a);
        }

        #[test]
        fn printing_and_parsing_round_trips(text in "[a-z]{1,5}( [a-z]{1,5}){0,9}") {
            let parsed = set(&text);
            prop_assert_eq!(set(&parsed.to_string()), parsed);
        }
    }
}
