//! Files that a running broker reads again.

use crate::support::broker::{Broker, crl, spec};
use crate::support::edge::until;
use serde_json::{Value, json};
use std::fs;

/// What is read again decides who gets what: each change is told once, with what it came to; what is not taken, too.
#[tokio::test]
async fn files_that_are_read_again_are_on_the_record() {
    let broker = Broker::start().await;
    let told = |action: &str| -> Vec<Value> {
        let mut records = broker.records();
        records.retain(|record| record["action"] == action);
        records
            .into_iter()
            .map(|record| record["change"].clone())
            .collect()
    };
    let begun = told("broker.start").remove(0);
    let replace = |name: &str, text: &str| {
        let next = broker.path("next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, broker.path(name)).unwrap();
    };
    let file = "policies/tests.cedar";
    let good = fs::read_to_string(broker.path(file)).unwrap();
    let more = format!(
        "{good}@id(\"closed\") forbid (principal, action, resource == Audience::\"vault\");"
    );
    replace(file, &more);
    let is_told = |action: &'static str, count: usize| {
        let told = &told;
        until(action, async move || told(action).len() == count)
    };
    is_told("policy.reload", 1).await;
    let change = told("policy.reload").remove(0);
    assert_eq!(change["before_sha256"], begun["policy_files_sha256"]);
    assert_eq!(
        change["policies"].as_u64(),
        begun["policies"].as_u64().map(|n| n + 1)
    );
    let in_force = change["sha256"].clone();
    assert_ne!(in_force, begun["policy_files_sha256"]);
    replace(file, "permit (");
    is_told("policy.reload", 2).await;
    let change = told("policy.reload").remove(1);
    assert_eq!(change["in_force_sha256"], in_force);
    assert!(
        change["refused"].as_str().unwrap().contains("tests.cedar"),
        "{change}"
    );
    // The same, and again the same.
    replace(file, &more);
    is_told("policy.reload", 3).await;
    let change = told("policy.reload").remove(2);
    assert_eq!(
        (&change["sha256"], &change["before_sha256"]),
        (&in_force, &in_force)
    );

    replace("example.org.crl", &crl(&broker.home, &[broker.web.serial]));
    is_told("trust.reload", 1).await;
    let change = told("trust.reload").remove(0);
    assert_eq!(change["before_sha256"], begun["trust_files_sha256"]);
    assert_eq!((&change["crls"], &change["roots"]), (&json!(1), &json!(2)));
    replace("example.org.crl", "");
    is_told("trust.reload", 2).await;
    let refused = told("trust.reload").remove(1);
    assert_eq!(refused["in_force_sha256"], change["sha256"]);
    // Read again at a signal, and nothing new in it.
    let taken = async || {
        broker
            .metric(r#"reloads_total{what="policies",result="taken"}"#)
            .await
    };
    let before = taken().await;
    broker.signal(rustix::process::Signal::HUP);
    until("all to be read again", async || taken().await > before).await;
    broker.create_key(spec(&["shop"], &[])).await;
    assert_eq!(
        (told("policy.reload").len(), told("trust.reload").len()),
        (3, 2)
    );
}
