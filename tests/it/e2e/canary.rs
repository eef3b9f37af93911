//! Secrets where none belong: sent everywhere, found nowhere.

use super::described::{self, Method};
use crate::sinks::{Hook, section, until_taken};
use crate::support::broker::{Broker, api_key, ask, audience, peer, refusal, spec, token};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::{self as pb, ExchangeRequest, LeaseRequest};
use cambist::secret::api_key as text;
use prost::Message;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::slice::from_ref;
use tonic::transport::Channel;

/// A secret that is sent in every field that takes a text or bytes, to every method, is found nowhere (invariant 8).
#[tokio::test]
async fn a_canary_that_is_sent_everywhere_is_found_nowhere() {
    // Standard output is a file beside the others; what goes over a network is noted.
    let hook = Hook::plain().await;
    let mut broker = Broker::with(|setup| {
        setup.config += &section("out", "stdout", "");
        let more = format!("url = \"{}\"\nformat = \"ocsf\"", hook.url);
        setup.config += &section("siem", "webhook", &more);
    })
    .await;
    let random = cambist::clock::SystemRandomness::shared();
    let stranger = text::generate(&*random).unwrap().0.expose().to_owned();
    let made = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let web = broker.svid("spiffe://example.org/web");
    let issued = broker.workload(&web).await.yes(ask(peer(), "shop")).await;
    let mut turns = 0..;
    let guises = guises(&broker, &stranger);
    for (canary, texts) in [
        (&stranger, &guises[..]),
        (&made.secret, from_ref(&made.secret)),
        (&issued.access_token, from_ref(&issued.access_token)),
    ] {
        fields(&broker, canary, texts, &mut turns).await;
        credentials(&broker, canary).await;
        headers(&broker, canary).await;
    }
    for sink in ["out", "siem"] {
        until_taken(&broker, sink).await;
    }
    let (_, metrics) = broker.operations("/metrics").await.unwrap();
    // Everything that is written late is written by then.
    assert!(broker.terminate().await.success());
    assert!(broker.stderr().len() > 1_000, "it said something");
    let secrets = [
        &stranger,
        &made.secret,
        &issued.access_token,
        &broker.api_key().to_owned(),
    ];
    let forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    let secret = regex::bytes::Regex::new(&forms.join("|")).unwrap();
    assert!(!secret.is_match(metrics.as_bytes()));
    let sent = hook.asked();
    assert!(sent.len() > 10);
    for request in sent {
        assert!(!secret.is_match(&request.body));
        assert!(!secret.is_match(format!("{:?}", request.headers).as_bytes()));
    }
    for file in files(broker.folder.path()) {
        assert!(!secret.is_match(file.as_os_str().as_bytes()), "{file:?}");
        let found = secret.is_match(&fs::read(&file).unwrap());
        assert!(!found, "{} holds a secret", file.display());
    }
}

/// What is searched for of a secret, as patterns.
fn forms(secret: &str) -> Vec<String> {
    // Not even the part that matters, and not even where the rest was cut off.
    let (begin, end) = (&secret[..20], &secret[secret.len() - 40..]);
    // Bytes are written as one of these. Of what is a multiple of three, base64 does not depend on what follows.
    let whole = &begin[..18];
    let hex: String = begin.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        begin.to_owned(),
        end.to_owned(),
        STANDARD.encode(whole),
        URL_SAFE_NO_PAD.encode(whole),
        hex.to_uppercase(),
        hex,
    ];
    forms.iter().map(|form| regex::escape(form)).collect()
}

fn files(under: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        match path.metadata().unwrap() {
            about if about.is_dir() => found.extend(files(&path)),
            about if about.is_file() => found.push(path),
            // A socket.
            _ => {}
        }
    }
    found
}

const POLICY: &str = r#"permit (principal == Workload::"spiffe://example.org/x", action == Action::"exchange", resource);"#;

/// Texts that hold a secret and are otherwise what some field takes. Of paths, all are in the broker's folder.
fn guises(broker: &Broker, canary: &str) -> [String; 5] {
    [
        canary.to_owned(),
        format!("spiffe://example.org/{canary}"),
        format!("{}/{canary}", broker.folder.path().display()),
        format!("{POLICY} // {canary}"),
        format!("@id(\"{canary}\")\n{POLICY}"),
    ]
}

/// Fields that take bytes, lest nobody notices that they are left out.
const BYTES: [(&str, &str); 3] = [
    ("Revocation.Revoke", "certificate"),
    ("Revocation.Watch", "view"),
    ("Revocation.Check", "presenter_certificate_sha256"),
];

