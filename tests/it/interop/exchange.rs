//! Strangers exchange each kind of credential, and strangers verify what they get.

use super::foreign::{Foreign, Said};
use crate::support::broker::Broker;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

const AUDIENCE: &str = "shop";

#[tokio::test]
async fn an_api_key_becomes_a_token_that_strangers_verify() {
    let broker = Broker::start().await;
    for client in Foreign::ALL {
        let reply = with_key(&broker, client, AUDIENCE).await.yes();
        let claims = verified(&broker, &reply).await;
        assert_eq!(
            claims["cnf"],
            Value::Null,
            "{client:?}: a key proves no other key"
        );
        assert_eq!(claims["jti"], reply["token_id"]);
    }
}

#[tokio::test]
async fn a_certificate_becomes_a_token_bound_to_it_that_strangers_verify() {
    let broker = Broker::start().await;
    let der = CertificateDer::from_pem_file(&broker.web.certificate).unwrap();
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &der));
    for client in Foreign::ALL {
        let reply = with_certificate(&broker, client, "certificate", &[], "")
            .await
            .yes();
        let claims = verified(&broker, &reply).await;
        assert_eq!(reply["bound"], json!(true));
        assert_eq!(claims["cnf"]["x5t#S256"], json!(thumbprint), "{client:?}");
        assert!(claims["sub"].as_str().unwrap().starts_with("spiffe://"));
    }
}

#[tokio::test]
async fn an_own_token_becomes_a_shorter_one_that_strangers_verify() {
    let broker = Broker::start().await;
    for client in Foreign::ALL {
        let reply = with_certificate(&broker, client, "certificate", &[], "")
            .await
            .yes();
        let first = verified(&broker, &reply).await;
        let token = reply["access_token"].as_str().unwrap();
        let lifetime = ["--lifetime", "60"];
        let reply = with_certificate(&broker, client, "token", &lifetime, token)
            .await
            .yes();
        let second = verified(&broker, &reply).await;
        assert_eq!(second["sub"], first["sub"], "{client:?}");
        assert_eq!(second["cnf"], first["cnf"], "bound stays bound");
        assert_ne!(second["jti"], first["jti"]);
        let life = second["exp"].as_u64().unwrap() - second["iat"].as_u64().unwrap();
        assert!(life <= 60 && second["exp"].as_u64() <= first["exp"].as_u64());
    }
}

#[tokio::test]
async fn a_token_is_for_its_audience_and_strangers_see_to_it() {
    let broker = Broker::start().await;
    let reply = with_key(&broker, Foreign::Python, AUDIENCE).await.yes();
    let token = reply["access_token"].as_str().unwrap();
    let [metadata, _] = metadata(&broker);
    let names = [
        "InvalidAudienceError",
        "ERR_JWT_CLAIM_VALIDATION_FAILED:aud",
    ];
    for (library, name) in Foreign::ALL.into_iter().zip(names) {
        let said = library.verify(&metadata, &broker.ca, "bank", token).await;
        assert_eq!(said.refused(), name);
    }
}

#[tokio::test]
async fn strangers_read_the_code_of_a_refusal() {
    let broker = Broker::start().await;
    for client in Foreign::ALL {
        let said = with_key(&broker, client, "no-such-audience").await;
        assert_eq!(said.refused(), "audience_unknown", "{client:?}");
        let arguments = arguments(&broker, AUDIENCE, "api_key");
        let said = client.exchange(&borrowed(&arguments), "cmb_garbage").await;
        assert_eq!(said.refused(), "credential_malformed", "{client:?}");
        let arguments = self::arguments(&broker, AUDIENCE, "certificate");
        let said = client.exchange(&borrowed(&arguments), "").await;
        assert_eq!(said.refused(), "certificate_missing", "{client:?}");
    }
}

async fn with_key(broker: &Broker, client: Foreign, audience: &str) -> Said {
    let arguments = arguments(broker, audience, "api_key");
    client
        .exchange(&borrowed(&arguments), broker.api_key())
        .await
}

async fn with_certificate(
    broker: &Broker,
    client: Foreign,
    subject: &str,
    more: &[&str],
    credential: &str,
) -> Said {
    let mut arguments = arguments(broker, AUDIENCE, subject);
    for (flag, path) in [
        ("--certificate", &broker.web.certificate),
        ("--key", &broker.web.key),
    ] {
        arguments.extend([flag.to_owned(), path.display().to_string()]);
    }
    let mut arguments = borrowed(&arguments);
    arguments.extend(more);
    client.exchange(&arguments, credential).await
}

fn arguments(broker: &Broker, audience: &str, subject: &str) -> Vec<String> {
    let target = broker.issuer.trim_start_matches("https://");
    let ca = broker.ca.display().to_string();
    [target, &ca, audience, "--subject", subject]
        .map(str::to_owned)
        .to_vec()
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// The claims, on which both libraries agree, each fed with another of the published documents.
async fn verified(broker: &Broker, reply: &Value) -> Value {
    assert_eq!(reply["token_type"], "Bearer");
    let token = reply["access_token"].as_str().unwrap();
    let mut claims = Vec::new();
    for (library, metadata) in Foreign::ALL.into_iter().zip(metadata(broker)) {
        let said = library.verify(&metadata, &broker.ca, AUDIENCE, token).await;
        claims.push(said.yes());
    }
    assert_eq!(claims[0], claims[1]);
    claims.swap_remove(0)
}

fn metadata(broker: &Broker) -> [String; 2] {
    let documents = ["oauth-authorization-server", "openid-configuration"];
    documents.map(|document| format!("{}/.well-known/{document}", broker.issuer))
}
