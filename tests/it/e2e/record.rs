//! What the log holds of what happened, and what nothing holds.

use crate::support::broker::{Broker, Caller, api_key, ask, claims, delegated, peer, spec, token};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::limits;
use cambist::proto::{self as pb, ExchangeRequest, ExchangeResponse, KeySpec};
use cambist::refusal::Code;
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

/// The request that meets a refusal, and the kind of its credential where that was verified; or, where no exchange of
/// somebody in particular does, what becomes of it.
type Meeting<'a> = Result<(&'a Caller, ExchangeRequest, Option<&'static str>), &'static str>;

/// Who and what it takes.
struct World {
    anybody: Caller,
    web: Caller,
    other: Caller,
    shop: Caller,
    key: String,
    abroad: String,
    spent: String,
    martian: String,
    token: String,
    forged: String,
    of_till: String,
    last: String,
}

impl World {
    async fn new(broker: &Broker) -> Self {
        let workload = async |name: &str| {
            let svid = broker.svid(&format!("spiffe://example.org/{name}"));
            broker.workload(&svid).await
        };
        let (anybody, web) = (broker.anybody().await, workload("web").await);
        let key = async |spec| broker.create_key(spec).await.secret;
        let plain = || spec(&["shop"], &["orders:read"]);
        let abroad = KeySpec {
            networks: vec!["203.0.113.0/24".into()],
            ..plain()
        };
        let martian = KeySpec {
            labels: [("planet".into(), "mars".into())].into(),
            ..plain()
        };
        let spent = key(KeySpec { uses: 1, ..plain() }).await;
        anybody.yes(ask(api_key(&spent), "shop")).await;
        let of_till = ExchangeRequest {
            may_act: "spiffe://example.org/till".into(),
            ..ask(peer(), "shop")
        };
        let of_till = web.yes(of_till).await.access_token;
        let first = web.yes(ask(peer(), "shop")).await.access_token;
        let (unsigned, _) = first.rsplit_once('.').unwrap();
        let (_, signature) = of_till.rsplit_once('.').unwrap();
        let mut last = first.clone();
        for _ in 1..limits::ANCESTORS {
            last = web.yes(ask(token(&last), "shop")).await.access_token;
        }
        Self {
            other: workload("other").await,
            shop: workload("shop").await,
            key: broker.api_key().to_owned(),
            abroad: key(abroad).await,
            martian: key(martian).await,
            forged: format!("{unsigned}.{signature}"),
            anybody,
            web,
            spent,
            token: first,
            of_till,
            last,
        }
    }

    fn meeting(&self, code: Code) -> Meeting<'_> {
        let key = || ask(api_key(&self.key), "shop");
        let named = |audience: &str| ask(api_key(&self.key), audience);
        let web = || ask(peer(), "shop");
        let own = |text: &str| ask(token(text), "shop");
        let (anybody, by_key) = (&self.anybody, Some("api_key"));
        let by_certificate = Some("certificate");
        let asked = |caller, request, kind| Ok((caller, request, kind));
        match code {
            Code::InvalidRequest => asked(&self.web, ask(peer(), ""), None),
            Code::CombinationNotAllowed => {
                asked(&self.web, delegated(peer(), peer(), "shop"), None)
            }
            Code::CredentialMalformed => asked(&self.web, ask(api_key("garbage"), "shop"), None),
            Code::CredentialRefused => asked(anybody, ask(api_key(&self.abroad), "shop"), None),
            Code::CredentialSpent => asked(anybody, ask(api_key(&self.spent), "shop"), by_key),
            Code::TokenRefused => asked(&self.web, own(&self.forged), None),
            Code::PresenterNotAllowed => asked(&self.other, own(&self.token), None),
            Code::ActorNotAllowed => asked(&self.shop, own(&self.of_till), None),
            Code::AudienceUnknown => asked(anybody, named("nowhere"), by_key),
            Code::AudienceNotAllowed => asked(anybody, named("vault"), by_key),
            Code::ScopeNotAllowed => {
                let scopes = vec!["orders:delete".into()];
                asked(
                    &self.web,
                    ExchangeRequest { scopes, ..web() },
                    by_certificate,
                )
            }
            Code::BindingRequired => {
                let binding = pb::Binding::Required.into();
                asked(anybody, ExchangeRequest { binding, ..key() }, by_key)
            }
            Code::PolicyDenied => asked(anybody, ask(api_key(&self.martian), "shop"), by_key),
            Code::LineageFull => asked(&self.web, own(&self.last), None),
            Code::LifetimeExhausted => {
                let lifetime = Some(prost_types::Duration {
                    seconds: 0,
                    nanos: 500_000_000,
                });
                asked(
                    &self.web,
                    ExchangeRequest { lifetime, ..web() },
                    by_certificate,
                )
            }
            Code::CertificateMissing => Err("who shows nothing is counted, not named"),
            Code::Revoked => Err("a race that the log's writer decides, and records"),
            Code::NotAuthorised => Err("administration's: recorded when its caller is named"),
            Code::NotFound | Code::Conflict => Err("administration's: recorded by its methods"),
            Code::TooBusy => Err("counted: a record would be more of what there is too much of"),
        }
    }
}

/// Denials are recorded like issues, with their reasons (teleport#54249).
#[tokio::test]
async fn every_refusal_is_on_the_record_with_its_reason() {
    let broker = Broker::start().await;
    let world = World::new(&broker).await;
    let mut met = Vec::new();
    for code in Code::ALL {
        match world.meeting(*code) {
            Ok((caller, request, kind)) => {
                assert_eq!(caller.no(request).await, code.code());
                met.push((*code, kind));
            }
            Err(why) => println!("{}: {why}", code.code()),
        }
    }
    for (code, kind) in met {
        println!("{}: waiting for its record", code.code());
        let denied = broker.record(|record| record["code"] == code.code()).await;
        assert_eq!(denied["kind"], "refuse", "{denied}");
        assert!(denied["detail"].is_string(), "{denied}");
        // What cannot be read cannot be repeated.
        let asked = !denied["ask"].is_null();
        assert_eq!(asked, code != Code::InvalidRequest, "{denied}");
        assert_eq!(denied["credential_kind"].as_str(), kind, "{denied}");
    }
    // What nobody in particular did is counted, by reason and network.
    let garbage = ask(api_key("garbage"), "shop");
    world.anybody.no(garbage).await;
    let is_count = |record: &Value| {
        let text = record.to_string();
        text.contains("credential_malformed") && text.contains("127.0.0.0/24")
    };
    broker.record(is_count).await;
}
