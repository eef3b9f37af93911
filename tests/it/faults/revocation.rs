//! Revocations where nothing can be written, and under load: what the log shows of issue and revoke.

use super::load::{by_certificate, by_key, by_token, create};
use crate::support::broker::{Broker, Caller, Site, refusal};
use crate::support::edge::{until, within};
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{CheckRequest, RevokeRequest, RevokeResponse};
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tonic::transport::Channel;

/// The signal that a file grew over its limit is ignored, so that writes fail instead.
pub(super) const NO_SIGNAL: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

pub(super) async fn client(broker: &Broker) -> RevocationClient<Channel> {
    RevocationClient::new(broker.local().await)
}

async fn revoke(client: &mut RevocationClient<Channel>, thing: Thing) -> RevokeResponse {
    let request = RevokeRequest {
        thing: Some(thing),
        reason: "leaked".to_owned(),
        ..RevokeRequest::default()
    };
    client.revoke(request).await.unwrap().into_inner()
}

pub(super) async fn is_active(client: &mut RevocationClient<Channel>, token: &str) -> bool {
    let request = CheckRequest {
        token: token.to_owned(),
        ..CheckRequest::default()
    };
    client.check(request).await.unwrap().into_inner().active
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_in_force_all_the_same_and_nothing_is_issued_until_it_is() {
    let site = Site::new();
    let mut broker = site.run(site.wrapped(&NO_SIGNAL)).await;
    let mut admin = client(&broker).await;
    let (id, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    let caller = broker.anybody().await;
    let token = caller.yes(by_key(&secret)).await;
    let of_key = caller.yes(by_key(&secret)).await;
    let pid = Some(broker.pid());
    let limit = |current| Rlimit {
        current,
        maximum: None,
    };
    // Nothing can be written past the first page of any file.
    prlimit(pid, Resource::Fsize, limit(Some(4096))).unwrap();
    let answer = revoke(&mut admin, Thing::TokenId(token.token_id.clone())).await;
    assert!(!answer.durable && answer.revision.is_empty(), "{answer:?}");
    assert_eq!(answer.markers.len(), 1);
    assert!(!is_active(&mut admin, &token.access_token).await);
    assert!(is_active(&mut admin, &of_key.access_token).await);
    let answer = revoke(&mut admin, Thing::CredentialId(format!("key:{id}"))).await;
    assert!(!answer.durable);
    assert!(!is_active(&mut admin, &of_key.access_token).await);
    // Nobody gets a token now, whatever it is for.
    let status = broker
        .web()
        .await
        .exchange(by_certificate())
        .await
        .unwrap_err();
    let stopped = ["store_unavailable", "log_unavailable"];
    assert!(stopped.contains(&refusal(&status).as_str()), "{status:?}");
    let says = async || {
        let told = broker.until_ready(false).await;
        told.contains("a revocation is in force and not written")
    };
    until("the reason", says).await;
    // A store that broke off in the middle is not written to again before the next start: what was not durable is said
    // again then.
    prlimit(pid, Resource::Fsize, limit(None)).unwrap();
    // The log is well again, and the state still fresh: it is the revocation alone that keeps tokens back.
    let log_is_well = async || {
        !broker
            .until_ready(false)
            .await
            .contains(r#""condition":"log""#)
    };
    until("the log", log_is_well).await;
    for _ in 0..3 {
        let status = broker
            .web()
            .await
            .exchange(by_certificate())
            .await
            .unwrap_err();
        assert_eq!(refusal(&status), "store_unavailable");
    }
    broker.kill9().await;
    let mut broker = site.start().await;
    let mut admin = client(&broker).await;
    let answer = revoke(&mut admin, Thing::TokenId(token.token_id.clone())).await;
    assert!(answer.durable && !is_active(&mut admin, &token.access_token).await);
    broker.web().await.yes(by_certificate()).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
}

/// Whether the log shows an issue after a revocation that covers it. Checked from the log alone.
fn assert_nothing_follows_its_revocation(records: &[Value]) -> usize {
    let (mut tokens, mut credentials) = (HashMap::new(), HashSet::new());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut counted = 0;
    for record in records {
        match record["action"].as_str() {
            Some("marker.set") => {
                counted += 1;
                tokens.insert(text(&record["change"]["marker"]), record["seq"].clone());
                let target = text(&record["target"]);
                credentials.extend(target.strip_prefix("credential:").map(str::to_owned));
            }
            Some("key.revoke") => {
                counted += 1;
                credentials.insert(text(&record["credential"]));
            }
            _ if record["kind"] == "issue" => {
                for ancestor in record["lineage"]["l"].as_array().unwrap() {
                    let revoked = tokens.get(ancestor.as_str().unwrap());
                    assert!(revoked.is_none(), "{revoked:?}: {record}");
                }
                for credential in record["lineage"]["c"].as_array().unwrap() {
                    assert!(
                        !credentials.contains(credential.as_str().unwrap()),
                        "{record}"
                    );
                }
            }
            _ => {}
        }
    }
    counted
}

/// Makes tokens of `parent` until that is refused, and answers how many it got.
async fn keep_making(shop: Caller, parent: String, stop: Arc<AtomicBool>) -> usize {
    let mut made = 0;
    while !stop.load(Ordering::Acquire) {
        match shop.exchange(by_token(&parent)).await {
            Ok(_) => made += 1,
            Err(status) => {
                let code = refusal(&status);
                assert!(["token_refused", "revoked"].contains(&&*code), "{status:?}");
                return made;
            }
        }
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_nothing_is_issued_after_a_revocation_that_covers_it() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = client(&broker).await;
    let shop = broker.svid("spiffe://example.org/shop");
    let (_, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    let caller = broker.anybody().await;
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = if crate::support::long() { 200 } else { 20 };
    for round in 0..rounds {
        let parent = caller.yes(by_key(&secret)).await;
        let mut making = Vec::new();
        for _ in 0..4 {
            let (shop, stop) = (broker.workload(&shop).await, Arc::clone(&stop));
            let made = keep_making(shop, parent.access_token.clone(), stop);
            making.push(tokio::spawn(made));
        }
        // Once all of them are at it.
        let busy = async || broker.metric("tokens_issued_total").await > Some((round + 1) * 8);
        until("children", busy).await;
        let answer = revoke(&mut admin, Thing::TokenId(parent.token_id.clone())).await;
        assert!(answer.durable);
        // Acknowledged: nothing more comes of it, whoever asks.
        let late = broker.workload(&shop).await;
        assert_eq!(
            late.no(by_token(&parent.access_token)).await,
            "token_refused"
        );
        for made in making {
            within("a refusal", made).await.unwrap();
        }
    }
    assert_eq!(broker.terminate().await.code(), Some(0));
    let counted = assert_nothing_follows_its_revocation(&site.whole_log());
    assert_eq!(u64::try_from(counted).unwrap(), rounds);
}
