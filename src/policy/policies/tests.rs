use super::super::testing::{document, key_input};
use super::*;

const OPEN: &str = "permit(principal, action, resource);\n";
const FOR_A: &str = "permit(principal, action, resource == Audience::\"a\");\n";
const FOR_B: &str = "permit(principal, action, resource == Audience::\"b\");\n";

fn allows(policies: &Policies) -> bool {
    policies.snapshot().decide(key_input()).outcome.is_ok()
}

fn messages(result: Result<Loaded, Vec<Diagnostic>>) -> Vec<String> {
    result
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn both_sources_merge_and_each_is_replaced_alone() {
    let policies = Policies::new().unwrap();
    policies
        .set_configured(vec![document("base", FOR_B)])
        .unwrap();
    assert!(!allows(&policies));
    policies.set_stored(vec![document("team", FOR_A)]).unwrap();
    assert!(allows(&policies));
    assert_eq!(policies.snapshot().len(), 2);
    policies.set_configured(Vec::new()).unwrap();
    assert!(allows(&policies));
    policies.remove_document("team").unwrap();
    assert!(!allows(&policies) && policies.documents().is_empty());
    policies.remove_document("team").unwrap();
}

#[test]
fn a_bad_set_leaves_the_old_one_in_force() {
    let policies = Policies::new().unwrap();
    policies.put_document("team", FOR_A).unwrap();
    let (revision, snapshot) = (policies.revision(), policies.snapshot());
    for bad in [
        "permit(",
        "permit(principal, action, resource) when { context.x };",
    ] {
        assert!(policies.put_document("team", bad).is_err());
        assert!(policies.set_stored(vec![document("other", bad)]).is_err());
        assert!(
            policies
                .set_configured(vec![document("other", bad)])
                .is_err()
        );
        assert!(policies.load(vec![document("other", bad)]).is_err());
    }
    assert_eq!(policies.revision(), revision);
    assert!(Arc::ptr_eq(&policies.snapshot(), &snapshot));
    assert!(allows(&policies));
}

#[test]
fn a_check_changes_nothing_and_sees_the_whole_set() {
    let policies = Policies::new().unwrap();
    let configured = "@id(\"one\") permit(principal, action, resource);";
    policies
        .set_configured(vec![document("base", configured)])
        .unwrap();
    let revision = policies.revision();
    let would_be = policies.check("team", FOR_A).unwrap();
    assert_eq!(would_be.policies, 2);
    assert_ne!(would_be.revision, revision);
    assert_eq!(policies.revision(), revision);
    assert_eq!(
        policies.put_document("team", FOR_A).unwrap().revision,
        would_be.revision
    );
    let findings = messages(policies.check("x", configured));
    assert_eq!(
        findings,
        ["x:1:1: error: another policy is named `one` too"]
    );
    let findings = messages(policies.check("base", FOR_A));
    assert_eq!(
        findings,
        ["base:1:1: error: a document of this name is set by configuration"]
    );
    let twice = vec![document("d", FOR_A), document("d", FOR_A)];
    assert_eq!(policies.set_stored(twice).unwrap_err().len(), 2);
}

#[test]
fn the_revision_names_the_set_whatever_the_order() {
    let of = |documents: &[(&str, &str)]| {
        let policies = Policies::new().unwrap();
        let documents = documents.iter().map(|(name, text)| document(name, text));
        policies.set_stored(documents.collect()).unwrap().revision
    };
    let both = of(&[("a", FOR_A), ("b", FOR_B)]);
    assert_eq!(both.len(), 32);
    assert_eq!(both, of(&[("b", FOR_B), ("a", FOR_A)]));
    assert_ne!(both, of(&[("a", FOR_B), ("b", FOR_A)]));
    assert_ne!(of(&[("a", "")]), of(&[("b", "")]));
    assert_ne!(of(&[]), of(&[("a", "")]));
    // Where one part ends and the next begins counts.
    assert_ne!(revision(["ab", "c"]), revision(["a", "bc"]));
}

#[test]
fn a_change_ends_what_was_remembered() {
    let policies = Policies::new().unwrap();
    policies.put_document("team", OPEN).unwrap();
    assert!(allows(&policies) && allows(&policies));
    policies
        .put_document("no", "forbid(principal, action, resource);")
        .unwrap();
    assert!(!allows(&policies));
}

#[test]
fn policies_that_name_nobody_are_bounded_at_n_and_n_plus_one() {
    // A type is no name: every workload, and every audience, would be shown these.
    let typed = "permit(principal is Workload, action, resource is Audience);\n";
    let text = OPEN.repeat(limits::UNINDEXED_POLICIES - 1) + typed;
    let policies = Policies::new().unwrap();
    let loaded = policies.put_document("open", &text).unwrap();
    assert_eq!(loaded.policies, limits::UNINDEXED_POLICIES);
    assert_eq!(loaded.warnings, []);
    policies.put_document("closed", FOR_A).unwrap();
    for next in [OPEN, typed] {
        let findings = policies.put_document("next", next).unwrap_err();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].policy, "open:64", "{}", findings[0]);
        assert!(findings[0].message.contains("name nobody"));
    }
}

#[test]
fn a_crowd_behind_one_name_is_warned_of() {
    let policies = Policies::new().unwrap();
    let at = policies.put_document("a", &FOR_A.repeat(limits::CROWDED_POLICIES));
    assert_eq!(at.unwrap().warnings, []);
    let over = policies.put_document("a", &FOR_A.repeat(limits::CROWDED_POLICIES + 1));
    let warnings = over.unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].warning && warnings[0].line == 65,
        "{}",
        warnings[0]
    );
}

#[test]
fn the_number_of_policies_is_bounded_at_n_and_n_plus_one() {
    let policies = Policies::new().unwrap();
    let text = |n: usize| FOR_A.repeat(n);
    policies
        .put_document("all", &text(limits::POLICIES))
        .unwrap();
    assert_eq!(policies.snapshot().len(), limits::POLICIES);
    let findings = policies.put_document("next", FOR_B).unwrap_err();
    assert!(
        findings[0].message.contains("more than 20000"),
        "{}",
        findings[0]
    );
    assert_eq!(policies.snapshot().len(), limits::POLICIES);
}
