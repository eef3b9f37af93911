use super::super::testing::{KEY, WORKLOAD, audiences, document, scopes};
use super::super::{Binding, RecordedInput};
use super::*;
use crate::authn::{Ceiling, CredentialKind, Reach};
use crate::id::{Audience, CredentialId, KeyPublicId, Owner};
use jiff::Timestamp;
use proptest::prelude::*;
use std::time::Duration;

fn policy(text: &str) -> Policy {
    let policies = Policies::new().unwrap();
    policies.load(vec![document("test", text)]).unwrap();
    Policy::new(Arc::new(policies), Settings::default())
}

fn audience() -> AudienceSpec {
    AudienceSpec {
        name: Audience::parse("a").unwrap(),
        aliases: vec![Audience::parse("https://a.example.org/").unwrap()],
        owner: Owner::parse("o1").unwrap(),
        servers: Vec::new(),
        scopes: scopes("r w"),
        bound: false,
        max_lifetime_seconds: Some(1200),
        tenant: None,
    }
}

fn ask(lifetime: Option<Duration>) -> Ask {
    Ask {
        audience: Audience::parse("https://a.example.org/").unwrap(),
        scopes: None,
        lifetime,
        binding: Binding::WherePossible,
        may_act: None,
    }
}

fn key(not_after: i64, confirmation: Option<[u8; 32]>) -> Verified {
    Verified::for_test(
        CredentialKind::ApiKey,
        "https://cambist.example.org/key/a",
        CredentialId::ApiKey(KeyPublicId::parse(KEY).unwrap()),
        Ceiling {
            audiences: Reach::Listed(audiences("a b")),
            scopes: Reach::Listed(scopes("r")),
            not_after: Timestamp::from_second(not_after).unwrap(),
        },
        confirmation,
    )
}

#[test]
fn a_grant_carries_the_proof_and_what_the_record_needs() {
    let policy = policy(r#"@id("p") @exchange_to("b") permit(principal, action, resource);"#);
    let source = Some("192.0.2.7".parse().unwrap());
    let grant = policy
        .decide(
            key(2_000_000_000, Some([7; 32])),
            &ask(None),
            &audience(),
            source,
        )
        .unwrap();
    // The registered name, not the alias that was asked for.
    assert_eq!(grant.audience().as_str(), "a");
    assert_eq!(*grant.scopes(), scopes("r"));
    assert_eq!(grant.lifetime(), Duration::from_secs(900));
    assert_eq!(grant.not_after().as_second(), 2_000_000_000);
    assert_eq!(grant.bound_to(), Some(&[7; 32]));
    assert_eq!(*grant.exchange(), Reach::Listed(audiences("b")));
    assert_eq!(grant.rules(), [crate::policy::Rule("p".into())]);
    assert_eq!(
        grant.verified().credential().to_string(),
        format!("key:{KEY}")
    );
    let input: RecordedInput = serde_json::from_str(grant.input().as_str()).unwrap();
    assert_eq!(input.version, 1);
    assert_eq!(input.policies, policy.policies().revision().as_ref());
    assert_eq!(input.input.context.source, source);
}

#[test]
fn a_refusal_gives_the_proof_back() {
    let policy = policy(r#"@id("no") forbid(principal, action, resource);"#);
    let refused = policy
        .decide(key(2_000_000_000, None), &ask(None), &audience(), None)
        .unwrap_err();
    assert_eq!(refused.refusal.code(), Code::PolicyDenied);
    assert_eq!(refused.refusal.detail(), "forbidden by `no`");
    assert_eq!(refused.rules.len(), 1);
    assert_eq!(
        refused.verified.credential().to_string(),
        format!("key:{KEY}")
    );
    assert!(serde_json::from_str::<RecordedInput>(refused.input.as_str()).is_ok());
    // The caller is told less.
    assert_eq!(refused.refusal.code().text(), "policy does not permit this");
}

#[test]
fn an_explanation_says_what_the_decision_would() {
    let policy = policy("permit(principal, action, resource) when { context.bound };");
    for (confirmation, allowed) in [(None, false), (Some([7; 32]), true)] {
        let explanation = policy.explain(&key(9, confirmation), &ask(None), &audience(), None);
        assert_eq!(explanation.allowed, allowed);
        let decided = policy.decide(key(9, confirmation), &ask(None), &audience(), None);
        assert_eq!(decided.is_ok(), allowed);
        assert_eq!(explanation.revision, policy.policies().revision());
    }
}

#[test]
fn a_certificate_is_bound_and_bounded_by_policy_alone() {
    let policy = policy(&format!(
        r#"permit(principal == Workload::"{WORKLOAD}", action, resource == Audience::"a")
           when {{ ["r", "w"].containsAll(context.scopes) }};"#
    ));
    let ceiling = Ceiling {
        audiences: Reach::Policy,
        scopes: Reach::Policy,
        not_after: Timestamp::from_second(2_000_000_000).unwrap(),
    };
    let id = CredentialId::Certificate([1; 32]);
    let kind = CredentialKind::Certificate;
    let verified = Verified::for_test(kind, WORKLOAD, id, ceiling, Some([1; 32]));
    let ask = Ask {
        scopes: Some(scopes("w")),
        ..ask(None)
    };
    let grant = policy.decide(verified, &ask, &audience(), None).unwrap();
    assert_eq!(grant.bound_to(), Some(&[1; 32]));
    assert_eq!(*grant.scopes(), scopes("w"));
    assert_eq!(*grant.exchange(), Reach::Policy);
}

proptest! {
    /// Invariant 2, as far as this stage goes.
    #[test]
    fn a_grant_never_outlives_its_credential_or_any_ceiling(
        not_after in 0..4_000_000_000_i64,
        millis in proptest::option::of(0..10_000_000_u64),
        ours in proptest::option::of(0..4000_u32),
        confirmation in any::<Option<[u8; 32]>>(),
    ) {
        let policy = policy(r#"@max_lifetime("30m") permit(principal, action, resource);"#);
        let lifetime = millis.map(Duration::from_millis);
        let audience = AudienceSpec { max_lifetime_seconds: ours, ..audience() };
        let verified = key(not_after, confirmation);
        let Ok(grant) = policy.decide(verified, &ask(lifetime), &audience, None) else {
            let nothing = lifetime.is_some_and(|lifetime| lifetime.as_secs() == 0) || ours == Some(0);
            prop_assert!(nothing);
            return Ok(());
        };
        prop_assert_eq!(grant.not_after().as_second(), not_after);
        prop_assert!(!grant.lifetime().is_zero());
        prop_assert!(grant.lifetime() <= Duration::from_secs(30 * 60));
        prop_assert!(grant.lifetime() <= lifetime.unwrap_or(Duration::from_secs(900)));
        prop_assert!(audience.max_lifetime().is_none_or(|ours| grant.lifetime() <= ours));
        prop_assert_eq!(grant.bound_to(), confirmation.as_ref());
    }
}
