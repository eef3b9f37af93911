//! How much one request may hold: each bound at n, and at one more.

use crate::support::broker::{Broker, api_key, ask, audience, from_now, refusal, spec};
use cambist::limits;
use cambist::proto as pb;

/// Writes at n are done, and at n + 1 refused for what they hold.
fn assert_bound<T: std::fmt::Debug>(
    what: &str,
    at: Result<T, tonic::Status>,
    over: Result<T, tonic::Status>,
) {
    assert!(at.is_ok(), "{what}: {at:?}");
    assert_eq!(refusal(&over.unwrap_err()), "invalid_request", "{what}");
}

#[tokio::test]
async fn what_a_key_is_made_of_has_bounds() {
    type Fill = fn(usize) -> pb::KeySpec;
    let bounds: [(_, _, Fill); 3] = [
        ("audiences", limits::KEY_AUDIENCES, |n| {
            spec(&vec!["shop"; n], &[])
        }),
        ("networks", limits::NETWORKS, |n| pb::KeySpec {
            networks: (0..n).map(|i| format!("10.0.{i}.0/24")).collect(),
            ..spec(&["shop"], &[])
        }),
        ("labels", limits::LABELS, |n| pb::KeySpec {
            labels: (0..n).map(|i| (format!("l{i}"), "x".into())).collect(),
            ..spec(&["shop"], &[])
        }),
    ];
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let mut create = async |spec: pb::KeySpec, idempotency_key: String| {
        let request = pb::CreateKeyRequest {
            spec: Some(spec),
            idempotency_key,
        };
        inventory.create_key(request).await
    };
    for (what, n, fill) in bounds {
        let at = create(fill(n), String::new()).await;
        assert_bound(what, at, create(fill(n + 1), String::new()).await);
    }
    let shop = || spec(&["shop"], &[]);
    let name = |length| "i".repeat(length);
    let at = create(shop(), name(limits::IDEMPOTENCY_KEY)).await;
    let over = create(shop(), name(limits::IDEMPOTENCY_KEY + 1)).await;
    assert_bound("idempotency key", at, over);
    // The broker's clock goes on between asking and answering: a minute is more than that, and less than a life.
    let life = i64::try_from(limits::MAX_KEY_LIFE.as_secs()).unwrap();
    let until = |seconds| pb::KeySpec {
        expires_at: Some(from_now(seconds)),
        ..shop()
    };
    let at = create(until(life), String::new()).await;
    assert_bound("life", at, create(until(life + 60), String::new()).await);
}

#[tokio::test]
async fn who_may_act_and_who_serves_is_no_longer_than_a_spiffe_id() {
    let id = |length: usize| {
        let start = "spiffe://example.org/";
        format!("{start}{}", "x".repeat(length - start.len()))
    };
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let mut put = async |server: String| {
        let audience = pb::Audience {
            servers: vec![server],
            ..audience("press")
        };
        let request = pb::PutAudienceRequest {
            audience: Some(audience),
            ..Default::default()
        };
        inventory.put_audience(request).await
    };
    let over = put(id(limits::SPIFFE_ID + 1)).await;
    assert_bound("a server", put(id(limits::SPIFFE_ID)).await, over);
    let caller = broker.anybody().await;
    let act = async |sub: String| {
        let request = pb::ExchangeRequest {
            may_act: sub,
            ..ask(api_key(broker.api_key()), "shop")
        };
        caller.exchange(request).await
    };
    let at = act(id(limits::SPIFFE_ID)).await;
    assert_bound("may_act", at, act(id(limits::SPIFFE_ID + 1)).await);
}
