use super::super::model::{model, subject};
use super::super::testing::{
    KEY, WORKLOAD, audiences, document, inputs, key_input, open_inputs, scopes, snapshot,
    workload_input,
};
use super::super::{Policies, RecordedInput};
use super::*;
use crate::id::SpiffeId;
use crate::policy::ceiling::narrow;
use cedar_policy::{Entities, PolicySet, Request};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn code(decision: &Decision) -> Option<Code> {
    decision.outcome.as_ref().err().map(Refusal::code)
}

fn rules(decision: &Decision) -> Vec<&str> {
    decision.rules.iter().map(|rule| rule.0.as_ref()).collect()
}

#[test]
fn the_empty_set_denies() {
    let snapshot = Policies::new().unwrap().snapshot();
    let decision = snapshot.decide(key_input());
    assert_eq!(code(&decision), Some(Code::PolicyDenied));
    assert!(decision.rules.is_empty());
    assert!(snapshot.is_empty());
}

#[test]
fn a_permit_permits_and_is_named() {
    let text = format!(
        r#"@id("one") permit(principal == ApiKey::"{KEY}", action, resource == Audience::"a");
           permit(principal, action, resource == Audience::"b");
           @id("both") permit(principal in Owner::"o1", action, resource in Owner::"o2");"#
    );
    let decision = snapshot(&text).decide(key_input());
    assert_eq!(rules(&decision), ["both", "one"]);
    let allowed = decision.outcome.as_ref().unwrap();
    assert_eq!(allowed.scopes, scopes("r w"));
    assert_eq!(allowed.lifetime, limits::DEFAULT_LIFETIME);
}

#[test]
fn a_forbid_outweighs_permits_of_every_bucket() {
    let text = r#"permit(principal, action, resource);
        permit(principal in Owner::"o1", action, resource == Audience::"a");
        @id("no") forbid(principal, action, resource in Owner::"o2");"#;
    let decision = snapshot(text).decide(key_input());
    assert_eq!(code(&decision), Some(Code::PolicyDenied));
    assert_eq!(rules(&decision), ["no"]);
}

#[test]
fn an_error_in_any_policy_in_reach_denies() {
    for effect in ["permit", "forbid"] {
        let text = format!(
            r#"permit(principal, action, resource);
               @id("broken") {effect}(principal, action, resource == Audience::"a")
               when {{ context.lifetime * 9223372036854775807 > 0 }};"#
        );
        let decision = snapshot(&text).decide(key_input());
        assert_eq!(code(&decision), Some(Code::PolicyDenied), "{effect}");
        assert_eq!(rules(&decision), ["broken"]);
        // Out of reach it is never looked at.
        let mut other = key_input();
        other.audience.name = Audience::parse("b").unwrap();
        assert!(snapshot(&text).decide(other).outcome.is_ok());
    }
}

#[test]
fn attributes_and_context_say_what_the_input_says() {
    let text = format!(
        r#"permit(principal is Workload in TrustDomain::"d1.example.org", action, resource)
           when {{ principal == Workload::"{WORKLOAD}" && principal.path like "/ns/shop/*"
             && principal.trust_domain == TrustDomain::"d1.example.org"
             && context.credential_kind == "certificate" && context.scopes.containsAll(["x"])
             && context.lifetime == 900 && context.bound
             && context has source && context.source.isInRange(ip("192.0.2.0/24"))
             && context has actor && context.actor.depth == 2 && context.actor.sub == "s2"
             && context.actor.chain.contains("s1") }};"#
    );
    let mut input = workload_input();
    input.ask.scopes = Some(scopes("x r"));
    input.context.actors = vec!["s2".into(), "s1".into()];
    let decision = snapshot(&text).decide(input.clone());
    assert!(decision.outcome.is_ok(), "{decision:?}");
    input.context.source = Some("::ffff:192.0.2.7".parse().unwrap());
    assert!(snapshot(&text).decide(input.clone()).outcome.is_ok());
    input.context.source = None;
    assert_eq!(
        code(&snapshot(&text).decide(input)),
        Some(Code::PolicyDenied)
    );
}

#[test]
fn labels_owners_and_tenants_can_be_asked_for() {
    let text = r#"permit(principal in Tenant::"t1", action, resource)
        when { principal.hasTag("env") && principal.getTag("env") == "prod"
          && principal has tenant && resource has tenant && principal.tenant == resource.tenant
          && principal has owner && principal.owner == resource.owner };"#;
    let mut input = key_input();
    let label = |text| crate::id::Label::parse(text).unwrap();
    input.principal.labels = Arc::new([(label("env"), label("prod"))].into());
    input.principal.tenant = crate::id::Tenant::parse("t1").ok();
    input.audience.tenant = crate::id::Tenant::parse("t1").ok();
    input.principal.owner = Some(input.audience.owner.clone());
    assert!(snapshot(text).decide(input.clone()).outcome.is_ok());
    input.principal.labels = Arc::new([(label("env"), label("Prod"))].into());
    assert!(snapshot(text).decide(input).outcome.is_err());
}

