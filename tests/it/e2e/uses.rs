//! Keys that can be used a finite number of times.

use crate::support::broker::{Broker, Caller, api_key, ask, audience, refusal, spec};
use crate::support::edge::{PATIENCE, until, within};
use cambist::limits;
use cambist::proto::token_exchange_client::TokenExchangeClient;
use cambist::proto::{
    Audience, CreateKeyResponse, ExplainRequest, GetKeyRequest, Key, KeySpec, LeaseRequest,
    PutAudienceRequest, RotateKeyRequest, explain_request,
};
use serde_json::Value;
use std::collections::HashSet;
use tokio::task::JoinSet;

async fn limited(broker: &Broker, uses: u32) -> CreateKeyResponse {
    let spec = KeySpec {
        uses,
        ..spec(&["shop"], &["orders:read"])
    };
    broker.create_key(spec).await
}

async fn shown(broker: &Broker, made: &CreateKeyResponse) -> Key {
    let id = made.key.as_ref().unwrap().id.clone();
    let mut inventory = broker.inventory().await;
    let shown = inventory.get_key(GetKeyRequest { id }).await.unwrap();
    shown.into_inner().key.unwrap()
}

/// Asks `times` at once over several connections; the tokens' ids and the refusals' codes.
async fn race(broker: &Broker, secret: &str, times: usize) -> (HashSet<String>, Vec<String>) {
    let callers = [broker.anybody().await, broker.anybody().await];
    let mut asking = JoinSet::new();
    for turn in 0..times {
        let caller: Caller = callers[turn % callers.len()].clone();
        let request = ask(api_key(secret), "shop");
        asking.spawn(async move { caller.exchange(request).await });
    }
    let (mut tokens, mut refusals) = (HashSet::new(), Vec::new());
    for answer in within("every answer", asking.join_all()).await {
        match answer {
            Ok(reply) => assert!(tokens.insert(reply.token_id)),
            Err(status) => refusals.push(refusal(&status)),
        }
    }
    (tokens, refusals)
}

#[tokio::test]
async fn a_race_gives_exactly_as_many_tokens_as_uses() {
    let broker = Broker::start().await;
    for uses in [1, 7] {
        let made = limited(&broker, uses).await;
        let (tokens, refusals) = race(&broker, &made.secret, 40).await;
        assert_eq!(tokens.len(), usize::try_from(uses).unwrap());
        assert!(
            refusals
                .iter()
                .all(|code| code == "credential_spent" || code == "too_busy"),
            "{refusals:?}"
        );
        assert_eq!(shown(&broker, &made).await.uses_left, 0);
        let caller = broker.anybody().await;
        let again = ask(api_key(&made.secret), "shop");
        assert_eq!(caller.no(again).await, "credential_spent");
    }
}

#[tokio::test]
async fn what_is_denied_spends_nothing() {
    let broker = Broker::start().await;
    let made = limited(&broker, 1).await;
    let caller = broker.anybody().await;
    for audience in ["billing", "vault", "nowhere", ""] {
        caller.no(ask(api_key(&made.secret), audience)).await;
    }
    let above = cambist::proto::ExchangeRequest {
        scopes: vec!["orders:write".into()],
        ..ask(api_key(&made.secret), "shop")
    };
    assert_eq!(caller.no(above).await, "scope_not_allowed");
    // A lease would ask again and again.
    let lease = LeaseRequest {
        exchange: Some(ask(api_key(&made.secret), "shop")),
    };
    let status = caller.0.clone().lease(lease).await.unwrap_err();
    assert_eq!(refusal(&status), "invalid_request");
    assert_eq!(shown(&broker, &made).await.uses_left, 1);
    caller.yes(ask(api_key(&made.secret), "shop")).await;
}

/// What no token can be made of is found out before a use is spent for it.
#[tokio::test]
async fn a_token_that_cannot_be_made_spends_nothing() {
    let broker = Broker::start().await;
    let long = |n: usize| {
        let scope = "s".repeat(limits::SCOPE - 4);
        format!("{scope}{n:04}")
    };
    let scopes: Vec<_> = (0..limits::SCOPES).map(long).collect();
    let names: Vec<_> = (0..limits::KEY_AUDIENCES)
        .map(|n| format!("{}{n:04}", "a".repeat(limits::AUDIENCE - 4)))
        .collect();
    let mut inventory = broker.inventory().await;
    for name in &names {
        let wide = Audience {
            scopes: scopes.clone(),
            ..audience(name)
        };
        let put = PutAudienceRequest {
            audience: Some(wide),
            ..PutAudienceRequest::default()
        };
        inventory.put_audience(put).await.unwrap();
    }
    let made = broker
        .create_key(KeySpec {
            uses: 1,
            audiences: names.clone(),
            scopes: scopes.clone(),
            ..spec(&[], &[])
        })
        .await;
    let caller = broker.anybody().await;
    let too_long = cambist::proto::ExchangeRequest {
        scopes: scopes.clone(),
        ..ask(api_key(&made.secret), &names[0])
    };
    assert_eq!(caller.no(too_long).await, "invalid_request");
    assert_eq!(shown(&broker, &made).await.uses_left, 1);
    let record = broker
        .record(|record| record["kind"] == "refuse" && record["code"] == "invalid_request")
        .await;
    let id = &made.key.as_ref().unwrap().id;
    assert_eq!(record["credential"], format!("key:{id}"));
    let modest = cambist::proto::ExchangeRequest {
        scopes: scopes[..1].to_vec(),
        ..ask(api_key(&made.secret), &names[0])
    };
    caller.yes(modest).await;
}

