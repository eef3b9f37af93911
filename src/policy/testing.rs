//! What the unit tests of this module share: an ordinary input, and arbitrary ones over few names, so that
//! names meet often.

use super::ceiling::Settings;
use super::document::{Document, Origin};
use super::engine::Snapshot;
use super::grant::Binding;
use super::input::{AudienceFacts, Ceilings, Context, Input, Principal, Wanted};
use super::policies::Policies;
use crate::authn::{CredentialKind, Reach};
use crate::id::{Audience, CredentialId, KeyPublicId, Label, Owner, ScopeSet, Tenant};
use jiff::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) const KEY: &str = "aaaaaaaaaaaaaaaa";
pub(super) const WORKLOAD: &str = "spiffe://d1.example.org/ns/shop/sa/web";

pub(super) fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

pub(super) fn audiences(text: &str) -> Arc<[Audience]> {
    let names = text.split_whitespace();
    names.map(|name| Audience::parse(name).unwrap()).collect()
}

pub(super) fn document(name: &str, text: &str) -> Document {
    Document {
        name: name.to_owned(),
        text: text.to_owned(),
        origin: Origin::Store,
    }
}

pub(super) fn snapshot(text: &str) -> Arc<Snapshot> {
    let policies = Policies::new().unwrap();
    policies.load(vec![document("test", text)]).unwrap();
    policies.snapshot()
}

/// A key of team `o1` that asks for audience `a`, without naming scopes.
pub(super) fn key_input() -> Input {
    let settings = Settings::default();
    Input {
        principal: Principal {
            sub: "https://cambist.example.org/key/aaaaaaaaaaaaaaaa".into(),
            credential: CredentialId::ApiKey(KeyPublicId::parse(KEY).unwrap()),
            kind: CredentialKind::ApiKey,
            owner: Some(Owner::parse("o1").unwrap()),
            tenant: None,
            labels: Arc::default(),
        },
        audience: AudienceFacts {
            name: Audience::parse("a").unwrap(),
            owner: Owner::parse("o2").unwrap(),
            tenant: None,
            scopes: scopes("r w x"),
            bound: false,
            max_lifetime: None,
        },
        ask: Wanted {
            scopes: None,
            lifetime: None,
            binding: Binding::WherePossible,
        },
        ceilings: Ceilings {
            audiences: Reach::Listed(audiences("a b")),
            scopes: Reach::Listed(scopes("r w")),
            exchange: Reach::Listed(audiences("a b")),
            not_after: Timestamp::from_second(2_000_000_000).unwrap(),
            must_bind: false,
            default_lifetime: settings.default_lifetime.as_secs(),
            max_lifetime: settings.max_lifetime.as_secs(),
        },
        context: Context {
            source: Some(IpAddr::from([192, 0, 2, 7])),
            proves_key: false,
            actors: Vec::new(),
        },
    }
}

/// A workload that asks for audience `a`.
pub(super) fn workload_input() -> Input {
    let mut input = key_input();
    input.principal.sub = WORKLOAD.into();
    input.principal.credential = CredentialId::Certificate([1; 32]);
    input.principal.kind = CredentialKind::Certificate;
    input.principal.owner = None;
    input.ceilings.audiences = Reach::Policy;
    input.ceilings.scopes = Reach::Policy;
    input.ceilings.exchange = Reach::Policy;
    input.context.proves_key = true;
    input
}

fn some_scopes() -> impl Strategy<Value = ScopeSet> {
    proptest::sample::subsequence(vec!["r", "w", "x", "y"], 0..=4)
        .prop_map(|names| scopes(&names.join(" ")))
}

fn some_audiences() -> impl Strategy<Value = Reach<Arc<[Audience]>>> {
    let listed = proptest::sample::subsequence(vec!["a", "b", "c"], 0..=3)
        .prop_map(|names| Reach::Listed(audiences(&names.join(" "))));
    prop_oneof![3 => listed, 1 => Just(Reach::Policy)]
}

fn tenant() -> impl Strategy<Value = Option<Tenant>> {
    prop_oneof![2 => Just(None), 1 => Just(Some("t1")), 1 => Just(Some("t2"))]
        .prop_map(|name| name.map(|name| Tenant::parse(name).unwrap()))
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![Just("o1"), Just("o2")].prop_map(|name| Owner::parse(name).unwrap())
}

