//! Audiences: what tokens are for, and who answers for it.

use crate::id::{Audience, Owner, ScopeSet, Tenant};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A registered audience. An unregistered one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudienceSpec {
    /// The name: what `aud` says.
    pub name: Audience,
    /// Other names that callers may use for it, `resource` URIs and the like.
    #[serde(default)]
    pub aliases: Vec<Audience>,
    /// The team that answers for it.
    pub owner: Owner,
    /// Principals (`sub` values) that serve it: they may introspect, watch and re-exchange its tokens.
    #[serde(default)]
    pub servers: Vec<String>,
    /// The scopes that exist for it. Anything else is refused.
    #[serde(default)]
    pub scopes: ScopeSet,
    /// Whether its tokens must be bound to a key that the caller proves.
    #[serde(default)]
    pub bound: bool,
    /// Lifetime that its tokens never exceed, in seconds; the global ceiling where absent.
    #[serde(default)]
    pub max_lifetime_seconds: Option<u32>,
    /// The tenant it belongs to; none means shared by all.
    #[serde(default)]
    pub tenant: Option<Tenant>,
}

impl AudienceSpec {
    /// The audience's own lifetime ceiling, if it has one.
    #[must_use]
    pub fn max_lifetime(&self) -> Option<Duration> {
        self.max_lifetime_seconds
            .map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Whether `sub` names one of the principals that serve it.
    #[must_use]
    pub fn is_served_by(&self, sub: &str) -> bool {
        self.servers.iter().any(|server| server == sub)
    }
}