/// Puts each of `texts`, which hold the secret, into every field of every method, in a request that is sound but for it.
async fn fields(
    broker: &Broker,
    canary: &str,
    texts: &[String],
    turns: &mut impl Iterator<Item = u32>,
) {
    let web = broker.svid("spiffe://example.org/web");
    let strangers = [broker.channel(None).await, broker.channel(Some(&web)).await];
    let local = broker.local().await;
    let methods = described::methods();
    for (name, bytes) in BYTES {
        let method = methods.iter().find(|method| method.name == name).unwrap();
        let is_filled = method.texts.iter().any(|field| field.name == bytes);
        assert!(is_filled, "{name}: {bytes}");
    }
    for method in methods {
        let request = sound(broker, &method.name, turns).await;
        let answer = method.call(&local, request).await;
        assert!(answer.is_ok(), "{}: {answer:?}", method.name);
        for field in &method.texts {
            for text in texts {
                let mut request = sound(broker, &method.name, turns).await;
                request.extend(field.holding(text));
                is_not_echoed(&method, &field.name, &local, request, canary).await;
            }
            let mut request = sound(broker, &method.name, turns).await;
            request.extend(field.holding(canary));
            for stranger in &strangers {
                is_not_echoed(&method, &field.name, stranger, request.clone(), canary).await;
            }
        }
    }
}

async fn is_not_echoed(
    method: &Method,
    field: &str,
    channel: &Channel,
    request: Vec<u8>,
    canary: &str,
) {
    let told = match method.call(channel, request).await {
        Ok(reply) => reply,
        Err(status) => [status.message().as_bytes(), status.details()].concat(),
    };
    let echoed = String::from_utf8_lossy(&told).contains(canary);
    assert!(!echoed, "{} tells {field} back", method.name);
}