#[test]
fn names_in_values_are_never_patterns_and_never_folded() {
    let text = r#"permit(principal in Owner::"o1", action, resource)
        when { ["a"].contains(context.credential_kind) || context.scopes.contains("deploy/*") };"#;
    let mut input = key_input();
    input.audience.scopes = scopes("deploy/prod");
    input.ceilings.scopes = Reach::Listed(scopes("deploy/prod"));
    assert!(snapshot(text).decide(input).outcome.is_err());
    for owner in ["O1", "o1*", "*", "o1/x"] {
        let text = r#"permit(principal in Owner::"o1", action, resource);"#;
        let mut input = key_input();
        input.principal.owner = crate::id::Owner::parse(owner).ok();
        assert!(snapshot(text).decide(input).outcome.is_err(), "{owner}");
    }
}

#[test]
fn a_key_cannot_speak_as_a_workload() {
    let text = "permit(principal, action, resource);";
    let mut input = key_input();
    input.principal.sub = WORKLOAD.into();
    assert_eq!(
        code(&snapshot(text).decide(input)),
        Some(Code::PolicyDenied)
    );
    let mut input = workload_input();
    input.principal.sub = "https://cambist.example.org/key/a".into();
    assert_eq!(
        code(&snapshot(text).decide(input)),
        Some(Code::PolicyDenied)
    );
    // An own token is the principal that its first credential was.
    let mut input = workload_input();
    input.principal.kind = CredentialKind::OwnToken;
    let text = format!(r#"permit(principal == Workload::"{WORKLOAD}", action, resource);"#);
    assert!(snapshot(&text).decide(input).outcome.is_ok());
}

#[test]
fn the_most_restrictive_demand_of_each_kind_holds() {
    let text = r#"
        @max_lifetime("10m") @exchange_to("a b") permit(principal, action, resource);
        @max_lifetime("5m") permit(principal in Owner::"o1", action, resource);
        @exchange_to("b c") permit(principal, action, resource == Audience::"a");
        @max_lifetime("1s") @exchange_to("") permit(principal, action, resource == Audience::"b");"#;
    let decision = snapshot(text).decide(key_input());
    let allowed = decision.outcome.as_ref().unwrap();
    assert_eq!(allowed.lifetime, Duration::from_secs(300));
    assert_eq!(allowed.exchange, Reach::Listed(audiences("b")));
    let decision = snapshot(text).decide(workload_input());
    let allowed = decision.outcome.as_ref().unwrap();
    assert_eq!(allowed.exchange, Reach::Listed(audiences("b")));
}

#[test]
fn a_policy_can_demand_binding() {
    let text = r#"@id("b") @require_binding("true") permit(principal, action, resource);
        permit(principal, action, resource);"#;
    let decision = snapshot(text).decide(key_input());
    assert_eq!(code(&decision), Some(Code::BindingRequired));
    assert_eq!(rules(&decision), ["b", "test:2"]);
    let mut input = key_input();
    input.context.proves_key = true;
    let decision = snapshot(text).decide(input);
    assert!(decision.outcome.as_ref().unwrap().bound);
}

#[test]
fn the_audiences_that_policies_name_are_known() {
    let text = r#"@exchange_to("c d") permit(principal, action, resource == Audience::"a")
        when { resource != Audience::"b" };
        forbid(principal in Owner::"o", action, resource);"#;
    let named: Vec<_> = snapshot(text).audiences().into_iter().collect();
    assert_eq!(named, audiences("a b c d").to_vec());
}

#[test]
fn a_remembered_decision_is_for_the_same_input_only() {
    let text = r#"permit(principal, action, resource) when { context.scopes.contains("r") };"#;
    let snapshot = snapshot(text);
    let input = key_input();
    let first = snapshot.decide(input.clone());
    assert!(Arc::ptr_eq(&first, &snapshot.decide(input.clone())));
    // Same hash, other input.
    let mut other = input.clone();
    other.ceilings.scopes = Reach::Listed(scopes("w"));
    assert!(snapshot.decide(other).outcome.is_err());
}

#[test]
fn own_tokens_share_what_is_remembered_but_not_what_is_recorded() {
    let snapshot = snapshot("permit(principal, action, resource);");
    let mut token = key_input();
    token.principal.kind = CredentialKind::OwnToken;
    for second in [1_900_000_000, 1_900_000_001] {
        token.ceilings.not_after = Timestamp::from_second(second).unwrap();
        let decision = snapshot.decide(token.clone());
        assert!(decision.outcome.is_ok());
        let recorded: RecordedInput = serde_json::from_str(decision.input.as_str()).unwrap();
        assert_eq!(recorded.input, token);
        assert_eq!(snapshot.remembered.len(), 1);
    }
}

#[test]
fn what_is_remembered_stays_within_its_bound() {
    let snapshot = snapshot("permit(principal, action, resource);");
    let weight = |input: &Input| {
        let decision = snapshot.decide(input.clone());
        quick_cache::Weighter::weight(&Weight, input, &decision)
    };
    let fit = limits::REMEMBERED_DECISIONS / weight(&key_input());
    for lifetime in 1..=fit + 1000 {
        let mut input = key_input();
        input.ask.lifetime = Some(lifetime);
        let _ = snapshot.decide(input);
    }
    assert!(snapshot.remembered.weight() <= limits::REMEMBERED_DECISIONS);
    assert!(snapshot.remembered.len() > 1000);
}

#[test]
fn the_largest_input_leaves_room_in_its_record() {
    let mut input = workload_input();
    let many = |n: usize, length: usize| (0..n).map(move |i| format!("{i:0length$}"));
    let set = ScopeSet::new(
        many(limits::SCOPES, limits::SCOPE).map(|s| crate::id::Scope::parse(&s).unwrap()),
    );
    let set = set.unwrap();
    let list: Arc<[Audience]> = many(limits::KEY_AUDIENCES, limits::AUDIENCE)
        .map(|name| Audience::parse(&name).unwrap())
        .collect();
    let label = |text: String| crate::id::Label::parse(&text).unwrap();
    input.principal.sub = format!("spiffe://a/{}", "b".repeat(limits::SPIFFE_ID - 11)).into();
    assert!(SpiffeId::parse(&input.principal.sub).is_ok());
    input.principal.labels = Arc::new(
        many(limits::LABELS, limits::NAME)
            .map(|name| (label(name.clone()), label(name)))
            .collect(),
    );
    input.audience.name = list[0].clone();
    input.audience.scopes = set.clone();
    input.ask.scopes = Some(set.clone());
    input.ceilings.scopes = Reach::Listed(set);
    input.ceilings.audiences = Reach::Listed(Arc::clone(&list));
    input.ceilings.exchange = Reach::Listed(list);
    input.context.actors = vec![Arc::clone(&input.principal.sub); limits::ACTORS];
    let decision = snapshot("permit(principal, action, resource);").decide(input);
    assert!(decision.outcome.is_ok());
    assert!(
        decision.input.as_str().len() < limits::RECORD,
        "{}",
        decision.input.as_str().len()
    );
}

/// What the whole set says, without any index: the reference.
fn whole(snapshot: &Snapshot, input: &Input) -> (BTreeSet<Arc<str>>, BTreeSet<Arc<str>>, bool) {
    let set = PolicySet::from_policies(snapshot.rules.values().map(|b| b.policy.clone())).unwrap();
    let narrowed = narrow(input).unwrap();
    let question = snapshot
        .model
        .question(input, &subject(input).unwrap(), &narrowed)
        .unwrap();
    let response = Authorizer::new().is_authorized(&question.request, &set, &question.entities);
    let mut verdict = Verdict::default();
    verdict.add(&response);
    let errors = verdict.errors.into_iter().map(|(id, _)| id).collect();
    let allow = response.decision() == cedar_policy::Decision::Allow;
    let reasons = verdict.permits.into_iter().chain(verdict.forbids);
    (reasons.collect(), errors, allow)
}

fn policy() -> impl Strategy<Value = String> {
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    let principal = prop_oneof![
        Just("principal".to_owned()),
        Just("principal is ApiKey".to_owned()),
        Just("principal is Workload".to_owned()),
        Just(format!(r#"principal == ApiKey::"{KEY}""#)),
        Just(format!(r#"principal == Workload::"{WORKLOAD}""#)),
        Just(format!(r#"principal in Workload::"{WORKLOAD}""#)),
        Just(r#"principal in Owner::"o1""#.to_owned()),
        Just(r#"principal in Tenant::"t1""#.to_owned()),
        Just(r#"principal in TrustDomain::"d1.example.org""#.to_owned()),
        Just(r#"principal is Workload in TrustDomain::"d2.example.org""#.to_owned()),
        Just(r#"principal is ApiKey in Owner::"o2""#.to_owned()),
        Just(r#"principal is Workload in Tenant::"t2""#.to_owned()),
    ];
    let audience = prop_oneof![
        Just("resource"),
        Just("resource is Audience"),
        Just(r#"resource == Audience::"a""#),
        Just(r#"resource == Audience::"b""#),
        Just(r#"resource in Audience::"c""#),
        Just(r#"resource in Owner::"o1""#),
        Just(r#"resource in Tenant::"t1""#),
        Just(r#"resource is Audience in Owner::"o2""#),
    ];
    let condition = prop_oneof![
        4 => Just(""),
        1 => Just(r#"when { context.scopes.contains("r") }"#),
        1 => Just(r#"when { principal has owner && principal.owner == resource.owner }"#),
        1 => Just(r#"when { principal in Owner::"o2" || resource in Tenant::"t2" }"#),
        1 => Just(r#"unless { context has source && context.source.isIpv4() }"#),
        // Overflows, so it cannot be evaluated.
        1 => Just(r#"when { context.lifetime * 9223372036854775807 > 0 }"#),
    ];
    let action = prop_oneof![
        Just("action"),
        Just(r#"action == Action::"exchange""#),
        Just(r#"action in [Action::"exchange"]"#),
    ];
    (effect, principal, action, audience, condition).prop_map(
        |(effect, principal, action, audience, condition)| {
            format!("{effect}({principal}, {action}, {audience}) {condition};\n")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Invariant 14.
    #[test]
    fn the_slice_decides_as_the_whole_set_does(
        texts in proptest::collection::vec(policy(), 0..14),
        questions in proptest::collection::vec(open_inputs(), 8),
    ) {
        let policies = Policies::new().unwrap();
        policies.load(vec![document("test", &texts.concat())]).unwrap();
        let snapshot = policies.snapshot();
        for input in questions {
            let verdict = snapshot.verdict(&input, &narrow(&input).unwrap()).unwrap();
            let allow = verdict.forbids.is_empty() && !verdict.permits.is_empty();
            let deciding = if allow { verdict.permits } else { verdict.forbids };
            let errors: BTreeSet<_> = verdict.errors.into_iter().map(|(id, _)| id).collect();
            let sliced = (deciding.into_iter().collect(), errors, allow);
            prop_assert_eq!(sliced, whole(&snapshot, &input));
        }
    }

    #[test]
    fn a_recorded_input_decides_again_alike(
        texts in proptest::collection::vec(policy(), 0..6),
        input in inputs(),
    ) {
        let policies = Policies::new().unwrap();
        policies.load(vec![document("test", &texts.concat())]).unwrap();
        let snapshot = policies.snapshot();
        let decision = snapshot.decide(input.clone());
        let recorded: RecordedInput = serde_json::from_str(decision.input.as_str()).unwrap();
        prop_assert_eq!(recorded.policies.as_str(), snapshot.revision().as_ref());
        prop_assert_eq!(recorded.schema.as_str(), snapshot.schema_revision().as_ref());
        prop_assert_eq!(&recorded.input, &input);
        prop_assert_eq!(snapshot.decide_afresh(&recorded.input), decision.as_ref().clone());
    }

    /// Requests are built without asking the schema, for speed; so they must always fit it.
    #[test]
    fn requests_conform_to_the_schema(input in open_inputs()) {
        let model = model().unwrap();
        let schema = Some(model.validator.schema());
        let narrowed = narrow(&input).unwrap();
        let question = model.question(&input, &subject(&input).unwrap(), &narrowed).unwrap();
        let request = &question.request;
        let again = Request::new(
            request.principal().unwrap().clone(),
            request.action().unwrap().clone(),
            request.resource().unwrap().clone(),
            request.context().unwrap().clone(),
            schema,
        );
        prop_assert!(again.is_ok(), "{:?}", again);
        let entities = Entities::from_entities(question.entities.iter().cloned(), schema);
        prop_assert!(entities.is_ok(), "{:?}", entities);
    }

    /// Policies narrow too: whatever they permit stays below the ceilings, and their own.
    #[test]
    fn a_decision_is_never_above_its_input(input in inputs()) {
        let text = r#"@max_lifetime("15m") @exchange_to("a b") permit(principal, action, resource);"#;
        let decision = snapshot(text).decide(input.clone());
        let Ok(allowed) = &decision.outcome else { return Ok(()); };
        let narrowed = narrow(&input).unwrap();
        prop_assert!(allowed.scopes.is_subset(&narrowed.scopes));
        prop_assert!(allowed.lifetime.as_secs() <= narrowed.lifetime.min(900));
        let Reach::Listed(exchange) = &allowed.exchange else { panic!("unbounded") };
        for name in exchange.iter() {
            prop_assert!(audiences("a b").contains(name));
            if let Reach::Listed(before) = &narrowed.exchange {
                prop_assert!(before.contains(name));
            }
        }
    }
}
