//! Leases: a token, then its successor, until the right or the broker is gone.

use crate::support::broker::{Broker, api_key, ask, claims, peer, refusal};
use crate::support::edge::within;
use cambist::proto::{ExchangeRequest, LeaseRequest, LeaseResponse, RevokeKeyRequest};
use prost_types::Duration;
use tonic::{Status, Streaming};

/// Of tokens that live so long.
fn of(seconds: i64, request: ExchangeRequest) -> LeaseRequest {
    let lifetime = Some(Duration { seconds, nanos: 0 });
    LeaseRequest {
        exchange: Some(ExchangeRequest {
            lifetime,
            ..request
        }),
    }
}

fn brief(request: ExchangeRequest) -> LeaseRequest {
    of(2, request)
}

async fn next(stream: &mut Streaming<LeaseResponse>) -> Result<Option<LeaseResponse>, Status> {
    within("the lease's next item", stream.message()).await
}

/// The refusal that the lease ends with, whatever it delivers before.
async fn end(stream: &mut Streaming<LeaseResponse>) -> String {
    loop {
        match next(stream).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the lease ended without a word"),
            Err(status) => return refusal(&status),
        }
    }
}

#[tokio::test]
async fn a_successor_comes_before_the_token_lapses() {
    let broker = Broker::start().await;
    let web = broker.svid("spiffe://example.org/web");
    let mut caller = broker.workload(&web).await.0;
    let mut lease = caller
        .lease(of(10, ask(peer(), "shop")))
        .await
        .unwrap()
        .into_inner();
    let mut said = async || {
        let item = next(&mut lease).await.unwrap().unwrap();
        let token = item.token.unwrap();
        let by = item.successor_by.unwrap();
        assert!(by.seconds <= token.expires_at.unwrap().seconds);
        claims(&token.access_token)
    };
    let (first, second) = (said().await, said().await);
    assert_ne!(second["jti"], first["jti"]);
    assert!(second["iat"].as_i64() <= first["exp"].as_i64(), "no gap");
}

#[tokio::test]
async fn a_lease_ends_with_its_credential() {
    let broker = Broker::start().await;
    let mut caller = broker.anybody().await.0;
    let request = brief(ask(api_key(broker.api_key()), "shop"));
    let mut lease = caller.lease(request.clone()).await.unwrap().into_inner();
    let token = next(&mut lease).await.unwrap().unwrap().token.unwrap();
    let id = token.credential_id.trim_start_matches("key:").to_owned();
    let revoke = RevokeKeyRequest {
        id,
        ..RevokeKeyRequest::default()
    };
    broker.inventory().await.revoke_key(revoke).await.unwrap();
    assert_eq!(end(&mut lease).await, "revoked");
    // The first refusal is the call's own answer.
    let status = caller.lease(request).await.unwrap_err();
    assert_eq!(refusal(&status), "credential_refused");
    let status = caller.lease(LeaseRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&status), "invalid_request");
}

#[tokio::test]
async fn a_drain_ends_every_lease_at_once() {
    let mut broker = Broker::start().await;
    let mut caller = broker.anybody().await.0;
    let long = LeaseRequest {
        exchange: Some(ask(api_key(broker.api_key()), "shop")),
    };
    let mut lease = caller.lease(long).await.unwrap().into_inner();
    next(&mut lease).await.unwrap().unwrap();
    let (ended, status) = tokio::join!(end(&mut lease), broker.terminate());
    assert_eq!(ended, "draining");
    assert!(status.success(), "{status}: {}", broker.stderr());
}

/// When a caller leaves, what was done for it ends: nothing is issued any more, and nothing waits.
#[tokio::test]
async fn a_caller_that_leaves_ends_its_lease() {
    let mut broker = Broker::start().await;
    let mut caller = broker.anybody().await.0;
    let request = brief(ask(api_key(broker.api_key()), "shop"));
    let mut lease = caller.lease(request).await.unwrap().into_inner();
    next(&mut lease).await.unwrap().unwrap();
    drop(lease);
    drop(caller);
    let by_key = |record: &&serde_json::Value| {
        record["kind"] == "issue" && record["credential_kind"] == "api_key"
    };
    let issued = || broker.records().iter().filter(by_key).count();
    // What is under way when it leaves may still come.
    let most = issued() + 1;
    // Another lease measures the time in which the first would have gone on.
    let web = broker.svid("spiffe://example.org/web");
    let mut other = broker.workload(&web).await.0;
    let mut lease = other
        .lease(brief(ask(peer(), "shop")))
        .await
        .unwrap()
        .into_inner();
    for _ in 0..3 {
        next(&mut lease).await.unwrap().unwrap();
    }
    drop(lease);
    assert!(issued() <= most);
    assert!(broker.terminate().await.success());
}