/// A replay of a key that was spent is how a stolen one shows.
#[tokio::test]
async fn a_spent_key_that_comes_again_is_on_the_record_and_explained() {
    let broker = Broker::start().await;
    let made = limited(&broker, 1).await;
    let id = made.key.as_ref().unwrap().id.clone();
    let caller = broker.anybody().await;
    let explain = async || {
        let request = ExplainRequest {
            subject: Some(explain_request::Subject::KeyId(id.clone())),
            audience: "shop".into(),
            ..ExplainRequest::default()
        };
        let mut local = TokenExchangeClient::new(broker.local().await);
        local.explain(request).await.unwrap().into_inner()
    };
    assert!(explain().await.allowed);
    caller.yes(ask(api_key(&made.secret), "shop")).await;
    let code = caller.no(ask(api_key(&made.secret), "shop")).await;
    assert_eq!(code, "credential_spent");
    let record = broker
        .record(|record| record["code"] == "credential_spent")
        .await;
    assert_eq!(record["credential"], format!("key:{id}"));
    assert!(record["policy"].is_object() && record["rules"].is_array());
    let told = explain().await;
    assert_eq!((told.allowed, &*told.code), (false, "credential_spent"));
}

#[tokio::test]
async fn a_crash_and_a_restart_keep_the_count() {
    let mut broker = Broker::start().await;
    let made = limited(&broker, 3).await;
    let secret = made.secret.clone();
    broker
        .anybody()
        .await
        .yes(ask(api_key(&secret), "shop"))
        .await;
    broker.kill9().await;
    broker.restart().await;
    assert_eq!(shown(&broker, &made).await.uses_left, 2);
    broker
        .anybody()
        .await
        .yes(ask(api_key(&secret), "shop"))
        .await;
    assert!(broker.terminate().await.success());
    broker.restart().await;
    let (tokens, _) = race(&broker, &secret, 8).await;
    assert_eq!(tokens.len(), 1);
}

#[tokio::test]
async fn rotation_carries_over_what_is_left() {
    let broker = Broker::start().await;
    let made = limited(&broker, 3).await;
    let caller = broker.anybody().await;
    caller.yes(ask(api_key(&made.secret), "shop")).await;
    let rotate = |overlap| RotateKeyRequest {
        id: made.key.as_ref().unwrap().id.clone(),
        overlap,
        ..RotateKeyRequest::default()
    };
    let mut inventory = broker.inventory().await;
    // Uses must not be there twice.
    let hour = prost_types::Duration {
        seconds: 3600,
        nanos: 0,
    };
    let status = inventory.rotate_key(rotate(Some(hour))).await.unwrap_err();
    assert_eq!(refusal(&status), "invalid_request");
    assert!(status.message().contains("overlap"), "{status}");
    let rotated = inventory.rotate_key(rotate(None)).await.unwrap();
    let next = rotated.into_inner();
    assert_eq!(next.key.as_ref().unwrap().uses_left, 2);
    assert_eq!(
        caller.no(ask(api_key(&made.secret), "shop")).await,
        "credential_refused"
    );
    let (tokens, _) = race(&broker, &next.secret, 8).await;
    assert_eq!(tokens.len(), 2);
}

/// How many uses of a key the log says were spent, and how many tokens were issued for it.
fn spent_and_issued(broker: &Broker, made: &CreateKeyResponse) -> (usize, usize) {
    let credential = format!("key:{}", made.key.as_ref().unwrap().id);
    let records = broker.records();
    let of_kind = |kind: &str| {
        let its = |record: &&Value| record["kind"] == kind && record["credential"] == credential;
        records.iter().filter(its).count()
    };
    (of_kind("spend"), of_kind("issue"))
}

/// A caller that goes away cannot stop the broker between what it spends and the record of what it issues.
#[tokio::test]
async fn callers_that_leave_lose_their_use_and_win_nothing() {
    let mut broker = Broker::start().await;
    let made = limited(&broker, 20).await;
    let store = rusqlite::Connection::open(broker.path("data/store.db")).unwrap();
    store.busy_timeout(PATIENCE).unwrap();
    for _ in 0..3 {
        let left = shown(&broker, &made).await.uses_left;
        let caller = broker.anybody().await;
        // While another program writes to the store, no commit comes to its end.
        store.execute_batch("BEGIN IMMEDIATE").unwrap();
        let asking: Vec<_> = (0..4)
            .map(|_| (caller.clone(), ask(api_key(&made.secret), "shop")))
            .map(|(caller, request)| tokio::spawn(async move { caller.exchange(request).await }))
            .collect();
        // Later calls of the same connection, which spend nothing, are answered: these have begun, and are gone.
        let another = || caller.yes(ask(api_key(broker.api_key()), "shop"));
        another().await;
        another().await;
        for call in asking {
            call.abort();
            assert!(call.await.is_err(), "its answer did not come first");
        }
        another().await;
        store.execute_batch("ROLLBACK").unwrap();
        until("the spend of a caller that left", async || {
            shown(&broker, &made).await.uses_left != left
        })
        .await;
    }
    let (tokens, _) = race(&broker, &made.secret, 40).await;
    assert!(tokens.len() < 20, "who left lost something");
    // When it has stopped, nothing is under way any more.
    assert!(broker.terminate().await.success());
    broker.restart().await;
    let used = 20 - shown(&broker, &made).await.uses_left as usize;
    assert_eq!(spent_and_issued(&broker, &made), (used, used));
}