fn seconds() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_u64, 800..1000_u64, 3000..4000_u64, Just(u64::MAX)]
}

fn principal() -> impl Strategy<Value = Principal> {
    let who = prop_oneof![
        Just((WORKLOAD, None)),
        Just(("spiffe://d2.example.org/web", None)),
        Just(("https://cambist.example.org/key/a", Some(KEY))),
        Just((
            "https://cambist.example.org/key/b",
            Some("bbbbbbbbbbbbbbbb")
        )),
    ];
    let labels = prop_oneof![Just(None), Just(Some(("env", "prod")))];
    let own = proptest::bool::weighted(0.2);
    (who, proptest::option::of(owner()), tenant(), labels, own).prop_map(
        |((sub, key), owner, tenant, label, own)| {
            let direct = if key.is_some() {
                CredentialKind::ApiKey
            } else {
                CredentialKind::Certificate
            };
            let label = label
                .map(|(name, value)| (Label::parse(name).unwrap(), Label::parse(value).unwrap()));
            Principal {
                sub: sub.into(),
                credential: key.map_or(CredentialId::Certificate([1; 32]), |key| {
                    CredentialId::ApiKey(KeyPublicId::parse(key).unwrap())
                }),
                kind: if own {
                    CredentialKind::OwnToken
                } else {
                    direct
                },
                owner,
                tenant,
                labels: Arc::new(BTreeMap::from_iter(label)),
            }
        },
    )
}

fn audience() -> impl Strategy<Value = AudienceFacts> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    let max = proptest::option::of(seconds());
    (name, owner(), tenant(), some_scopes(), any::<bool>(), max).prop_map(
        |(name, owner, tenant, scopes, bound, max_lifetime)| AudienceFacts {
            name: Audience::parse(name).unwrap(),
            owner,
            tenant,
            scopes,
            bound,
            max_lifetime,
        },
    )
}

prop_compose! {
    fn ask()(
        scopes in proptest::option::of(some_scopes()),
        lifetime in proptest::option::of(seconds()),
        required in any::<bool>(),
    ) -> Wanted {
        let binding = if required { Binding::Required } else { Binding::WherePossible };
        Wanted { scopes, lifetime, binding }
    }
}

prop_compose! {
    fn ceilings()(
        audiences in some_audiences(),
        scopes in prop_oneof![
            3 => some_scopes().prop_map(Reach::Listed),
            1 => Just(Reach::Policy)
        ],
        exchange in some_audiences(),
        not_after in 0..4_000_000_000_i64,
        must_bind in proptest::bool::weighted(0.2),
        default_lifetime in seconds(),
        max_lifetime in seconds(),
    ) -> Ceilings {
        Ceilings {
            audiences, scopes, exchange, must_bind, default_lifetime, max_lifetime,
            not_after: Timestamp::from_second(not_after).unwrap(),
        }
    }
}

prop_compose! {
    fn context()(
        source in proptest::option::of(any::<IpAddr>()),
        proves_key in any::<bool>(),
        actors in proptest::collection::vec(Just("spiffe://d1.example.org/actor".into()), 0..3),
    ) -> Context {
        Context { source, proves_key, actors }
    }
}

prop_compose! {
    /// Any input at all.
    pub(super) fn inputs()(
        principal in principal(),
        audience in audience(),
        ask in ask(),
        ceilings in ceilings(),
        context in context(),
    ) -> Input {
        Input { principal, audience, ask, ceilings, context }
    }
}

prop_compose! {
    /// An input that every ceiling lets through, so that policies decide.
    pub(super) fn open_inputs()(mut input in inputs()) -> Input {
        input.principal.tenant = input.audience.tenant.clone().or(input.principal.tenant);
        input.ceilings.audiences = Reach::Policy;
        input.ceilings.exchange = Reach::Policy;
        input.ceilings.scopes = Reach::Policy;
        input.ceilings.default_lifetime = 900;
        input.ceilings.max_lifetime = 3600;
        input.audience.max_lifetime = None;
        input.ask.lifetime = Some(60);
        input.ask.scopes = Some(input.audience.scopes.clone());
        input.context.proves_key = true;
        input
    }
}
