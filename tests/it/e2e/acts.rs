//! What was done to the broker, and by whom, is on the record.

use crate::support::broker::{Broker, InProcess, Site, api_key, ask, audience, spec};
use crate::support::clock::testing::TestClock;
use cambist::limits;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{self as pb, KeySpec};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Where an act is done whose record is looked at.
pub(crate) enum Met {
    /// By [`every_administrative_act_is_on_the_record`].
    Here,
    /// By another test.
    By(&'static str),
}

use Met::{By, Here};

/// Every act that the code records: `tests/it/house` takes them from the source.
pub(crate) const ACTS: &[(&str, Met)] = &[
    ("audience.delete", Here),
    ("audience.put", Here),
    ("broker.start", Here),
    ("broker.stop", Here),
    ("clock.confirm", Here),
    ("estate.revoke", Here),
    ("key.create", Here),
    ("key.leaked", Here),
    ("key.resume", Here),
    ("key.revoke", Here),
    ("key.rotate", Here),
    ("key.spend", Here),
    ("key.suspend", Here),
    (
        "log.checkpoint",
        By(
            "sinks::checkpoints::whoever_keeps_what_a_sink_was_sent_has_checkpoints_that_convict_another_past",
        ),
    ),
    (
        "log.prune",
        By("e2e::archive::old_segments_are_compressed_and_then_removed_and_the_rest_verifies"),
    ),
    ("marker.reinstate", Here),
    ("marker.set", Here),
    (
        "outbox.unreadable",
        By("audit::tests::outbox::an_entry_that_is_no_record_holds_nothing_up_and_breaks_nothing"),
    ),
    ("policy.delete", Here),
    ("policy.put", Here),
    (
        "policy.reload",
        By("e2e::reloads::files_that_are_read_again_are_on_the_record"),
    ),
    (
        "recovery.accept_rollback",
        By("faults::store::a_store_that_is_gone_is_not_replaced_by_an_empty_one"),
    ),
    (
        "recovery.replay",
        By("faults::backup::a_backup_gives_nothing_back_that_was_taken_away_since"),
    ),
    ("signing_key.compromise", Here),
    ("signing_key.create", Here),
    (
        "signing_key.rotate",
        By("e2e::acts::keys_that_are_rotated_are_on_the_record"),
    ),
    (
        "signing_key.upkeep",
        By("e2e::acts::keys_that_are_rotated_are_on_the_record"),
    ),
    ("store.backup", Here),
    (
        "trust.reload",
        By("e2e::reloads::files_that_are_read_again_are_on_the_record"),
    ),
];

/// What the record of an act has to say.
struct Act {
    action: &'static str,
    kind: &'static str,
    /// Whether the administrator did it, or the broker itself.
    by_admin: bool,
    target: Value,
    owner: Option<&'static str>,
    /// Of what changed, at least these.
    change: Value,
}

impl Act {
    fn admin(action: &'static str, target: String, change: Value) -> Self {
        Self {
            action,
            kind: "admin",
            by_admin: true,
            target: target.into(),
            owner: None,
            change,
        }
    }

    fn of(self, owner: &'static str) -> Self {
        let owner = Some(owner);
        Self { owner, ..self }
    }

    fn on_ring(action: &'static str, by_admin: bool, reason: &str) -> Self {
        let (kind, change) = ("keys", json!({ "reason": reason }));
        Self {
            kind,
            by_admin,
            ..Self::admin(action, "ring:access-token".to_owned(), change)
        }
    }

    fn of_broker(action: &'static str, kind: &'static str, target: Value, change: Value) -> Self {
        Self {
            kind,
            by_admin: false,
            target,
            ..Self::admin(action, String::new(), change)
        }
    }

    /// Whether it is there, by whom it was done.
    fn check(&self, records: &[Value]) {
        let record = records.iter().find(|record| self.is_of(record));
        let record = record.unwrap_or_else(|| {
            let mut named = records.to_vec();
            named.retain(|record| record["action"] == self.action);
            panic!("{} of {}: {named:#?}", self.action, self.target)
        });
        assert_eq!(record["kind"], self.kind, "{record}");
        assert_eq!(record["owner"].as_str(), self.owner, "{record}");
        let uid = self.by_admin.then(|| rustix::process::getuid().as_raw());
        let who = uid.map(|uid| format!("uid:{uid}"));
        assert_eq!(record["sub"].as_str(), who.as_deref(), "{record}");
        let came = record["peer"]["uid"].as_u64();
        assert_eq!(came, uid.map(u64::from), "{record}");
    }

