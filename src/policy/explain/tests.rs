use super::super::testing::{key_input, scopes, snapshot, workload_input};
use super::*;

fn failed(text: &str, input: &Input) -> Vec<(String, String)> {
    let explanation = snapshot(text).explain(input);
    let conditions = explanation.failed.into_iter();
    conditions
        .map(|failed| (failed.rule.0.to_string(), failed.condition))
        .collect()
}

fn pair(rule: &str, condition: &str) -> (String, String) {
    (rule.to_owned(), condition.to_owned())
}

#[test]
fn a_grant_is_explained_by_what_permits_it() {
    let text = r#"@id("p") @max_lifetime("5m") permit(principal, action, resource);
        @id("q") permit(principal, action, resource) when { context.bound };"#;
    let explanation = snapshot(text).explain(&key_input());
    assert!(explanation.allowed);
    assert_eq!((explanation.code, explanation.detail.as_str()), (None, ""));
    assert_eq!(explanation.rules, [Rule("p".into())]);
    assert_eq!(explanation.scopes, scopes("r w"));
    assert_eq!(explanation.lifetime, Duration::from_secs(300));
    assert!(!explanation.bound);
    assert_eq!(explanation.failed.len(), 1);
    assert_eq!(explanation.failed[0].condition, "context.bound");
}

#[test]
fn a_ceiling_is_named() {
    let mut input = key_input();
    input.ask.scopes = Some(scopes("y"));
    let explanation = snapshot("permit(principal, action, resource);").explain(&input);
    assert!(!explanation.allowed);
    assert_eq!(explanation.code, Some(Code::ScopeNotAllowed));
    assert_eq!(explanation.detail, "`y` is not a scope of this audience");
    assert_eq!(explanation.rules, [Rule("ceiling:scope".into())]);
    assert_eq!(explanation.failed, []);
}

#[test]
fn a_forbid_is_named() {
    let text = r#"permit(principal, action, resource);
        @id("freeze") forbid(principal, action, resource in Owner::"o2");"#;
    let explanation = snapshot(text).explain(&key_input());
    assert_eq!(explanation.code, Some(Code::PolicyDenied));
    assert_eq!(explanation.detail, "forbidden by `freeze`");
    assert_eq!(explanation.rules, [Rule("freeze".into())]);
}

#[test]
fn every_conjunct_that_does_not_hold_is_named() {
    let text = r#"@id("p") permit(principal, action, resource == Audience::"a")
        when { context.scopes.contains("r") && context.bound && context.lifetime < 60 }
        when { context.credential_kind == "api_key" }
        unless { context.lifetime == 900 || context.bound };
        permit(principal, action, resource == Audience::"b");"#;
    assert_eq!(
        failed(text, &key_input()),
        [
            pair("p", "context.bound"),
            pair("p", "context.lifetime < 60"),
            pair("p", "unless context.lifetime == 900"),
        ]
    );
}

#[test]
fn a_guard_that_is_false_hides_what_it_guards() {
    let text = r#"@id("p") permit(principal, action, resource)
        when { context has actor && context.actor.depth == 1 && context.bound };"#;
    assert_eq!(failed(text, &key_input()), [pair("p", "context has actor")]);
}

#[test]
fn a_condition_that_cannot_be_evaluated_says_why() {
    let text = r#"@id("p") permit(principal, action, resource)
        when { context.lifetime * 9223372036854775807 > 0 };"#;
    let explanation = snapshot(text).explain(&key_input());
    assert_eq!(explanation.detail, "could not be evaluated: `p`");
    assert_eq!(explanation.rules, [Rule("p".into())]);
    let condition = &explanation.failed[0].condition;
    assert!(condition.contains("could not be evaluated"), "{condition}");
    assert!(condition.contains("overflow"), "{condition}");
}

#[test]
fn a_scope_that_does_not_match_is_named_if_the_policy_is_in_reach() {
    let text = r#"@id("p") permit(principal is Workload in Owner::"o1", action, resource)
        when { context.bound };"#;
    assert_eq!(
        failed(text, &key_input()),
        [pair(
            "p",
            "scope: principal is Workload in Owner::\"o1\", action, resource"
        )]
    );
    // Out of reach: not worth a word.
    assert_eq!(failed(text, &workload_input()), []);
}

#[test]
fn long_chains_are_taken_apart() {
    let many = vec!["context.lifetime > 0"; 80].join(" && ");
    let text = format!(
        "@id(\"p\") permit(principal, action, resource) when {{ {many} && context.bound }};"
    );
    assert_eq!(failed(&text, &key_input()), [pair("p", "context.bound")]);
}
