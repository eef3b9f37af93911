//! Each kind of record has its class, and nothing of any is lost.

use super::event;
use crate::audit::testing::{Memory, context, minted, open};
use crate::audit::{Act, ActKind, KINDS, Record};
use crate::id::CredentialId;
use proptest::prelude::*;
use serde_json::{Value, json};

const ORIGIN: &str = "https://broker.example.org/node-1";

fn mapped(record: &Value) -> Value {
    event(&serde_json::to_vec(record).unwrap(), 7, ORIGIN)
}

fn record(kind: &str, more: Value) -> Value {
    let mut record = json!({ "v": 1, "seq": 7, "kind": kind, "time": "2027-01-15T08:00:00.001000Z", "salt": "s", "batch": 6 });
    record
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    record
}

#[test]
fn each_kind_has_its_class_activity_status_and_severity() {
    let action = |action: &str| json!({ "action": action });
    for (kind, more, expected) in [
        ("issue", json!({}), (3002, 1, 1, 1)),
        ("refuse", json!({}), (3002, 1, 2, 2)),
        ("refusals", json!({}), (3002, 1, 2, 2)),
        ("admin", action("key.create"), (6003, 1, 1, 1)),
        ("admin", action("audience.put"), (6003, 3, 1, 1)),
        ("admin", action("key.revoke"), (6003, 4, 1, 1)),
        ("admin", action("key.leaked"), (6003, 4, 1, 1)),
        ("admin", action("store.backup"), (6003, 99, 1, 1)),
        ("keys", action("signing_key.create"), (3004, 1, 1, 1)),
        ("keys", action("signing_key.rotate"), (3004, 3, 1, 1)),
        ("keys", action("signing_key.compromise"), (3004, 11, 1, 1)),
        ("spend", action("key.spend"), (3004, 99, 1, 1)),
        ("start", action("broker.start"), (6002, 3, 1, 1)),
        ("stop", action("broker.stop"), (6002, 4, 1, 1)),
        ("recovery", action("recovery.x"), (6002, 99, 1, 2)),
        ("retention", action("log.prune"), (6002, 99, 1, 1)),
        ("checkpoint", action("log.checkpoint"), (6002, 99, 1, 1)),
        ("admin", action("policy.reload"), (6003, 3, 1, 1)),
        ("gap", json!({}), (6008, 1, 2, 4)),
        ("new", json!({}), (0, 99, 0, 4)),
    ] {
        let event = mapped(&record(kind, more));
        let number = |name: &str| event[name].as_u64().unwrap();
        let found = (
            number("class_uid"),
            number("activity_id"),
            number("status_id"),
            number("severity_id"),
        );
        assert_eq!(found, expected, "{kind}");
        assert_eq!(number("type_uid"), expected.0 * 100 + expected.1);
        assert_eq!(number("category_uid"), expected.0 / 1000);
        assert_eq!(event["time"], 1_800_000_000_001_i64);
        assert_eq!(event["metadata"]["uid"], format!("{ORIGIN}/7"));
        assert_eq!(event["metadata"]["event_code"], kind);
    }
}

/// Records that the log itself made.
#[tokio::test]
async fn a_token_is_a_session_of_its_bearer_at_its_audience() {
    let device = Memory::new();
    let opened = open(&device);
    opened.log.issue(minted(1), &context()).await.unwrap();
    let act = Act {
        credential: Some(CredentialId::ApiKey(crate::audit::testing::key_id())),
        sub: Some("local user 0"),
        ..Act::new(ActKind::Admin, "key.suspend")
    };
    opened.log.event(&act).await.unwrap();
    let records = device.power_cut().records();
    let issue = mapped(&records[0]);
    assert_eq!(issue["session"]["uid"], records[0]["jti"]);
    assert_eq!(issue["session"]["issuer"], "https://broker.example.org");
    assert_eq!(
        issue["session"]["created_time"],
        records[0]["iat"].as_i64().unwrap() * 1000
    );
    assert_eq!(issue["user"]["credential_uid"], records[0]["credential"]);
    assert_eq!(issue["service"]["name"], records[0]["grant"]["audience"]);
    assert_eq!(issue["src_endpoint"]["ip"], "192.0.2.7");
    assert_eq!(
        issue["unmapped"]["token_sha256"],
        records[0]["token_sha256"]
    );
    let admin = mapped(&records[1]);
    assert_eq!(admin["actor"]["user"]["uid"], "local user 0");
    assert_eq!(admin["api"]["operation"], "key.suspend");
    assert_eq!(admin["resources"][0]["uid"], records[1]["credential"]);
    // An outbox entry is a record as well.
    assert!(Record::from_outbox(b"{\"kind\":\"admin\"}").is_ok());
}

#[test]
fn no_kind_is_unknown() {
    for kind in KINDS {
        let event = mapped(&record(kind, json!({})));
        assert_ne!(event["class_uid"], 0, "{kind}");
    }
}

#[test]
fn a_summary_says_how_many_and_since_when() {
    let refused = json!([{ "code": "a", "count": 3 }, { "code": "b", "count": 4, "network": "192.0.2.0/24" }]);
    let summary = record(
        "refusals",
        json!({ "since": "2027-01-15T07:59:59.000000Z", "refused": refused }),
    );
    let event = mapped(&summary);
    assert_eq!(event["count"], 7);
    assert_eq!(event["start_time"], 1_799_999_999_000_i64);
    assert_eq!(event["end_time"], event["time"]);
    assert_eq!(event["unmapped"]["refused"], refused);
}

#[test]
fn what_is_no_record_is_an_event_all_the_same() {
    let event = event(b"{\"v\":1,\xff", 7, ORIGIN);
    assert_eq!(event["class_uid"], 0);
    assert_eq!(event["raw_data"], "{\"v\":1,\u{fffd}");
}

/// All texts and numbers anywhere in a value.
fn leaves(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| leaves(one, into)),
        Value::Object(all) => all.values().for_each(|one| leaves(one, into)),
        Value::Null => {}
        Value::String(text) => into.push(text.clone()),
        other => into.push(other.to_string()),
    }
}

proptest! {
    /// Every value of every member turns up in the event, whatever the member holds, but for instants, which are put in
    /// milliseconds.
    #[test]
    fn nothing_is_lost(
        kind in prop::sample::select(KINDS.iter().copied().chain(["new"]).collect::<Vec<_>>()),
        members in prop::collection::btree_map(
            prop::sample::select(vec!["sub", "credential", "owner", "tenant", "action", "target", "code", "detail", "client_id", "peer_id", "jti", "request", "change", "ask", "since"]),
            prop_oneof!["[a-z]{6,12}".prop_map(Value::from), any::<u32>().prop_map(Value::from), Just(json!({ "audience": "shop" }))],
            0..12,
        ),
    ) {
        let more = serde_json::to_value(&members).unwrap();
        let mapped = mapped(&record(kind, more.clone()));
        let (mut before, mut after) = (Vec::new(), Vec::new());
        leaves(&more, &mut before);
        leaves(&mapped, &mut after);
        for leaf in before {
            prop_assert!(after.contains(&leaf), "{leaf} of {members:?} is not in {mapped}");
        }
    }
}
