//! What is asked for, and what is granted.

use crate::authn::Verified;
use crate::id::{Audience, ScopeSet};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What the caller wants.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The audience, by name or alias.
    pub audience: Audience,
    /// The scopes; `None` means what the credential has for this audience, which may be none.
    pub scopes: Option<ScopeSet>,
    /// The lifetime; `None` means the default. More than the ceilings allow is shortened, not refused.
    pub lifetime: Option<Duration>,
    /// Whether the token is to be bound to the caller's key.
    pub binding: Binding,
}

/// Whether a token is bound to the key that the caller proved (RFC 8705 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// Bound where the caller proved a key, unless policy demands more.
    #[default]
    WherePossible,
    /// Bound, or refused.
    Required,
}

/// The name of a rule that took part in a decision: a policy's id, or a built-in ceiling's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule(pub Arc<str>);

/// Permission to mint one token. Consumed by [`crate::mint`].
///
/// Only this module's siblings can make one:
///
/// ```compile_fail,E0451
/// let forged = cambist::policy::Grant { scopes: Default::default(), ..todo!() };
/// ```
#[derive(Debug)]
pub struct Grant {
    pub(super) verified: Verified,
    pub(super) audience: Audience,
    pub(super) scopes: ScopeSet,
    pub(super) lifetime: Duration,
    pub(super) not_after: Timestamp,
    pub(super) bound_to: Option<[u8; 32]>,
    pub(super) rules: Vec<Rule>,
    pub(super) input: Arc<str>,
}

impl Grant {
    /// Who it is granted to.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The audience, by its registered name.
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The scopes.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// The longest lifetime.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The instant that the token must not outlive: the earliest end of anything it is made from.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// SHA-256 of the certificate that the token is bound to.
    #[must_use]
    pub fn bound_to(&self) -> Option<&[u8; 32]> {
        self.bound_to.as_ref()
    }

    /// The rules that decided.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The complete policy input as one JSON object: enough to decide again without the store.
    #[must_use]
    pub fn input(&self) -> &str {
        &self.input
    }
}

#[cfg(test)]
impl Grant {
    /// A grant of one scope, for the tests of later stages.
    pub(crate) fn for_test(verified: Verified, rules: Vec<Rule>, input: &str) -> Self {
        Self {
            verified,
            audience: Audience::parse("https://api.example.org").unwrap(),
            scopes: ScopeSet::parse("read").unwrap(),
            lifetime: Duration::from_secs(900),
            not_after: Timestamp::MAX,
            bound_to: Some([9; 32]),
            rules,
            input: input.into(),
        }
    }
}
