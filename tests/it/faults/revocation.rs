//! Revocations where nothing can be written, and under load: what the log shows of issue and revoke.

use super::load::{by_certificate, by_key, by_token, create, suspend};
use crate::support::broker::{Broker, Caller, Site, Svid, claims, refusal};
use crate::support::edge::{until, within};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::audit::Revocations;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{
    CheckRequest, ExchangeResponse, ReinstateRequest, ResumeKeyRequest, RevokeRequest,
    RevokeResponse,
};
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;
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

/// What is revoked while tokens are made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Token,
    Key,
    Subject,
    SigningKey,
    Certificate,
    /// Taken back while it is asked for.
    Client,
    TrustDomain,
    Suspended,
}

impl Way {
    const ALL: [Self; 8] = [
        Self::Token,
        Self::Key,
        Self::Subject,
        Self::SigningKey,
        Self::Certificate,
        Self::Client,
        Self::TrustDomain,
        Self::Suspended,
    ];

    fn is_taken_back(self) -> bool {
        matches!(self, Self::Client | Self::TrustDomain | Self::Suspended)
    }
}

/// A token, and who makes others of it.
struct Round {
    way: Way,
    key: String,
    parent: ExchangeResponse,
    shop: Svid,
}

impl Round {
    /// Revokes, and answers with the marker's id, where it has one of its own.
    async fn revoke(&self, broker: &Broker) -> String {
        let parent = &self.parent;
        let sub = || {
            claims(&parent.access_token)["sub"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let thing = match self.way {
            Way::Token => Thing::TokenId(parent.token_id.clone()),
            Way::Key => Thing::CredentialId(parent.credential_id.clone()),
            Way::Subject => Thing::Subject(sub()),
            Way::SigningKey => Thing::SigningKey(kid(&parent.access_token)),
            Way::Certificate => Thing::Certificate(self.shop.leaf.to_vec()),
            Way::Client => Thing::Subject(SHOP.to_owned()),
            Way::TrustDomain => Thing::TrustDomain("example.org".to_owned()),
            Way::Suspended => {
                let mut inventory = broker.inventory().await;
                suspend(&mut inventory, &self.key).await.unwrap();
                return String::new();
            }
        };
        let request = RevokeRequest {
            thing: Some(thing),
            reason: "leaked".to_owned(),
            ban: matches!(self.way, Way::Client | Way::TrustDomain),
            ..RevokeRequest::default()
        };
        let answer = client(broker).await.revoke(request).await.unwrap();
        let answer = answer.into_inner();
        assert!(answer.durable);
        answer.markers[0].id.clone()
    }

    async fn take_back(&self, broker: &Broker, marker: String) {
        if self.way == Way::Suspended {
            let request = ResumeKeyRequest {
                id: self.key.clone(),
                reason: "found".to_owned(),
                ..ResumeKeyRequest::default()
            };
            let resumed = broker.inventory().await.resume_key(request).await;
            return drop(resumed.unwrap());
        }
        let request = ReinstateRequest {
            marker_id: marker,
            reason: "it was another".to_owned(),
            ..ReinstateRequest::default()
        };
        client(broker).await.reinstate(request).await.unwrap();
    }
}

const SHOP: &str = "spiffe://example.org/shop";
const REVOKED: [&str; 3] = ["token_refused", "revoked", "credential_refused"];

/// Makes tokens of `parent` until that is refused, or where it is taken back until told to stop.
async fn keep_making(shop: Caller, parent: String, stop: Arc<AtomicBool>, way: Way) {
    while !stop.load(Ordering::Acquire) {
        if let Err(status) = shop.exchange(by_token(&parent)).await {
            let code = refusal(&status);
            // The next one of a parent that was made in the second of a cut-off is refused for good.
            let is_revoked = code == "too_busy" || REVOKED.contains(&&*code);
            assert!(is_revoked, "{way:?}: {status:?}");
            if !way.is_taken_back() {
                return;
            }
        }
    }
}

fn read(records: &[Value]) -> Revocations {
    let mut read = Revocations::default();
    for record in records {
        read.read(record.to_string().as_bytes());
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_nothing_is_issued_after_a_revocation_that_covers_it() {
    let site = Site::new();
    let mut broker = site.start().await;
    let caller = broker.anybody().await;
    let rounds = if crate::support::long() { 200 } else { 24 };
    for way in Way::ALL.into_iter().cycle().take(rounds) {
        let (key, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
        let round = Round {
            way,
            key,
            parent: caller.yes(by_key(&secret)).await,
            shop: broker.svid(SHOP),
        };
        let parent = &round.parent.access_token;
        let (mut making, stop) = (Vec::new(), Arc::<AtomicBool>::default());
        let issued = async || broker.metric("tokens_issued_total").await.unwrap();
        let before = issued().await;
        for _ in 0..4 {
            let (shop, stop) = (broker.workload(&round.shop).await, Arc::clone(&stop));
            let made = keep_making(shop, parent.clone(), stop, way);
            making.push(tokio::spawn(made));
        }
        // Once all of them are at it.
        until("children", async || issued().await >= before + 8).await;
        let marker = round.revoke(&broker).await;
        // Acknowledged: nothing more comes of it, whoever asks.
        let late = broker.workload(&round.shop).await;
        let code = late.no(by_token(parent)).await;
        assert!(REVOKED.contains(&&*code), "{way:?}: {code}");
        if way.is_taken_back() {
            let before = issued().await;
            round.take_back(&broker, marker).await;
            until("more", async || issued().await >= before + 8).await;
            stop.store(true, Ordering::Release);
        }
        for made in making {
            within("the end", made).await.unwrap();
        }
    }
    assert_eq!(broker.terminate().await.code(), Some(0));
    site.verify_log(&mut Vec::new());
    let records = site.whole_log();
    let whole = read(&records);
    assert_eq!((whole.late(), whole.doubt()), (None, None));
    assert_eq!(whole.count(), rounds as u64);
    assert_each_would_be_found(&records);
}

/// Had the last issue before each revocation come after it.
fn assert_each_would_be_found(records: &[Value]) {
    let mut found = 0;
    let mut read = Revocations::default();
    let mut child = None;
    for record in records {
        let count = read.count();
        read.read(record.to_string().as_bytes());
        if record["kind"] == "issue" && record["made_from"]["subject"].is_string() {
            child = Some(record);
        }
        if read.count() > count {
            let mut after = read.clone();
            let child = child.unwrap();
            after.read(child.to_string().as_bytes());
            let late = after
                .late()
                .or(after.doubt())
                .unwrap_or_else(|| panic!("{record}"));
            assert_eq!((late.issue, late.revocation), (seq(child), seq(record)));
            found += 1;
        }
    }
    assert_eq!(found, read.count());
}

fn seq(record: &Value) -> u64 {
    record["seq"].as_u64().unwrap()
}

fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap());
    let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}
