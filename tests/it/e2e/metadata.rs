//! What is published, over both protocols; the standard services; what is not there.

use crate::support::broker::{Broker, api_key, ask, claims, peer, token};
use cambist::proto::{ListSigningKeysRequest, RotateSigningKeyRequest, SigningKey};
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

const DOCUMENTS: [&str; 2] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
];

async fn published(broker: &Broker) -> BTreeSet<String> {
    let mut client = broker.http("h2").await;
    let (_, _, document) = client.get(DOCUMENTS[0]).await.unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let keys = document["jwks_uri"].as_str().unwrap();
    let path = keys.strip_prefix(&broker.issuer).unwrap();
    let (_, _, keys) = client.get(path).await.unwrap();
    assert!(!keys.contains("\"d\""), "a private part is published");
    let keys: Value = serde_json::from_str(&keys).unwrap();
    let kids = keys["keys"].as_array().unwrap().iter();
    kids.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn ring(broker: &Broker) -> Vec<SigningKey> {
    let mut inventory = broker.inventory().await;
    let listed = inventory
        .list_signing_keys(ListSigningKeysRequest::default())
        .await;
    listed.unwrap().into_inner().keys
}

fn kid(of: &str) -> String {
    use base64::Engine as _;
    let header = of.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// Letters that mean something in routes mean nothing in an issuer.
#[tokio::test]
async fn an_issuers_path_is_served_as_it_stands() {
    let broker = Broker::with(|setup| {
        setup.config = setup.config.replacen("\"\nnode", "/:prod/*a\"\nnode", 1);
    })
    .await;
    let mut client = broker.http("h2").await;
    let path = "/:prod/*a/.well-known/openid-configuration";
    let (status, _, body) = client.get(path).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let document: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["issuer"], format!("{}/:prod/*a", broker.issuer));
    let elsewhere = path.replace("prod", "test");
    let (status, _, _) = client.get(&elsewhere).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn documents_and_keys_are_served_over_both_protocols() {
    let broker = Broker::start().await;
    for protocol in ["http/1.1", "h2"] {
        let mut client = broker.http(protocol).await;
        for path in DOCUMENTS {
            let (status, headers, body) = client.get(path).await.unwrap();
            assert_eq!(status, StatusCode::OK, "{protocol} {path}");
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(headers["cache-control"], "public, max-age=300");
            let document: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(document["issuer"], json!(broker.issuer), "byte for byte");
        }
        for path in [
            "/",
            "/.well-known/nothing",
            "/metrics",
            "/readyz",
            "/healthz",
        ] {
            let (status, _, _) = client.get(path).await.unwrap();
            assert_eq!(status, StatusCode::NOT_FOUND, "{protocol} {path}");
        }
    }
    let signs = kid(&broker
        .anybody()
        .await
        .yes(ask(api_key(broker.api_key()), "shop"))
        .await
        .access_token);
    let kids = published(&broker).await;
    assert!(
        kids.contains(&signs) && kids.len() == 2,
        "the key that signs and a spare"
    );
}

#[tokio::test]
async fn a_compromised_key_is_distrusted_at_once_and_for_good() {
    let mut broker = Broker::start().await;
    let web = broker.svid("spiffe://example.org/web");
    let caller = broker.workload(&web).await;
    let before = caller.yes(ask(peer(), "shop")).await.access_token;
    let bad = kid(&before);
    let spare = ring(&broker)
        .await
        .into_iter()
        .find(|key| key.state == "prepared")
        .unwrap()
        .kid;
    let request = RotateSigningKeyRequest {
        compromised: bad.clone(),
        reason: "it leaked".into(),
        idempotency_key: "once".into(),
    };
    let mut inventory = broker.inventory().await;
    for _ in 0..2 {
        // A repeat does not distrust the next one too.
        inventory.rotate_signing_key(request.clone()).await.unwrap();
    }
    assert_eq!(
        caller.no(ask(token(&before), "shop")).await,
        "token_refused"
    );
    let after = caller.yes(ask(peer(), "shop")).await.access_token;
    assert_eq!(kid(&after), spare);
    let kids = published(&broker).await;
    assert!(!kids.contains(&bad) && kids.contains(&spare) && kids.len() == 2);
    broker.kill9().await;
    broker.restart().await;
    let caller = broker.workload(&web).await;
    assert_eq!(
        caller.no(ask(token(&before), "shop")).await,
        "token_refused"
    );
    caller.yes(ask(token(&after), "shop")).await;
    assert_eq!(published(&broker).await, kids);
}

/// Caches may not have the spare yet, so an ordinary rotation waits; tokens go on verifying meanwhile.
#[tokio::test]
async fn a_rotation_before_its_time_is_refused_and_says_when() {
    let broker = Broker::start().await;
    let kids = published(&broker).await;
    let status = broker
        .inventory()
        .await
        .rotate_signing_key(RotateSigningKeyRequest::default())
        .await
        .unwrap_err();
    assert_eq!(crate::support::broker::refusal(&status), "conflict");
    assert!(status.message().contains("may not sign before"), "{status}");
    assert_eq!(published(&broker).await, kids);
}

#[tokio::test]
async fn health_and_reflection_are_there() {
    let broker = Broker::start().await;
    let channel = broker.channel(None).await;
    let mut health = HealthClient::new(channel.clone());
    let answer = health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(
        answer.into_inner().status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
    let services = services(&broker).await;
    for name in ["TokenExchange", "Inventory", "Policy"] {
        let name = format!("cambist.v1.{name}");
        assert!(
            services.iter().any(|service| service.name == name),
            "{services:?}"
        );
    }
}

async fn services(broker: &Broker) -> Vec<ServiceResponse> {
    let mut reflection = ServerReflectionClient::new(broker.channel(None).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    match answer.message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => list.service,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_unimplemented() {
    let broker = Broker::start().await;
    let mut client = tonic::client::Grpc::new(broker.channel(None).await);
    for path in [
        "/cambist.v1.TokenExchange/Impersonate",
        "/cambist.v1.Nothing/Exchange",
        "/cambist.v2.TokenExchange/Exchange",
    ] {
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let answer = client.unary(tonic::Request::new(()), path, codec).await;
        assert_eq!(answer.unwrap_err().code(), tonic::Code::Unimplemented);
    }
    let said = claims(
        &broker
            .anybody()
            .await
            .yes(ask(api_key(broker.api_key()), "shop"))
            .await
            .access_token,
    );
    assert_eq!(said["aud"], "shop");
}
