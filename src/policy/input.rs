//! Everything that a decision depends on, as one plain value.

use super::ceiling::Settings;
use super::grant::{Ask, Binding};
use crate::authn::{Actor, CredentialKind, Reach, Verified};
use crate::id::{Audience, CredentialId, Label, Owner, ScopeSet, Tenant};
use crate::inventory::AudienceSpec;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The input of one decision. Equal inputs under one policy revision have equal outcomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Who asks.
    pub principal: Principal,
    /// For which audience.
    pub audience: AudienceFacts,
    /// What is asked.
    pub ask: Wanted,
    /// What bounds it before policy.
    pub ceilings: Ceilings,
    /// Under which circumstances.
    pub context: Context,
}

/// The principal: who the subject's credential stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Its `sub`.
    pub sub: Arc<str>,
    /// The credential at the root of its ancestry: tells keys from workloads.
    pub credential: CredentialId,
    /// What was presented.
    #[serde(with = "KindName")]
    pub kind: CredentialKind,
    /// The team that answers for it.
    pub owner: Option<Owner>,
    /// Its tenant.
    pub tenant: Option<Tenant>,
    /// Its labels.
    pub labels: Arc<BTreeMap<Label, Label>>,
}

/// What an audience's registration says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudienceFacts {
    /// Its name.
    pub name: Audience,
    /// Its owner.
    pub owner: Owner,
    /// Its tenant; none means shared.
    pub tenant: Option<Tenant>,
    /// Its scope vocabulary.
    pub scopes: ScopeSet,
    /// Whether its tokens must be bound.
    pub bound: bool,
    /// Its lifetime ceiling in seconds.
    pub max_lifetime: Option<u64>,
}

/// What is asked, apart from the audience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Scopes, where any are named.
    pub scopes: Option<ScopeSet>,
    /// Lifetime in whole seconds, rounded down, where one is named.
    pub lifetime: Option<u64>,
    /// Whether the token must be bound.
    pub binding: Binding,
}

/// What bounds a grant before policy is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceilings {
    /// The credential's audiences.
    #[serde(with = "reach")]
    pub audiences: Reach<Arc<[Audience]>>,
    /// The credential's scopes.
    #[serde(with = "reach")]
    pub scopes: Reach<ScopeSet>,
    /// The ancestry's exchange ceiling.
    #[serde(with = "reach")]
    pub exchange: Reach<Arc<[Audience]>>,
    /// When the credential ends.
    pub not_after: Timestamp,
    /// Whether the token must be bound because what it is made from is.
    pub must_bind: bool,
    /// Lifetime where none is asked, in seconds.
    pub default_lifetime: u64,
    /// Lifetime that nothing exceeds, in seconds.
    pub max_lifetime: u64,
}

/// The circumstances of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The caller's address.
    pub source: Option<IpAddr>,
    /// Whether the caller proved a key that a token can be bound to.
    pub proves_key: bool,
    /// The actors' `sub`, the present one first.
    pub actors: Vec<Arc<str>>,
}

/// A policy input as records hold it: [`super::Grant::input`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedInput {
    /// Format version; 1.
    pub version: u8,
    /// Revision of the policies that decided.
    pub policies: String,
    /// Revision of the schema that they were written against.
    pub schema: String,
    /// The input itself.
    pub input: Input,
}

/// A policy input as it was encoded: a [`RecordedInput`] as JSON, on one line. Made by the engine alone, so that it
/// goes into a record without being parsed again. Cheap to clone.
#[derive(Clone, Debug)]
pub struct InputText(Arc<RawValue>);

impl InputText {
    /// Encodes; the encoder writes no line breaks.
    pub(super) fn encode(recorded: &RecordedInputRef<'_>) -> serde_json::Result<Self> {
        Ok(Self(to_raw_value(recorded)?.into()))
    }

    /// `null`: what could not be encoded.
    pub(super) fn null() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }

    /// The JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The JSON, for embedding.
    pub(crate) fn raw(&self) -> &RawValue {
        &self.0
    }
}

impl PartialEq for InputText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for InputText {}

#[cfg(test)]
impl From<&str> for InputText {
    fn from(json: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        Self(to_raw_value(&value).unwrap().into())
    }
}

/// The borrowed form of [`RecordedInput`].
#[derive(Serialize)]
pub(super) struct RecordedInputRef<'a> {
    pub(super) version: u8,
    pub(super) policies: &'a str,
    pub(super) schema: &'a str,
    pub(super) input: &'a Input,
}

impl Input {
    /// Collects what a decision about this request depends on.
    #[must_use]
    pub fn new(
        verified: &Verified,
        ask: &Ask,
        audience: &AudienceSpec,
        source: Option<IpAddr>,
        settings: &Settings,
    ) -> Self {
        let ceiling = verified.ceiling();
        Self {
            principal: Principal {
                sub: Arc::clone(verified.sub()),
                credential: verified.credential(),
                kind: verified.kind(),
                owner: verified.owner().cloned(),
                tenant: verified.tenant().cloned(),
                labels: Arc::clone(verified.labels()),
            },
            audience: AudienceFacts::of(audience),
            ask: Wanted::of(ask),
            ceilings: Ceilings {
                audiences: ceiling.audiences.clone(),
                scopes: ceiling.scopes.clone(),
                exchange: verified.lineage().exchange.clone(),
                not_after: ceiling.not_after,
                must_bind: verified.must_bind(),
                default_lifetime: settings.default_lifetime.as_secs(),
                max_lifetime: settings.max_lifetime.as_secs(),
            },
            context: Context {
                source,
                proves_key: verified.confirmation().is_some(),
                actors: chain(verified.actor()),
            },
        }
    }
}

impl AudienceFacts {
    pub(super) fn of(audience: &AudienceSpec) -> Self {
        Self {
            name: audience.name.clone(),
            owner: audience.owner.clone(),
            tenant: audience.tenant.clone(),
            scopes: audience.scopes.clone(),
            bound: audience.bound,
            max_lifetime: audience.max_lifetime().map(|lifetime| lifetime.as_secs()),
        }
    }
}

impl Wanted {
    pub(super) fn of(ask: &Ask) -> Self {
        Self {
            scopes: ask.scopes.clone(),
            lifetime: ask.lifetime.as_ref().map(Duration::as_secs),
            binding: ask.binding,
        }
    }
}

fn chain(actor: Option<&Arc<Actor>>) -> Vec<Arc<str>> {
    std::iter::successors(actor, |actor| actor.previous.as_ref())
        .map(|actor| Arc::clone(&actor.sub))
        .collect()
}

impl Hash for Input {
    /// What tells the inputs of a busy broker apart; equality looks at the rest.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.principal.credential.hash(state);
        self.principal.sub.hash(state);
        self.audience.name.hash(state);
        self.ask.scopes.hash(state);
        self.ask.lifetime.hash(state);
        self.context.source.hash(state);
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CredentialKind", rename_all = "snake_case")]
enum KindName {
    ApiKey,
    Certificate,
    OwnToken,
}

/// A list, or the word `policy` where only policy bounds it.
mod reach {
    use crate::authn::Reach;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        Policy,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wire<T> {
        Word(Word),
        Listed(T),
    }

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        reach: &Reach<T>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match reach {
            Reach::Listed(list) => list.serialize(out),
            Reach::Policy => Word::Policy.serialize(out),
        }
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Reach<T>, D::Error> {
        Ok(match Wire::deserialize(input)? {
            Wire::Word(Word::Policy) => Reach::Policy,
            Wire::Listed(list) => Reach::Listed(list),
        })
    }
}
