use super::super::testing::{audiences, inputs, key_input, scopes, workload_input};
use super::*;
use crate::id::Tenant;
use proptest::prelude::*;

fn code(input: &Input) -> Option<(&'static str, Code)> {
    narrow(input)
        .err()
        .map(|stopped| (stopped.rule, stopped.refusal.code()))
}

#[test]
fn an_ordinary_ask_is_narrowed_to_what_credential_and_audience_share() {
    let narrowed = narrow(&key_input()).unwrap();
    assert_eq!(narrowed.scopes, scopes("r w"));
    assert_eq!(narrowed.lifetime, limits::DEFAULT_LIFETIME.as_secs());
    assert!(!narrowed.bound);
    assert_eq!(narrowed.exchange, Reach::Listed(audiences("a b")));
}

#[test]
fn a_certificate_gets_no_scope_that_it_does_not_ask_for() {
    assert_eq!(narrow(&workload_input()).unwrap().scopes, scopes(""));
    let mut input = workload_input();
    input.ask.scopes = Some(scopes("x"));
    assert_eq!(narrow(&input).unwrap().scopes, scopes("x"));
}

#[test]
fn each_ceiling_stops_by_its_name() {
    let stopped = |edit: fn(&mut Input)| {
        let mut input = key_input();
        edit(&mut input);
        code(&input)
    };
    let audience = Code::AudienceNotAllowed;
    assert_eq!(
        stopped(|i| i.ceilings.audiences = Reach::Listed(audiences("b"))),
        Some(("ceiling:audience", audience))
    );
    // Byte by byte: another case is another audience.
    assert_eq!(
        stopped(|i| i.ceilings.audiences = Reach::Listed(audiences("A * a* a/"))),
        Some(("ceiling:audience", audience))
    );
    assert_eq!(
        stopped(|i| i.ceilings.exchange = Reach::Listed(audiences(""))),
        Some(("ceiling:exchange", audience))
    );
    assert_eq!(
        stopped(|i| i.audience.tenant = Some(Tenant::parse("t1").unwrap())),
        Some(("ceiling:tenant", audience))
    );
    let scope = Some(("ceiling:scope", Code::ScopeNotAllowed));
    assert_eq!(stopped(|i| i.ask.scopes = Some(scopes("r y"))), scope);
    assert_eq!(stopped(|i| i.ask.scopes = Some(scopes("r x"))), scope);
    assert_eq!(stopped(|i| i.ask.scopes = Some(scopes("R"))), scope);
    assert_eq!(stopped(|i| i.ask.scopes = Some(scopes("*"))), scope);
    let lifetime = Some(("ceiling:lifetime", Code::LifetimeExhausted));
    assert_eq!(stopped(|i| i.ask.lifetime = Some(0)), lifetime);
    let binding = Some(("ceiling:binding", Code::BindingRequired));
    assert_eq!(stopped(|i| i.audience.bound = true), binding);
    assert_eq!(stopped(|i| i.ceilings.must_bind = true), binding);
    assert_eq!(stopped(|i| i.ask.binding = Binding::Required), binding);
}

#[test]
fn tenants_share_what_has_none_and_nothing_else() {
    let tenant = |name| Some(Tenant::parse(name).unwrap());
    for (theirs, ours, allowed) in [
        (None, None, true),
        (tenant("t1"), None, true),
        (tenant("t1"), tenant("t1"), true),
        (tenant("t1"), tenant("t2"), false),
        (tenant("t1"), tenant("T1"), false),
        (None, tenant("t1"), false),
    ] {
        let mut input = key_input();
        input.principal.tenant.clone_from(&theirs);
        input.audience.tenant.clone_from(&ours);
        assert_eq!(narrow(&input).is_ok(), allowed, "{theirs:?} {ours:?}");
    }
}

fn covers(reach: &Reach<Arc<[Audience]>>, list: &Reach<Arc<[Audience]>>) -> bool {
    match (reach, list) {
        (Reach::Policy, _) => true,
        (Reach::Listed(_), Reach::Policy) => false,
        (Reach::Listed(reach), Reach::Listed(list)) => list.iter().all(|name| reach.contains(name)),
    }
}

proptest! {
    // Most arbitrary inputs are stopped, and rightly: so there are many.
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_left_is_never_above_any_ceiling(input in inputs()) {
        let Ok(narrowed) = narrow(&input) else { return Ok(()); };
        let ceilings = &input.ceilings;
        prop_assert!(narrowed.scopes.is_subset(&input.audience.scopes));
        if let Reach::Listed(listed) = &ceilings.scopes {
            prop_assert!(narrowed.scopes.is_subset(listed));
        }
        match &input.ask.scopes {
            Some(asked) => prop_assert_eq!(&narrowed.scopes, asked),
            None if ceilings.scopes == Reach::Policy => prop_assert!(narrowed.scopes.is_empty()),
            None => {}
        }
        prop_assert!(narrowed.lifetime > 0);
        prop_assert!(narrowed.lifetime <= ceilings.max_lifetime);
        prop_assert!(narrowed.lifetime <= input.audience.max_lifetime.unwrap_or(u64::MAX));
        prop_assert!(narrowed.lifetime <= input.ask.lifetime.unwrap_or(ceilings.default_lifetime));
        let audience = Reach::Listed(Arc::from([input.audience.name.clone()]));
        prop_assert!(covers(&ceilings.audiences, &audience));
        prop_assert!(covers(&ceilings.exchange, &audience));
        prop_assert!(covers(&ceilings.audiences, &narrowed.exchange));
        prop_assert!(covers(&ceilings.exchange, &narrowed.exchange));
        if let Some(tenant) = &input.audience.tenant {
            prop_assert_eq!(input.principal.tenant.as_ref(), Some(tenant));
        }
        prop_assert_eq!(narrowed.bound, input.context.proves_key);
        let required = ceilings.must_bind
            || input.audience.bound
            || input.ask.binding == Binding::Required;
        prop_assert!(narrowed.bound || !required);
    }

    #[test]
    fn narrowing_what_was_narrowed_changes_nothing(input in inputs()) {
        let Ok(first) = narrow(&input) else { return Ok(()); };
        let mut again = input;
        again.ask.scopes = Some(first.scopes.clone());
        again.ask.lifetime = Some(first.lifetime);
        again.ceilings.exchange = first.exchange.clone();
        // The audience itself may not be among what later tokens are for; that is no matter of this token.
        prop_assert_eq!(narrow(&again), Ok(first));
    }
}