    fn is_of(&self, record: &Value) -> bool {
        let change = self.change.as_object().unwrap();
        record["action"] == self.action
            && record["target"] == self.target
            && change
                .iter()
                .all(|(name, value)| record["change"][name] == *value)
    }
}

fn reason(action: &str) -> String {
    format!("why {action}")
}

/// Acts on keys.
async fn on_keys(broker: &Broker) -> Vec<Act> {
    let mut inventory = broker.inventory().await;
    let made = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let id = made.key.unwrap().id;
    let target = format!("key:{id}");
    let suspend = pb::SuspendKeyRequest {
        id: id.clone(),
        reason: reason("key.suspend"),
        ..Default::default()
    };
    inventory.suspend_key(suspend).await.unwrap();
    let resume = pb::ResumeKeyRequest {
        id: id.clone(),
        reason: reason("key.resume"),
        ..Default::default()
    };
    inventory.resume_key(resume).await.unwrap();
    let rotate = pb::RotateKeyRequest {
        id: id.clone(),
        ..Default::default()
    };
    let next = inventory.rotate_key(rotate).await.unwrap().into_inner();
    let next = next.key.unwrap().id;
    let leaked = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let leak = pb::ReportLeakRequest {
        secret: leaked.secret,
        url: "https://ci.example.org/jobs/17".to_owned(),
        reason: reason("key.leaked"),
        ..Default::default()
    };
    inventory.report_leak(leak).await.unwrap();
    let revoke = pb::RevokeKeyRequest {
        id: next.clone(),
        reason: reason("key.revoke"),
        ..Default::default()
    };
    inventory.revoke_key(revoke).await.unwrap();
    let few = broker
        .create_key(KeySpec {
            uses: 2,
            ..spec(&["shop"], &["orders:read"])
        })
        .await;
    let caller = broker.anybody().await;
    caller.yes(ask(api_key(&few.secret), "shop")).await;
    let few = few.key.unwrap().id;
    let moved = |action, state: &str| {
        let change = json!({ "state": state, "reason": reason(action) });
        Act::admin(action, target.clone(), change).of("team-shop")
    };
    vec![
        Act::admin("key.create", target.clone(), json!({})).of("team-shop"),
        moved("key.suspend", "suspended"),
        moved("key.resume", "active"),
        Act::admin("key.rotate", target.clone(), json!({ "successor": next })).of("team-shop"),
        Act {
            target: format!("key:{}", leaked.key.unwrap().id).into(),
            ..moved("key.leaked", "revoked")
        },
        Act {
            target: format!("key:{next}").into(),
            ..moved("key.revoke", "revoked")
        },
        Act {
            owner: Some("team-shop"),
            ..Act::of_broker(
                "key.spend",
                "spend",
                format!("key:{few}").into(),
                json!({ "uses_left": 1 }),
            )
        },
    ]
}

/// Acts on what all have in common.
async fn on_others(broker: &Broker) -> Vec<Act> {
    let mut inventory = broker.inventory().await;
    let put = pb::PutAudienceRequest {
        audience: Some(audience("press")),
        ..Default::default()
    };
    inventory.put_audience(put).await.unwrap();
    let delete = pb::DeleteAudienceRequest {
        name: "press".to_owned(),
        ..Default::default()
    };
    inventory.delete_audience(delete).await.unwrap();
    let mut policy = broker.policy().await;
    let put = pb::PutPoliciesRequest {
        name: "closing-time".to_owned(),
        text: "@id(\"closed\") forbid (principal, action, resource == Audience::\"vault\");".into(),
        ..Default::default()
    };
    let put = policy.put_policies(put).await.unwrap().into_inner();
    let delete = pb::DeletePoliciesRequest {
        name: "closing-time".to_owned(),
        ..Default::default()
    };
    policy.delete_policies(delete).await.unwrap();
    let copy = broker.argument("copy.db");
    let backup = pb::BackupRequest { path: copy.clone() };
    inventory.backup(backup).await.unwrap();
    let confirm = pb::ConfirmClockRequest {};
    inventory.confirm_clock(confirm).await.unwrap();
    let nothing = || json!({});
    vec![
        Act::admin("audience.put", "audience:press".into(), nothing()).of("team-press"),
        Act::admin("audience.delete", "audience:press".into(), nothing()).of("team-press"),
        Act::admin(
            "policy.put",
            "policy:closing-time".into(),
            json!({ "set": put.policy_revision }),
        ),
        Act::admin("policy.delete", "policy:closing-time".into(), nothing()),
        Act {
            target: Value::Null,
            ..Act::admin("store.backup", String::new(), json!({ "path": copy }))
        },
        Act {
            target: Value::Null,
            ..Act::admin("clock.confirm", String::new(), nothing())
        },
    ]
}

/// Revocations.
async fn on_markers(broker: &Broker) -> Vec<Act> {
    let subject = "spiffe://example.org/taken-over";
    let mut revocation = RevocationClient::new(broker.local().await);
    let revoke = |thing, why: &str| pb::RevokeRequest {
        thing: Some(thing),
        reason: reason(why),
        ..Default::default()
    };
    let set = pb::RevokeRequest {
        ban: true,
        ..revoke(Thing::Subject(subject.to_owned()), "marker.set")
    };
    let set = revocation.revoke(set).await.unwrap().into_inner();
    let marker = set.markers[0].id.clone();
    let reinstate = pb::ReinstateRequest {
        marker_id: marker.clone(),
        reason: reason("marker.reinstate"),
        ..Default::default()
    };
    revocation.reinstate(reinstate).await.unwrap();
    let mut left = spec(&["shop"], &["orders:read"]);
    left.owner = "team-left".to_owned();
    broker.create_key(left).await;
    let estate = revoke(Thing::Owner("team-left".to_owned()), "estate.revoke");
    revocation.revoke(estate).await.unwrap();
    let moved = |action, state: &str| {
        let change = json!({ "marker": marker, "state": state, "reason": reason(action) });
        Act::admin(action, format!("subject:{subject}"), change)
    };
    vec![
        moved("marker.set", "set"),
        moved("marker.reinstate", "reinstated"),
        Act::admin(
            "estate.revoke",
            "owner:team-left".into(),
            json!({ "reason": reason("estate.revoke") }),
        )
        .of("team-left"),
    ]
}

/// Rotations of signing keys.
async fn on_rings(broker: &Broker) -> Vec<Act> {
    let mut inventory = broker.inventory().await;
    let ring = inventory.list_signing_keys(pb::ListSigningKeysRequest::default());
    let ring = ring.await.unwrap().into_inner();
    let active = ring.keys.iter().find(|key| key.state == "active").unwrap();
    let compromise = pb::RotateSigningKeyRequest {
        compromised: active.kid.clone(),
        reason: reason("signing_key.compromise"),
        ..Default::default()
    };
    inventory.rotate_signing_key(compromise).await.unwrap();
    vec![
        Act::on_ring("signing_key.create", false, ""),
        Act::on_ring(
            "signing_key.compromise",
            true,
            &reason("signing_key.compromise"),
        ),
    ]
}

/// What an administrator does, and what the broker does by itself, is on the record with who did it, and with what it changed.
#[tokio::test]
async fn every_administrative_act_is_on_the_record() {
    let mut broker = Broker::start().await;
    let mut acts = on_keys(&broker).await;
    acts.extend(on_others(&broker).await);
    acts.extend(on_markers(&broker).await);
    acts.extend(on_rings(&broker).await);
    // Each call was answered, so its record is durable: no waiting here.
    let records = broker.records();
    let checked = broker.argument("cambist.toml");
    let checked = broker
        .run_as_admin(&["check-config", &checked, "--json"])
        .await;
    let start = json!({
        "version": env!("CARGO_PKG_VERSION"), "configuration_sha256": checked.json()["digest"],
    });
    acts.push(Act::of_broker("broker.start", "start", Value::Null, start));
    for act in &acts {
        act.check(&records);
    }
    broker.terminate().await;
    let records = broker.records();
    let stop = Act {
        change: json!({}),
        ..Act::of_broker("broker.stop", "stop", Value::Null, json!({}))
    };
    stop.check(&records);
    acts.push(stop);
    let here = ACTS.iter().filter(|(_, met)| matches!(met, Here));
    for (action, _) in here {
        assert!(
            acts.iter().any(|act| act.action == *action),
            "{action} is not done"
        );
    }
    let sequences: Vec<_> = records
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    let expected: Vec<_> = (0..u64::try_from(records.len()).unwrap()).collect();
    assert_eq!(sequences, expected, "nothing is missing in between");
}

/// By an administrator, once the spare is known everywhere; and by the broker itself, at the next look at their age.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_rotated_are_on_the_record() {
    const NOW: i64 = 1_800_000_000;
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    let pass = |time: Duration| clock.advance(u32::try_from(time.as_secs()).unwrap());
    pass(limits::PUBLISH_AHEAD);
    let rotate = pb::RotateSigningKeyRequest {
        reason: reason("signing_key.rotate"),
        ..Default::default()
    };
    let mut inventory = broker.inventory().await;
    inventory.rotate_signing_key(rotate).await.unwrap();
    Act::on_ring("signing_key.rotate", true, &reason("signing_key.rotate"))
        .check(&broker.records());
    pass(limits::ROTATE_AFTER);
    let record = broker
        .record(|record| record["action"] == "signing_key.upkeep")
        .await;
    Act::on_ring("signing_key.upkeep", false, "").check(std::slice::from_ref(&record));
    let keys = record["change"]["keys"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["state"] == "active"), "{record}");
    broker.stop().await;
}
