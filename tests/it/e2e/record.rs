//! What the log holds of what happened, and what nothing holds.

use crate::support::broker::{
    Broker, Caller, api_key, ask, audience, claims, delegated, peer, refusal, spec, token,
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::proto::inventory_client::InventoryClient;
use cambist::proto::policy_client::PolicyClient;
use cambist::proto::{self as pb, ExchangeRequest, ExchangeResponse, KeySpec};
use cambist::secret::api_key as text;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

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
        .yes(ask(api_key(broker.api_key()), "shop"))
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
        (&anybody, ask(api_key(broker.api_key()), "vault"), "api_key"),
        (
            &anybody,
            ask(api_key(broker.api_key()), "nowhere"),
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

/// A secret that is sent in every field that takes a text, to every method, is found nowhere (invariant 8).
#[tokio::test]
async fn a_canary_that_is_sent_everywhere_is_found_nowhere() {
    let mut broker = Broker::start().await;
    let random = cambist::clock::SystemRandomness::shared();
    let canaries: Vec<String> = (0..2)
        .map(|_| text::generate(&*random).unwrap().0.expose().to_owned())
        .collect();
    let made = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let web = broker.svid("spiffe://example.org/web");
    let issued = broker.workload(&web).await.yes(ask(peer(), "shop")).await;
    for canary in canaries.iter().chain([&made.secret, &issued.access_token]) {
        exchanges(&broker, canary).await;
        administers(&broker, canary).await;
    }
    let (_, metrics) = broker.operations("/metrics").await.unwrap();
    // Everything that is written late is written by then.
    assert!(broker.terminate().await.success());
    let mut searched = files(&broker.path("data"));
    searched.extend(["stdout", "stderr"].map(|name| broker.path(name)));
    assert!(broker.stderr().len() > 1_000, "it said something");
    for canary in canaries.iter().map(String::as_str).chain([
        &*made.secret,
        &issued.access_token,
        broker.api_key(),
    ]) {
        // Neither whole nor the part that matters.
        for part in [canary, &canary[canary.len() - 40..]] {
            assert!(!metrics.contains(part));
            for file in &searched {
                let bytes = fs::read(file).unwrap();
                let found = bytes
                    .windows(part.len())
                    .any(|window| window == part.as_bytes());
                assert!(!found, "{} holds a secret", file.display());
            }
        }
    }
}

async fn exchanges(broker: &Broker, canary: &str) {
    let web = broker.svid("spiffe://example.org/web");
    let callers = [broker.anybody().await, broker.workload(&web).await];
    let secret = || canary.to_owned();
    let credentials = || [api_key(canary), token(canary), peer()];
    for caller in callers {
        for credential in credentials() {
            for actor in [None, Some(api_key(canary)), Some(token(canary))] {
                let request = ExchangeRequest {
                    actor,
                    ..ask(credential.clone(), "shop")
                };
                let _ = caller.exchange(request.clone()).await;
                for wrong in [
                    ExchangeRequest {
                        audience: secret(),
                        ..request.clone()
                    },
                    ExchangeRequest {
                        scopes: vec![secret()],
                        ..request.clone()
                    },
                    ExchangeRequest {
                        may_act: secret(),
                        ..request.clone()
                    },
                ] {
                    if let Err(status) = caller.exchange(wrong).await {
                        assert!(!status.message().contains(canary), "{}", refusal(&status));
                    }
                }
            }
        }
        let kinds = pb::Token {
            value: secret(),
            r#type: secret(),
        };
        let kinds = pb::Credential {
            kind: Some(pb::credential::Kind::Token(kinds)),
        };
        let _ = caller.exchange(ask(kinds, "shop")).await;
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

/// What is kept and listed is no place for a credential, and is refused when one is pasted into it.
async fn administers(broker: &Broker, canary: &str) {
    let secret = || canary.to_owned();
    let good = || spec(&["shop"], &[]);
    let specs = [
        KeySpec {
            owner: secret(),
            ..good()
        },
        KeySpec {
            purpose: format!("for {canary}"),
            ..good()
        },
        KeySpec {
            audiences: vec![secret()],
            ..good()
        },
        KeySpec {
            scopes: vec![secret()],
            ..good()
        },
        KeySpec {
            networks: vec![secret()],
            ..good()
        },
        KeySpec {
            tenant: secret(),
            ..good()
        },
        KeySpec {
            labels: [(secret(), "a".into())].into(),
            ..good()
        },
        KeySpec {
            labels: [("a".into(), secret())].into(),
            ..good()
        },
    ];
    let mut stranger = InventoryClient::new(broker.channel(None).await);
    let mut local = broker.inventory().await;
    for spec in specs {
        let create = pb::CreateKeyRequest {
            spec: Some(spec),
            idempotency_key: secret(),
        };
        stranger.create_key(create.clone()).await.unwrap_err();
        let status = local.create_key(create).await.unwrap_err();
        assert!(!status.message().contains(canary));
    }
    for audience in [
        pb::Audience {
            name: secret(),
            ..audience("a")
        },
        pb::Audience {
            aliases: vec![secret()],
            ..audience("a")
        },
        pb::Audience {
            owner: secret(),
            ..audience("a")
        },
        pb::Audience {
            servers: vec![format!("spiffe://{canary}")],
            ..audience("a")
        },
        pb::Audience {
            scopes: vec![secret()],
            ..audience("a")
        },
        pb::Audience {
            tenant: secret(),
            ..audience("a")
        },
    ] {
        let put = pb::PutAudienceRequest {
            audience: Some(audience),
            idempotency_key: secret(),
            ..Default::default()
        };
        local.put_audience(put).await.unwrap_err();
    }
    let named = local
        .list_keys(pb::ListKeysRequest::default())
        .await
        .unwrap()
        .into_inner();
    let id = named.keys[0].id.clone();
    let suspend = pb::SuspendKeyRequest {
        id,
        reason: secret(),
        ..Default::default()
    };
    local.suspend_key(suspend).await.unwrap_err();
    let mut inventory = broker.inventory().await;
    let get = pb::GetKeyRequest { id: secret() };
    inventory.get_key(get).await.unwrap_err();
    let revoke = pb::RevokeKeyRequest {
        id: secret(),
        reason: secret(),
        idempotency_key: secret(),
        ..Default::default()
    };
    inventory.revoke_key(revoke).await.unwrap_err();
    let rotate = pb::RotateKeyRequest {
        id: secret(),
        idempotency_key: secret(),
        ..Default::default()
    };
    inventory.rotate_key(rotate).await.unwrap_err();
    let list = pb::ListKeysRequest {
        page_token: secret(),
        owner: secret(),
        ..Default::default()
    };
    let _ = inventory.list_keys(list).await;
    let name = pb::GetAudienceRequest { name: secret() };
    let _ = inventory.get_audience(name).await;
    let rotate = pb::RotateSigningKeyRequest {
        compromised: secret(),
        reason: secret(),
        idempotency_key: secret(),
    };
    inventory.rotate_signing_key(rotate).await.unwrap_err();
    let check = pb::CheckPoliciesRequest { text: secret() };
    let mut policy = PolicyClient::new(broker.local().await);
    let _ = policy.check_policies(check).await;
    let put = pb::PutPoliciesRequest {
        text: secret(),
        name: "p".into(),
        idempotency_key: secret(),
        ..Default::default()
    };
    policy.put_policies(put).await.unwrap_err();
    let explain = pb::ExplainRequest {
        subject: Some(pb::explain_request::Subject::KeyId(secret())),
        audience: secret(),
        source_address: secret(),
        ..Default::default()
    };
    Caller::new(broker.local().await)
        .0
        .explain(explain)
        .await
        .unwrap_err();
}

fn files(under: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
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