/// A request that is granted, once.
async fn sound(broker: &Broker, method: &str, turns: &mut impl Iterator<Item = u32>) -> Vec<u8> {
    let turn = turns.next().unwrap();
    let mut inventory = broker.inventory().await;
    let key = async || {
        let made = broker.create_key(spec(&["shop"], &[])).await;
        made.key.unwrap().id
    };
    let exchange = ask(api_key(broker.api_key()), "shop");
    let name = format!("canary-{turn}");
    let policy = format!("@id(\"{name}\")\n{POLICY}");
    let put_audience = pb::PutAudienceRequest {
        audience: Some(audience(&name)),
        ..Default::default()
    };
    let put_policies = pb::PutPoliciesRequest {
        name: name.clone(),
        text: policy.clone(),
        ..Default::default()
    };
    match method {
        "TokenExchange.Exchange" => exchange.encode_to_vec(),
        "TokenExchange.Lease" => LeaseRequest {
            exchange: Some(exchange),
        }
        .encode_to_vec(),
        "TokenExchange.Explain" => pb::ExplainRequest {
            subject: Some(pb::explain_request::Subject::KeyId(key().await)),
            audience: "shop".into(),
            ..Default::default()
        }
        .encode_to_vec(),
        "Inventory.CreateKey" => pb::CreateKeyRequest {
            spec: Some(spec(&["shop"], &[])),
            ..Default::default()
        }
        .encode_to_vec(),
        "Inventory.GetKey" => pb::GetKeyRequest { id: key().await }.encode_to_vec(),
        "Inventory.RotateKey" => pb::RotateKeyRequest {
            id: key().await,
            ..Default::default()
        }
        .encode_to_vec(),
        "Inventory.SuspendKey" => pb::SuspendKeyRequest {
            id: key().await,
            ..Default::default()
        }
        .encode_to_vec(),
        "Inventory.ResumeKey" => {
            let id = key().await;
            let suspend = pb::SuspendKeyRequest {
                id: id.clone(),
                ..Default::default()
            };
            inventory.suspend_key(suspend).await.unwrap();
            pb::ResumeKeyRequest {
                id,
                ..Default::default()
            }
            .encode_to_vec()
        }
        "Inventory.RevokeKey" => pb::RevokeKeyRequest {
            id: key().await,
            ..Default::default()
        }
        .encode_to_vec(),
        "Inventory.ReportLeak" => pb::ReportLeakRequest {
            secret: broker.create_key(spec(&["shop"], &[])).await.secret,
            ..Default::default()
        }
        .encode_to_vec(),
        "Inventory.PutAudience" => put_audience.encode_to_vec(),
        "Inventory.GetAudience" => pb::GetAudienceRequest {
            name: "shop".into(),
        }
        .encode_to_vec(),
        "Inventory.DeleteAudience" => {
            inventory.put_audience(put_audience).await.unwrap();
            pb::DeleteAudienceRequest {
                name,
                ..Default::default()
            }
            .encode_to_vec()
        }
        "Inventory.RotateSigningKey" => {
            let listed = inventory.list_signing_keys(pb::ListSigningKeysRequest::default());
            let mut keys = listed.await.unwrap().into_inner().keys.into_iter();
            // Otherwise it would have to wait for the next to be known everywhere.
            let active = keys.find(|key| key.state == "active").unwrap();
            pb::RotateSigningKeyRequest {
                compromised: active.kid,
                ..Default::default()
            }
            .encode_to_vec()
        }
        "Inventory.Backup" => pb::BackupRequest {
            path: broker.argument(&name),
        }
        .encode_to_vec(),
        "Audit.Show" => pb::ShowRequest {
            token_id: issued(broker).await,
        }
        .encode_to_vec(),
        "Audit.Prove" => pb::ProveRequest {
            record: Some(pb::prove_request::Record::TokenId(issued(broker).await)),
        }
        .encode_to_vec(),
        "Policy.CheckPolicies" => pb::CheckPoliciesRequest { text: policy }.encode_to_vec(),
        "Policy.PutPolicies" => put_policies.encode_to_vec(),
        "Policy.DeletePolicies" => {
            let put = broker.policy().await.put_policies(put_policies).await;
            put.unwrap();
            pb::DeletePoliciesRequest {
                name,
                ..Default::default()
            }
            .encode_to_vec()
        }
        "Revocation.Revoke" => pb::RevokeRequest {
            thing: Some(pb::revoke_request::Thing::TokenId(issued(broker).await)),
            ..Default::default()
        }
        .encode_to_vec(),
        "Revocation.Reinstate" => {
            let thing = pb::revoke_request::Thing::TokenId(issued(broker).await);
            let request = pb::RevokeRequest {
                thing: Some(thing),
                ..Default::default()
            };
            let mut client = RevocationClient::new(broker.local().await);
            let revoked = client.revoke(request).await.unwrap().into_inner();
            pb::ReinstateRequest {
                marker_id: revoked.markers[0].id.clone(),
                ..Default::default()
            }
            .encode_to_vec()
        }
        "Revocation.Check" => pb::CheckRequest {
            token: "none".into(),
            ..Default::default()
        }
        .encode_to_vec(),
        // Nothing is mandatory.
        "Revocation.ListMarkers" | "Revocation.Watch" => Vec::new(),
        "Audit.Query"
        | "Audit.Tail"
        | "Inventory.ListKeys"
        | "Inventory.ListAudiences"
        | "Inventory.ListSigningKeys"
        | "Inventory.ConfirmClock"
        | "Policy.ListPolicies" => Vec::new(),
        new => panic!("{new} is new: how is it called?"),
    }
}

/// A token that is on the record.
async fn issued(broker: &Broker) -> String {
    let exchange = ask(api_key(broker.api_key()), "shop");
    broker.anybody().await.yes(exchange).await.token_id
}

/// Every pair of credentials, with one or both of them the secret.
async fn credentials(broker: &Broker, canary: &str) {
    let web = broker.svid("spiffe://example.org/web");
    for caller in [broker.anybody().await, broker.workload(&web).await] {
        for subject in [api_key(canary), token(canary), peer()] {
            for actor in [api_key(canary), token(canary), peer()] {
                let request = ExchangeRequest {
                    actor: Some(actor),
                    ..ask(subject.clone(), "shop")
                };
                if let Err(status) = caller.exchange(request).await {
                    assert!(!status.message().contains(canary), "{}", refusal(&status));
                }
            }
        }
    }
}

/// Where a token is not read from, and what is not gRPC.
async fn headers(broker: &Broker, canary: &str) {
    let web = broker.svid("spiffe://example.org/web");
    for caller in [broker.anybody().await, broker.workload(&web).await] {
        let mut request = tonic::Request::new(ask(peer(), "shop"));
        for name in ["authorization", "x-api-key", "cookie"] {
            request.metadata_mut().insert(name, canary.parse().unwrap());
        }
        let _ = caller.0.clone().exchange(request).await;
    }
    for path in ["", "/.well-known/openid-configuration"] {
        for protocol in ["http/1.1", "h2"] {
            let mut client = broker.http(protocol).await;
            let _ = client.get(&format!("{path}/{canary}?key={canary}")).await;
        }
    }
}
