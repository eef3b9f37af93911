//! Writes that are repeated, raced or based on an old revision.

use crate::support::broker::{Broker, api_key, ask, audience, refusal, spec};
use crate::support::edge::within;
use cambist::proto as pb;
use cambist::proto::inventory_client::InventoryClient;
use std::collections::BTreeSet;
use tonic::transport::Channel;

fn create(name: &str) -> pb::CreateKeyRequest {
    pb::CreateKeyRequest {
        spec: Some(spec(&["shop"], &["orders:read"])),
        idempotency_key: name.into(),
    }
}

/// The answer to [`create`].
async fn created(inventory: &mut InventoryClient<Channel>, name: &str) -> pb::CreateKeyResponse {
    let answer = inventory.create_key(create(name)).await;
    answer.unwrap().into_inner()
}

#[tokio::test]
async fn a_repeated_create_makes_one_key_and_tells_its_secret_once() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let first = created(&mut inventory, "build-7").await;
    let second = created(&mut inventory, "build-7").await;
    assert!(!first.already_delivered && second.already_delivered);
    assert!(second.secret.is_empty());
    assert_eq!(first.key, second.key);

    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let mut inventory = broker.inventory().await;
        racing.spawn(async move { inventory.create_key(create("race")).await });
    }
    let answers = within("every answer", racing.join_all()).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().into_inner())
        .collect();
    let ids: BTreeSet<_> = answers
        .iter()
        .map(|answer| &answer.key.as_ref().unwrap().id)
        .collect();
    let secrets = answers
        .iter()
        .filter(|answer| !answer.secret.is_empty())
        .count();
    assert_eq!((ids.len(), secrets), (1, 1));
    // Another name, another administrator, or none: another key. Another kind of call: refused.
    let other = created(&mut inventory, "build-8").await;
    assert_ne!(
        other.key.as_ref().unwrap().id,
        first.key.as_ref().unwrap().id
    );
    let admin = broker.svid("spiffe://example.org/admin");
    let mut remote = InventoryClient::new(broker.channel(Some(&admin)).await);
    let theirs = created(&mut remote, "build-7").await;
    assert!(
        !theirs.already_delivered,
        "nobody learns of another's calls"
    );
    let misused = pb::RevokeKeyRequest {
        id: other.key.unwrap().id,
        idempotency_key: "build-7".into(),
        ..Default::default()
    };
    assert_eq!(
        refusal(&inventory.revoke_key(misused).await.unwrap_err()),
        "conflict"
    );
}

#[tokio::test]
async fn every_write_can_be_repeated() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let made = created(&mut inventory, "").await.key.unwrap();
    let suspend = pb::SuspendKeyRequest {
        id: made.id.clone(),
        idempotency_key: "s".into(),
        expected_revision: made.revision,
        ..Default::default()
    };
    let first = inventory
        .suspend_key(suspend.clone())
        .await
        .unwrap()
        .into_inner();
    let resume = pb::ResumeKeyRequest {
        id: made.id.clone(),
        ..Default::default()
    };
    inventory.resume_key(resume).await.unwrap();
    // A late repeat does not suspend it once more.
    let late = inventory
        .suspend_key(suspend)
        .await
        .unwrap()
        .into_inner()
        .key
        .unwrap();
    assert_eq!(
        (first.key.unwrap().state.as_str(), late.state.as_str()),
        ("suspended", "active")
    );
    let rotate = pb::RotateKeyRequest {
        id: made.id,
        idempotency_key: "r".into(),
        ..Default::default()
    };
    let first = inventory
        .rotate_key(rotate.clone())
        .await
        .unwrap()
        .into_inner();
    let second = inventory.rotate_key(rotate).await.unwrap().into_inner();
    assert!(second.already_delivered && second.secret.is_empty() && first.key == second.key);
    let put = pb::PutAudienceRequest {
        audience: Some(audience("press")),
        idempotency_key: "p".into(),
        ..Default::default()
    };
    let first = inventory
        .put_audience(put.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        inventory.put_audience(put).await.unwrap().into_inner(),
        first
    );
    let delete = pb::DeleteAudienceRequest {
        name: "press".into(),
        idempotency_key: "d".into(),
        ..Default::default()
    };
    for _ in 0..2 {
        inventory.delete_audience(delete.clone()).await.unwrap();
    }
    let mut policy = broker.policy().await;
    let put = pb::PutPoliciesRequest {
        name: "press".into(),
        text: "@id(\"p\") forbid (principal, action, resource == Audience::\"vault\");".into(),
        idempotency_key: "pp".into(),
        ..Default::default()
    };
    let first = policy.put_policies(put.clone()).await.unwrap().into_inner();
    assert_eq!(policy.put_policies(put).await.unwrap().into_inner(), first);
    let delete = pb::DeletePoliciesRequest {
        name: "press".into(),
        idempotency_key: "pd".into(),
        ..Default::default()
    };
    for _ in 0..2 {
        policy.delete_policies(delete.clone()).await.unwrap();
    }
}

