//! The sample policies under `deploy/policies`, as an operator would load them.

use cambist::policy::{Decision, Document, Input, Origin, Policies, Snapshot, check};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn samples() -> Vec<Document> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/policies");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "cedar")
        })
        .map(|path| Document {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(&path).unwrap(),
            origin: Origin::Configuration,
        })
        .collect()
}

fn loaded() -> Arc<Snapshot> {
    let policies = Policies::new().unwrap();
    policies.load(samples()).unwrap();
    policies.snapshot()
}

fn web() -> Value {
    json!({
        "principal": {
            "sub": "spiffe://example.org/ns/shop/sa/web", "credential": format!("x509:{}", "A".repeat(43)),
            "kind": "certificate", "owner": null, "tenant": null, "labels": {},
        },
        "audience": {
            "name": "https://orders.example.org/", "owner": "team-shop", "tenant": null,
            "scopes": ["orders:read", "orders:write"], "bound": false, "max_lifetime": null,
        },
        "ask": { "scopes": ["orders:read"], "lifetime": 3600, "binding": "where_possible" },
        "ceilings": {
            "audiences": "policy", "scopes": "policy", "exchange": "policy",
            "not_after": "2030-01-01T00:00:00Z", "must_bind": false,
            "default_lifetime": 900, "max_lifetime": 3600,
        },
        "context": { "source": null, "proves_key": true, "actors": [] },
    })
}

fn decide(input: &Value) -> Arc<Decision> {
    let input: Input = serde_json::from_value(input.clone()).unwrap();
    loaded().decide(input)
}

#[track_caller]
fn assert_decided_by(input: &Value, allowed: bool, rules: &[&str]) {
    let decision = decide(input);
    let named: Vec<&str> = decision.rules.iter().map(|rule| rule.0.as_ref()).collect();
    assert_eq!(
        (decision.outcome.is_ok(), named.as_slice()),
        (allowed, rules),
        "{decision:?}"
    );
}

#[test]
fn every_sample_is_valid_by_itself_and_beside_the_others() {
    let samples = samples();
    assert!(samples.len() >= 3);
    for sample in &samples {
        assert_eq!(check(&sample.text).findings, [], "{}", sample.name);
    }
    let loaded = Policies::new().unwrap().load(samples).unwrap();
    assert!(loaded.policies >= 7 && loaded.warnings.is_empty());
}

#[test]
fn the_mesh_sample_says_what_its_remarks_say() {
    let mut input = web();
    assert_decided_by(&input, true, &["web-calls-orders"]);
    let decision = decide(&input);
    let allowed = decision.outcome.as_ref().unwrap();
    assert_eq!((allowed.lifetime.as_secs(), allowed.bound), (900, true));
    input["context"]["proves_key"] = json!(false);
    assert_decided_by(&input, false, &["long-lived-needs-binding"]);
    input["ask"]["lifetime"] = json!(60);
    assert_decided_by(&input, false, &["web-calls-orders"]);
    let mut input = web();
    input["principal"]["sub"] = json!("spiffe://example.org/ns/shop/sa/webber");
    assert_decided_by(&input, false, &[]);
    let mut input = web();
    input["principal"]["sub"] = json!("spiffe://partner.example.com/web");
    input["ask"]["scopes"] = json!(["orders:write"]);
    assert_decided_by(&input, false, &["partners-only-read"]);
}

#[test]
fn the_guard_rails_hold_for_everyone() {
    let mut input = web();
    input["context"]["actors"] = json!(["a", "b", "c"]);
    assert_decided_by(&input, false, &["short-chains"]);
}

#[test]
fn the_ci_sample_says_what_its_remarks_say() {
    let mut input = web();
    input["principal"] = json!({
        "sub": "https://cambist.example.org/key/aaaaaaaaaaaaaaaa", "credential": "key:aaaaaaaaaaaaaaaa",
        "kind": "api_key", "owner": "team-shop", "tenant": null, "labels": { "env": "production" },
    });
    input["ask"]["lifetime"] = json!(1800);
    input["context"]["proves_key"] = json!(false);
    assert_decided_by(&input, false, &["production-only-from-the-runners"]);
    input["context"]["source"] = json!("192.0.2.7");
    assert_decided_by(&input, true, &["ci-deploys-for-its-own-team"]);
    input["principal"]["owner"] = json!("team-mail");
    assert_decided_by(&input, false, &[]);
}
