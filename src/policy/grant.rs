//! What is asked for, and what is granted.

use super::input::InputText;
use crate::authn::{Reach, Verified};
use crate::id::{Audience, KeyId, ScopeSet};
use crate::refusal::Refusal;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
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
    /// The only principal that may act for the subject with this token (RFC 8693 section 4.4).
    pub may_act: Option<Arc<str>>,
}

/// Whether a token is bound to the key that the caller proved (RFC 8705 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// Bound where the caller proved a key, unless policy demands more.
    #[default]
    WherePossible,
    /// Bound, or refused.
    Required,
}

/// The name of a rule that took part in a decision: a policy's id, or a built-in ceiling's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rule(pub Arc<str>);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
    pub(super) exchange: Reach<Arc<[Audience]>>,
    pub(super) may_act: Option<Arc<str>>,
    pub(super) rules: Arc<[Rule]>,
    pub(super) input: InputText,
}

/// A refusal, with what the record of it needs: whose credential it was, which rules decided, and on what.
#[derive(Debug)]
pub struct Refused {
    /// Who asked.
    pub verified: Verified,
    /// The answer.
    pub refusal: Refusal,
    /// The rules that decided; none where nothing permits it.
    pub rules: Arc<[Rule]>,
    /// As [`Grant::input`].
    pub input: InputText,
}

impl Grant {
    /// Who it is granted to.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Says which key will sign, as [`Verified::descend_from_keys_but`].
    pub(crate) fn descend_from_keys_but(&mut self, key: &KeyId) {
        self.verified.descend_from_keys_but(key);
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

    /// Audiences that tokens made from this one may be for (`cmb.x`): the ancestry's exchange ceiling, narrowed by
    /// the credential's audiences and by policy. Never more than [`crate::authn::Lineage::exchange`].
    #[must_use]
    pub fn exchange(&self) -> &Reach<Arc<[Audience]>> {
        &self.exchange
    }

    /// The only principal that may act for the subject with the token (RFC 8693 section 4.4).
    #[must_use]
    pub fn may_act(&self) -> Option<&str> {
        self.may_act.as_deref()
    }

    /// The rules that decided: the policies that permit it, by name.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The complete policy input as one JSON object, [`super::RecordedInput`]: enough to decide again without the
    /// store.
    #[must_use]
    pub fn input(&self) -> &InputText {
        &self.input
    }
}

#[cfg(test)]
impl Grant {
    /// A grant without a decision.
    pub(crate) fn for_test(verified: Verified, audience: &str, scopes: &str) -> Self {
        let not_after = verified.ceiling().not_after;
        Self {
            exchange: verified.lineage().exchange.clone(),
            may_act: None,
            verified,
            audience: Audience::parse(audience).unwrap(),
            scopes: ScopeSet::parse(scopes).unwrap(),
            lifetime: crate::limits::DEFAULT_LIFETIME,
            not_after,
            bound_to: None,
            rules: Arc::new([]),
            input: "{}".into(),
        }
    }

    /// The same grant with other bounds.
    pub(crate) fn within(
        mut self,
        lifetime: Duration,
        not_after: Timestamp,
        bound_to: Option<[u8; 32]>,
    ) -> Self {
        (self.lifetime, self.not_after, self.bound_to) = (lifetime, not_after, bound_to);
        self
    }

    /// A grant of one scope, for the tests of later stages.
    pub(crate) fn of_rules_for_test(verified: Verified, rules: Vec<Rule>, input: &str) -> Self {
        Self {
            exchange: verified.lineage().exchange.clone(),
            may_act: None,
            verified,
            audience: Audience::parse("https://api.example.org").unwrap(),
            scopes: ScopeSet::parse("read").unwrap(),
            lifetime: Duration::from_secs(900),
            not_after: Timestamp::MAX,
            bound_to: Some([9; 32]),
            rules: rules.into(),
            input: input.into(),
        }
    }
}