/// What holds for all things of a kind together holds when two are written at once; what goes together is written.
#[tokio::test]
async fn of_writes_that_do_not_go_together_one_happens() {
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    for round in 0..20 {
        for (alike, made) in [(true, 1), (false, 2)] {
            let mut audiences = tokio::task::JoinSet::new();
            let mut policies = tokio::task::JoinSet::new();
            for side in ["a", "b"] {
                let (mut inventory, mut policy) = (broker.inventory().await, broker.policy().await);
                let name = format!("{side}-{round}-{alike}");
                let shared = if alike {
                    format!("same-{round}")
                } else {
                    format!("own-{name}")
                };
                let put_audience = pb::PutAudienceRequest {
                    audience: Some(pb::Audience {
                        aliases: vec![shared.clone()],
                        ..audience(&name)
                    }),
                    ..Default::default()
                };
                let put_policies = pb::PutPoliciesRequest {
                    name,
                    text: format!(
                        "@id(\"{shared}\") forbid (principal, action, resource == Audience::\"{shared}\");"
                    ),
                    ..Default::default()
                };
                audiences.spawn(async move { inventory.put_audience(put_audience).await.is_ok() });
                policies.spawn(async move { policy.put_policies(put_policies).await.is_ok() });
            }
            for racing in [audiences, policies] {
                let done = within("every answer", racing.join_all()).await;
                assert_eq!(done.iter().filter(|done| **done).count(), made, "{alike}");
            }
            caller.yes(ask(api_key(broker.api_key()), "shop")).await;
        }
    }
}

/// A revocation that names no revision is not lost to somebody else's change.
#[tokio::test]
async fn a_revocation_wins_over_whatever_races_with_it() {
    let broker = Broker::start().await;
    for _ in 0..10 {
        let mut inventory = broker.inventory().await;
        let made = inventory.create_key(create("")).await.unwrap().into_inner();
        let id = made.key.unwrap().id;
        let mut racing = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (mut inventory, id) = (broker.inventory().await, id.clone());
            racing.spawn(async move {
                let (suspend, resume) = (
                    pb::SuspendKeyRequest {
                        id: id.clone(),
                        ..Default::default()
                    },
                    pb::ResumeKeyRequest {
                        id,
                        ..Default::default()
                    },
                );
                let _ = inventory.suspend_key(suspend).await;
                let _ = inventory.resume_key(resume).await;
            });
        }
        let revoke = pb::RevokeKeyRequest {
            id,
            ..Default::default()
        };
        let revoked = inventory.revoke_key(revoke).await.unwrap().into_inner();
        assert_eq!(revoked.key.unwrap().state, "revoked");
        within("the others", racing.join_all()).await;
    }
}

#[tokio::test]
async fn an_idempotency_key_stands_for_one_act_on_one_thing() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let made = inventory.create_key(create("")).await.unwrap().into_inner();
        ids.push(made.key.unwrap().id);
    }
    let rotate = |id: &str| pb::RotateKeyRequest {
        id: id.to_owned(),
        idempotency_key: "job-7".into(),
        ..Default::default()
    };
    inventory.rotate_key(rotate(&ids[0])).await.unwrap();
    let status = inventory.rotate_key(rotate(&ids[1])).await.unwrap_err();
    assert_eq!(refusal(&status), "conflict");
    let repeat = inventory.rotate_key(rotate(&ids[0])).await.unwrap();
    assert!(repeat.into_inner().already_delivered);
}

#[tokio::test]
async fn what_changed_meanwhile_is_not_overwritten() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let made = created(&mut inventory, "").await.key.unwrap();
    let stale = made.revision + 1_000;
    let id = || made.id.clone();
    let suspend = pb::SuspendKeyRequest {
        id: id(),
        expected_revision: stale,
        ..Default::default()
    };
    let rotate = pb::RotateKeyRequest {
        id: id(),
        expected_revision: stale,
        ..Default::default()
    };
    let revoke = pb::RevokeKeyRequest {
        id: id(),
        expected_revision: stale,
        ..Default::default()
    };
    for status in [
        inventory.suspend_key(suspend).await.unwrap_err(),
        inventory.rotate_key(rotate).await.unwrap_err(),
        inventory.revoke_key(revoke).await.unwrap_err(),
    ] {
        assert_eq!(
            (status.code(), &*refusal(&status)),
            (tonic::Code::Aborted, "conflict")
        );
    }
    let put = |revision| pb::PutAudienceRequest {
        audience: Some(audience("press")),
        expected_revision: revision,
        ..Default::default()
    };
    let revision = inventory
        .put_audience(put(0))
        .await
        .unwrap()
        .into_inner()
        .audience
        .unwrap()
        .revision;
    for expected in [0, revision + 1] {
        assert_eq!(
            refusal(&inventory.put_audience(put(expected)).await.unwrap_err()),
            "conflict"
        );
    }
    inventory.put_audience(put(revision)).await.unwrap();
    // What the file governs is not changed from here.
    let ours = pb::PutAudienceRequest {
        audience: Some(audience("shop")),
        ..Default::default()
    };
    inventory.put_audience(ours).await.unwrap_err();
    let shop = pb::DeleteAudienceRequest {
        name: "shop".into(),
        ..Default::default()
    };
    assert_eq!(
        refusal(&inventory.delete_audience(shop).await.unwrap_err()),
        "conflict"
    );
}
