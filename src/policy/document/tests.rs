use super::super::testing::document;
use super::*;
use proptest::prelude::*;

/// The only finding on a text: policy, line, column, message and help.
fn refused(text: &str) -> (String, u32, u32, String) {
    let findings = check(text).findings;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let finding = findings.into_iter().next().unwrap();
    assert!(!finding.warning, "{finding}");
    let message = format!("{} | {}", finding.message, finding.help);
    (finding.policy, finding.line, finding.column, message)
}

#[track_caller]
fn assert_refused(text: &str, policy: &str, line: u32, column: u32, words: &[&str]) {
    let (found, at_line, at_column, message) = refused(text);
    assert_eq!(
        (found.as_str(), at_line, at_column),
        (policy, line, column),
        "{message}"
    );
    for word in words {
        assert!(message.contains(word), "{word:?} in {message:?}");
    }
}

#[test]
fn what_cannot_be_parsed_is_refused_where_it_is() {
    assert_refused(
        "permit(principal, action,\n  resurce);",
        "",
        2,
        3,
        &["resurce"],
    );
    assert_refused(
        "permit(principal, action, resource)",
        "",
        1,
        36,
        &["unexpected"],
    );
    for nothing in ["", "// nothing but a remark"] {
        let checked = check(nothing);
        assert!(checked.is_valid() && checked.findings.is_empty());
        assert_eq!(checked.policies, 0);
    }
}

#[test]
fn what_the_schema_does_not_know_is_refused_when_written() {
    let when = |condition: &str| {
        format!("permit(principal, action, resource)\nwhen {{\n  {condition}\n}};")
    };
    let p = "policy:1";
    assert_refused(
        &when("context.scope == \"r\""),
        p,
        3,
        3,
        &["`scope`", "`scopes`"],
    );
    assert_refused(
        &when("context.lifetime > \"10m\""),
        p,
        3,
        22,
        &["String", "Long"],
    );
    assert_refused(
        &when("context.source.isIpv4()"),
        p,
        3,
        3,
        &["context has source"],
    );
    assert_refused(
        &when("principal.path like \"/a*\""),
        p,
        3,
        3,
        &["`path`", "ApiKey"],
    );
    assert_refused(&when("principal in Team::\"a\""), p, 3, 16, &["Team"]);
    let text = "permit(principal, action == Action::\"Exchange\", resource);";
    assert_refused(text, p, 1, 29, &["Action::\"Exchange\""]);
}

#[test]
fn a_policy_that_can_never_apply_is_refused_when_written() {
    let text = "permit(principal, action, resource)\n  when { false };";
    assert_refused(text, "policy:1", 1, 1, &["impossible"]);
    // Right names, wrong places: nothing is both.
    let text = "forbid(principal == Audience::\"a\", action, resource);";
    assert_refused(text, "policy:1", 1, 1, &["applicable action"]);
    let text = "permit(principal is Workload in TrustDomain::\"Example.org\", action, resource);";
    assert_refused(text, "policy:1", 1, 33, &["TrustDomain::\"Example.org\""]);
    let text = "permit(principal, action, resource)\nwhen { principal == ApiKey::\"cmb_x\" };";
    assert_refused(text, "policy:1", 2, 21, &["ApiKey::\"cmb_x\""]);
}

#[test]
fn text_that_reads_other_than_it_runs_is_refused() {
    let text = "permit(principal, action, resource == Audience::\"a\")\n\
        when { context.scopes.contains(\"r\u{202e}w\") };";
    let (.., message) = refused(text);
    assert!(message.contains("BIDI"), "{message}");
    // Mixed scripts may be honest: a warning.
    let text = "permit(principal, action, resource == Audience::\"a\")\n\
        when { context.scopes.contains(\"аdmin\") };";
    let findings = check(text).findings;
    assert!(
        findings.iter().all(|finding| finding.warning),
        "{findings:?}"
    );
    assert_eq!(findings.len(), 1);
    let checked = check(text);
    assert_eq!((checked.is_valid(), checked.policies), (true, 1));
}

#[test]
fn templates_are_refused() {
    let text = "permit(principal, action, resource);\n\
        @id(\"t\") permit(principal == ?principal, action, resource);";
    assert_refused(text, "t", 2, 1, &["templates"]);
}

