//! An owner's estate whose revocation a crash breaks off.

use crate::support::broker::{Broker, Site, api_key, ask, spec};
use crate::support::edge::until;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{ListKeysRequest, RevokeRequest};
use serde_json::Value;

/// So many that the crash comes before the last of them.
const COUNT: usize = 400;

async fn make(broker: &Broker, owner: &str) -> String {
    let mut spec = spec(&["shop"], &["orders:read"]);
    spec.owner = owner.to_owned();
    broker.create_key(spec).await.secret
}

/// The records of keys that were revoked.
fn revoked(broker: &Broker) -> Vec<Value> {
    let mut records = broker.records();
    records.retain(|record| record["action"] == "key.revoke");
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estate_that_a_crash_broke_off_is_revoked_to_its_end_by_the_next_start() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut keys = Vec::new();
    for _ in 0..COUNT {
        keys.push(make(&broker, "team-left").await);
    }
    let stays = make(&broker, "team-stays").await;
    let mut client = RevocationClient::new(broker.local().await);
    let asking = tokio::spawn(async move {
        let request = RevokeRequest {
            thing: Some(Thing::Owner("team-left".to_owned())),
            reason: "the team is no more".to_owned(),
            ..RevokeRequest::default()
        };
        client.revoke(request).await
    });
    until("the first key", async || !revoked(&broker).is_empty()).await;
    broker.kill9().await;
    asking.await.unwrap().unwrap_err();
    let before = revoked(&broker).len();
    assert!(before < COUNT, "it was over before the crash");

    broker.restart().await;
    let inventory = broker.inventory().await;
    let all_ended = async || {
        let request = ListKeysRequest {
            page_size: 500,
            owner: "team-left".to_owned(),
            ..ListKeysRequest::default()
        };
        let mut inventory = inventory.clone();
        let listed = inventory.list_keys(request).await.unwrap().into_inner();
        assert_eq!(listed.keys.len(), COUNT);
        listed.keys.iter().all(|key| key.state == "revoked")
    };
    until("the rest", all_ended).await;
    let anybody = broker.anybody().await;
    for key in &keys {
        let refused = anybody.no(ask(api_key(key), "shop")).await;
        assert_eq!(refused, "credential_refused");
    }
    anybody.yes(ask(api_key(&stays), "shop")).await;
    // Each once, in the name of whoever began it, and why.
    until("their records", async || revoked(&broker).len() == COUNT).await;
    let records = revoked(&broker);
    let mut targets: Vec<_> = records.iter().map(|record| &record["target"]).collect();
    targets.sort_by_key(|target| target.as_str());
    targets.dedup();
    assert_eq!(targets.len(), COUNT);
    for record in &records {
        assert_eq!(record["sub"], records[0]["sub"]);
        assert_eq!(record["change"]["reason"], "the team is no more");
    }
    // It is done: another key of theirs, and another start, and it goes on.
    let late = make(&broker, "team-left").await;
    broker.kill9().await;
    broker.restart().await;
    broker
        .anybody()
        .await
        .yes(ask(api_key(&late), "shop"))
        .await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert_eq!(revoked(&broker).len(), COUNT);
}
