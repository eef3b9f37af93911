//! Events of OCSF, validated by a library that holds the schema and was not written here.

use super::webhook::python;
use super::{Hook, load, section, until_taken};
use crate::support::broker::{Broker, api_key, ask, spec};
use cambist::audit::sink::ocsf;
use serde_json::{Value, json};

/// What the library finds wrong with each event; nothing, for most.
async fn problems(events: &[Value]) -> Vec<String> {
    let said = python(
        "ocsf.py",
        json!({ "version": ocsf::VERSION, "events": events }),
    )
    .await;
    assert_eq!(said["checked"], events.len());
    let problems = said["problems"].as_array().unwrap().iter();
    problems.map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_a_broker_records_is_valid() {
    let hook = Hook::plain().await;
    let mut broker = Broker::with(|setup| {
        let more = format!("url = \"{}\"\nformat = \"ocsf\"", hook.url);
        setup.config += &section("siem", "webhook", &more);
    })
    .await;
    load(&broker, 2).await;
    let caller = broker.anybody().await;
    caller.no(ask(api_key(broker.api_key()), "vault")).await;
    caller.no(ask(api_key("cmb_x"), "shop")).await;
    broker
        .web()
        .await
        .yes(ask(crate::support::broker::peer(), "shop"))
        .await;
    let few = cambist::proto::KeySpec {
        uses: 2,
        ..spec(&["shop"], &[])
    };
    let few = broker.create_key(few).await;
    caller.yes(ask(api_key(&few.secret), "shop")).await;
    broker.record(|record| record["kind"] == "refusals").await;
    broker.restart().await;
    until_taken(&broker, "siem").await;
    let events = hook.records();
    assert_eq!(problems(&events).await, [""; 0]);
    for kind in [
        "issue",
        "refuse",
        "refusals",
        "admin",
        "keys",
        "spend",
        "start",
        "stop",
        "checkpoint",
    ] {
        let is = |event: &&Value| event["metadata"]["event_code"] == kind;
        assert!(events.iter().any(|event| is(&event)), "no {kind}");
    }
}

/// Those too that no healthy broker makes; and the library does find mistakes.
#[tokio::test]
async fn every_kind_of_record_is_valid_with_nothing_and_with_anything_in_it() {
    let kinds = [
        "issue",
        "refuse",
        "refusals",
        "admin",
        "keys",
        "spend",
        "start",
        "stop",
        "recovery",
        "retention",
        "checkpoint",
        "gap",
        "new",
    ];
    let full = json!({
        "sub": "spiffe://example.org/web", "credential": "key:aaaaaaaaaaaaaaaa", "owner": "team-web", "tenant": "retail",
        "client_id": "web", "actors": ["a"], "peer": { "address": "2001:db8::7", "uid": 7 }, "peer_id": "spiffe://example.org/web",
        "ask": { "audience": "shop", "bind": false }, "grant": { "audience": "shop", "scopes": [] }, "jti": "j", "iat": 1, "exp": 2,
        "code": "policy_denied", "detail": "d", "action": "key.create", "target": "t", "change": { "a": 1 }, "rules": ["r"],
        "since": "2027-01-15T07:59:59.000000Z", "refused": [{ "code": "a", "count": 3 }], "dropped": 3, "request": "r",
    });
    let odd: Value = full
        .as_object()
        .unwrap()
        .keys()
        .map(|key| (key.clone(), json!([{}])))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let mut events = vec![ocsf::event(
        b"not JSON",
        0,
        "https://broker.example.org/node-1",
    )];
    for kind in kinds {
        for more in [&json!({}), &full, &odd] {
            let mut record =
                json!({ "v": 1, "seq": 7, "kind": kind, "time": "2027-01-15T08:00:00.000001Z" });
            record
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let line = serde_json::to_vec(&record).unwrap();
            events.push(ocsf::event(&line, 7, "https://broker.example.org/node-1"));
        }
    }
    assert_eq!(problems(&events).await, [""; 0]);
    let mut wrong = events[1].clone();
    wrong["severity_id"] = json!(42);
    assert_eq!(problems(&[wrong]).await.len(), 1);
    let mut wrong = events[1].clone();
    wrong.as_object_mut().unwrap().remove("user");
    assert_eq!(problems(&[wrong]).await.len(), 1);
}