#[test]
fn annotations_are_understood_or_refused() {
    let with = |annotation: &str| format!("{annotation}\npermit(principal, action, resource);");
    for annotation in [
        "@id(\"ok.name/1-2_3\")",
        "@description(\"anything: at all\")",
        "@max_lifetime(\"90s\")",
        "@require_binding(\"true\")",
        "@exchange_to(\"a https://b.example.org/\")",
        "@exchange_to(\"\")",
    ] {
        assert_eq!(check(&with(annotation)).findings, [], "{annotation}");
    }
    for (annotation, words) in [
        ("@max_lifetme(\"10m\")", "unknown annotation"),
        ("@Max_Lifetime(\"10m\")", "unknown annotation"),
        ("@max_lifetime(\"10\")", "not understood"),
        ("@max_lifetime", "not understood"),
        ("@max_lifetime(\"0s\")", "not understood"),
        ("@require_binding(\"false\")", "not understood"),
        ("@require_binding(\"TRUE\")", "not understood"),
        ("@exchange_to(\"a\\u{7f}\")", "not understood"),
        ("@id(\"\")", "name"),
        ("@id(\"a:1\")", "name"),
        ("@id(\"a b\")", "name"),
    ] {
        let (_, line, column, message) = refused(&with(annotation));
        assert_eq!((line, column), (1, 1), "{annotation}");
        assert!(message.contains(words), "{annotation}: {message}");
    }
    for key in [
        "max_lifetime(\"1m\")",
        "require_binding(\"true\")",
        "exchange_to(\"a\")",
    ] {
        let text = format!("@{key} forbid(principal, action, resource);");
        let (.., message) = refused(&text);
        assert!(message.contains("forbid"), "{message}");
    }
}

#[test]
fn policies_are_named_by_id_or_by_place() {
    let mut text: String = (0..12)
        .map(|_| "permit(principal, action, resource);\n")
        .collect();
    text.insert_str(0, "@id(\"first\") ");
    let compiled = CompiledDocument::new(document("team/shop", &text)).unwrap();
    let names: Vec<_> = compiled
        .policies
        .iter()
        .map(|b| b.rule.0.as_ref())
        .collect();
    assert_eq!(names[0], "first");
    assert_eq!(names[1], "team/shop:2");
    assert_eq!(names[11], "team/shop:12");
    let starts: Vec<_> = compiled.policies.iter().map(|b| b.start).collect();
    assert!(
        starts.windows(2).all(|pair| pair[0] < pair[1]),
        "{starts:?}"
    );
    let text = "@id(\"a\") permit(principal, action, resource);\n  \
        @id(\"a\") forbid(principal, action, resource == Audience::\"a\");";
    assert_refused(text, "a", 2, 3, &["named `a` too"]);
}

#[test]
fn documents_are_named_and_bounded() {
    for (name, accepted) in [
        ("a".repeat(limits::NAME), true),
        ("a".repeat(limits::NAME + 1), false),
        (String::new(), false),
        ("ceiling:scope".to_owned(), false),
        ("a b".to_owned(), false),
    ] {
        assert_eq!(
            CompiledDocument::new(document(&name, "")).is_ok(),
            accepted,
            "{name}"
        );
    }
    let of = |length| check(&" ".repeat(length)).is_valid();
    assert!(of(limits::POLICY_DOCUMENT));
    assert!(!of(limits::POLICY_DOCUMENT + 1));
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC*", name in "\\PC{0,8}") {
        let _ = check(&text);
        let _ = CompiledDocument::new(document(&name, &text));
    }

    #[test]
    fn nothing_panics_on_what_looks_like_policies(
        parts in proptest::collection::vec(prop_oneof![
            Just("permit"), Just("forbid"), Just("("), Just(")"), Just("principal"), Just("action"),
            Just("resource"), Just(","), Just(";"), Just("when"), Just("{"), Just("}"), Just("context.scopes"),
            Just("=="), Just("in"), Just("Audience::\"a\""), Just("@id(\"é\")"), Just("&&"), Just("?principal"),
            Just("\n"), Just("é"),
        ], 0..40),
    ) {
        let _ = check(&parts.join(" "));
    }
}
