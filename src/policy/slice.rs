//! The slice: which policies a request is shown.
//!
//! Cedar evaluates every policy that it is given, at some 0.6 µs each. So policies lie in buckets, one for each
//! pair of names in their scope, and a request looks only into the buckets of its own names. A policy outside
//! them would be false in its scope, before its conditions: leaving it out changes neither the decision, nor
//! the deciding policies, nor the errors (invariant 14).

use super::document::CompiledPolicy;
use super::input::Input;
use super::model::Subject;
use cedar_policy::{EntityUid, PolicySet, PrincipalConstraint, ResourceConstraint};
use std::collections::HashMap;
use std::sync::Arc;

/// A name that a scope can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    ApiKey,
    Workload,
    TrustDomain,
    Owner,
    Tenant,
    Audience,
}

/// One side of a policy's scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Selector {
    /// No name: any principal or audience, perhaps of one type.
    Any,
    /// One name: the entity itself, or a group that it is in.
    Named(Kind, Box<str>),
}

/// What the index knows a policy by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScopeKey {
    pub(super) principal: Selector,
    pub(super) audience: Selector,
}

/// Number of a name, or [`ANY`].
type Number = u32;

const ANY: Number = 0;

/// Policies by the names in their scope.
#[derive(Debug, Default)]
pub(super) struct Slices {
    names: HashMap<Kind, HashMap<Box<str>, Number>>,
    buckets: HashMap<(Number, Number), Bucket>,
}

/// The policies of one pair of names, ready to be evaluated.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) set: PolicySet,
    pub(super) policies: Vec<Arc<CompiledPolicy>>,
}

impl ScopeKey {
    pub(super) fn of(policy: &cedar_policy::Policy) -> Self {
        Self {
            principal: match policy.principal_constraint() {
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Selector::Any,
                PrincipalConstraint::In(name)
                | PrincipalConstraint::Eq(name)
                | PrincipalConstraint::IsIn(_, name) => Selector::of(&name),
            },
            audience: match policy.resource_constraint() {
                ResourceConstraint::Any | ResourceConstraint::Is(_) => Selector::Any,
                ResourceConstraint::In(name)
                | ResourceConstraint::Eq(name)
                | ResourceConstraint::IsIn(_, name) => Selector::of(&name),
            },
        }
    }

    /// Whether the policy has to be shown to every request.
    pub(super) fn is_open(&self) -> bool {
        self.principal == Selector::Any && self.audience == Selector::Any
    }
}

impl Selector {
    fn of(name: &EntityUid) -> Self {
        let kind = match name.type_name().basename() {
            "ApiKey" => Kind::ApiKey,
            "Workload" => Kind::Workload,
            "TrustDomain" => Kind::TrustDomain,
            "Owner" => Kind::Owner,
            "Tenant" => Kind::Tenant,
            "Audience" => Kind::Audience,
            // The schema has no other; one that it learns is shown to all until it has a kind here.
            _ => return Self::Any,
        };
        Self::Named(kind, name.id().unescaped().into())
    }
}

impl Slices {
    /// Puts a policy into its bucket; says how many the bucket holds now.
    pub(super) fn add(&mut self, compiled: &Arc<CompiledPolicy>) -> Result<usize, String> {
        let principal = self.number(&compiled.scope.principal);
        let audience = self.number(&compiled.scope.audience);
        let bucket = self.buckets.entry((principal, audience)).or_default();
        let policy = compiled.policy.clone();
        bucket.set.add(policy).map_err(|e| e.to_string())?;
        bucket.policies.push(Arc::clone(compiled));
        Ok(bucket.policies.len())
    }

    fn number(&mut self, selector: &Selector) -> Number {
        let Selector::Named(kind, name) = selector else {
            return ANY;
        };
        let next = self.names.values().map(HashMap::len).sum::<usize>();
        let next = Number::try_from(next)
            .unwrap_or(Number::MAX)
            .saturating_add(1);
        let names = self.names.entry(*kind).or_default();
        *names.entry(name.clone()).or_insert(next)
    }

    fn find(&self, kind: Kind, name: &str) -> Option<Number> {
        self.names.get(&kind)?.get(name).copied()
    }

    /// The buckets that can hold a policy for this request.
    pub(super) fn shown<'a>(
        &'a self,
        input: &Input,
        subject: &Subject<'_>,
    ) -> impl Iterator<Item = &'a Bucket> {
        let owner = |owner| self.find(Kind::Owner, owner);
        let tenant = |tenant| self.find(Kind::Tenant, tenant);
        let (itself, domain) = match subject {
            Subject::ApiKey(id) => (self.find(Kind::ApiKey, id), None),
            Subject::Workload { id, domain } => (
                self.find(Kind::Workload, id.as_str()),
                self.find(Kind::TrustDomain, domain.as_str()),
            ),
        };
        let who = &input.principal;
        let principals = [
            Some(ANY),
            itself,
            domain,
            who.owner.as_ref().and_then(|name| owner(name.as_str())),
            who.tenant.as_ref().and_then(|name| tenant(name.as_str())),
        ];
        let facts = &input.audience;
        let audiences = [
            Some(ANY),
            self.find(Kind::Audience, facts.name.as_str()),
            owner(facts.owner.as_str()),
            facts.tenant.as_ref().and_then(|name| tenant(name.as_str())),
        ];
        let pairs = principals.into_iter().flatten().flat_map(move |principal| {
            let audiences = audiences.into_iter().flatten();
            audiences.map(move |audience| (principal, audience))
        });
        pairs.filter_map(|pair| self.buckets.get(&pair))
    }
}
