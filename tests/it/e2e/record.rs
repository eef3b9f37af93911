//! What the log holds of what happened, and what nothing holds.

use crate::support::broker::{Broker, api_key, ask, claims, delegated, peer, spec, token};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::proto::{self as pb, ExchangeRequest, ExchangeResponse};
use serde_json::Value;

/// A token from each kind of credential, and one with an actor.
async fn tokens(broker: &Broker) -> Vec<(&'static str, ExchangeResponse)> {
    let (web, shop) = (
        broker.svid("spiffe://example.org/web"),
        broker.svid("spiffe://example.org/shop"),
    );
    let (web, shop) = (broker.workload(&web).await, broker.workload(&shop).await);
    let key = broker
        .anybody()
        .await
        .yes(ask(api_key(&broker.api_key), "shop"))
        .await;
    let certificate = web.yes(ask(peer(), "shop")).await;
    let own = web.yes(ask(token(&certificate.access_token), "shop")).await;
    let acted = shop.yes(ask(token(&own.access_token), "billing")).await;
    vec![
        ("api_key", key),
        ("certificate", certificate),
        ("own_token", own),
        ("own_token", acted),
    ]
}

/// No kind of credential leaves anything out (OpenBao CVE-2026-46358).
#[tokio::test]
async fn every_token_is_on_the_record_with_what_decided() {
    let broker = Broker::start().await;
    for (kind, reply) in tokens(&broker).await {
        // The reply came after the record was durable: no waiting here.
        let records = broker.records();
        let is_its = |record: &&Value| record["jti"] == reply.token_id;
        let found: Vec<_> = records.iter().filter(is_its).collect();
        assert_eq!(found.len(), 1, "{kind}");
        let (record, said) = (found[0], claims(&reply.access_token));
        let sha256 = URL_SAFE_NO_PAD.encode(digest(&SHA256, reply.access_token.as_bytes()));
        assert_eq!(record["kind"], "issue");
        assert_eq!(record["token_sha256"], sha256);
        assert_eq!(record["credential_kind"], kind);
        for (field, claim) in [
            ("sub", "sub"),
            ("client_id", "client_id"),
            ("iat", "iat"),
            ("exp", "exp"),
            ("jti", "jti"),
        ] {
            assert_eq!(record[field], said[claim], "{kind} {field}");
        }
        assert_eq!(record["lineage"]["c"], said["cmb"]["c"]);
        assert_eq!(record["lineage"]["l"], said["cmb"]["l"]);
        assert_eq!(record["actors"][0], said["act"]["sub"], "{kind}");
        assert_eq!(record["grant"]["bound"], said["cnf"]["x5t#S256"], "{kind}");
        assert_eq!(record["grant"]["audience"], said["aud"]);
        assert!(!record["rules"].as_array().unwrap().is_empty());
        for field in ["time", "salt", "face", "peer", "credential", "ask", "kid"] {
            assert!(!record[field].is_null(), "{kind} has no {field}");
        }
        let policy = &record["policy"];
        for field in ["policies", "schema"] {
            assert!(policy[field].is_string(), "{kind} {field}: {policy}");
        }
        assert_eq!(
            record["seq"].as_u64(),
            reply.receipt.map(|receipt| receipt.index)
        );
        assert!(!record.to_string().contains(&reply.access_token));
    }
}

/// Denials are recorded like issues, with their reasons (teleport#54249).
#[tokio::test]
async fn every_refusal_is_on_the_record_with_its_reason() {
    let broker = Broker::start().await;
    let web = broker.svid("spiffe://example.org/web");
    let web = broker.workload(&web).await;
    let anybody = broker.anybody().await;
    let issued = web.yes(ask(peer(), "shop")).await;
    let other = broker.svid("spiffe://example.org/other");
    let other = broker.workload(&other).await;
    let scoped = ExchangeRequest {
        scopes: vec!["orders:delete".into()],
        ..ask(peer(), "shop")
    };
    let own = || token(&issued.access_token);
    for (caller, request, kind) in [
        (&anybody, ask(api_key(&broker.api_key), "vault"), "api_key"),
        (
            &anybody,
            ask(api_key(&broker.api_key), "nowhere"),
            "api_key",
        ),
        (&web, scoped, "certificate"),
        (&other, ask(own(), "shop"), ""),
        (&web, delegated(peer(), peer(), "shop"), ""),
        (&web, ask(token("nonsense"), "shop"), ""),
    ] {
        let code = caller.no(request).await;
        let denied = broker.record(|record| record["code"] == code).await;
        assert_eq!(denied["kind"], "refuse", "{code}");
        assert!(
            denied["detail"].is_string() && !denied["ask"].is_null(),
            "{code}: {denied}"
        );
        if !kind.is_empty() {
            assert_eq!(denied["credential_kind"], kind, "{code}");
        }
    }
    // What nobody in particular did is counted, by reason and network.
    anybody.no(ask(api_key("garbage"), "shop")).await;
    let is_count = |record: &Value| {
        let text = record.to_string();
        text.contains("credential_malformed") && text.contains("127.0.0.0/24")
    };
    broker.record(is_count).await;
}

/// What an administrator does is on the record with who did it, and with what it changed.
#[tokio::test]
async fn every_administrative_act_is_on_the_record() {
    let broker = Broker::start().await;
    let made = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let id = made.key.unwrap().id;
    let revoke = pb::RevokeKeyRequest {
        id: id.clone(),
        reason: "it was seen in a chat".into(),
        ..Default::default()
    };
    broker.inventory().await.revoke_key(revoke).await.unwrap();
    let uid = rustix::process::getuid().as_raw();
    for action in ["key.create", "key.revoke"] {
        // The call was answered, so its record is durable.
        let its =
            |record: &Value| record["action"] == action && record["target"] == format!("key:{id}");
        let records = broker.records();
        let record = records.iter().find(|record| its(record)).expect(action);
        assert_eq!(record["sub"], format!("uid:{uid}"));
        assert_eq!(record["owner"], "team-shop");
        assert!(record["store"].is_object() && record["change"].is_object());
    }
    let records = broker.records();
    let sequences: Vec<_> = records
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    let expected: Vec<_> = (0..u64::try_from(records.len()).unwrap()).collect();
    assert_eq!(sequences, expected, "nothing is missing in between");
}
