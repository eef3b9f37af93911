//! The users' side: tokens checked where they arrive, keys fetched from an issuer, revocations followed.

mod dpop;
mod feed;
mod hour;
mod layer;
mod rotation;
mod world;

use crate::support::https::Https;
use crate::support::jws::Signer;
use cambist::id::Audience;
use cambist::jose::JoseError;
use cambist::limits;
use cambist::verify::{
    AccessToken, Binding, FetchError, Fetcher, Presenter, Verifier, VerifyError,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const ISSUER: &str = "https://broker.example.org";
const BOUND: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::new);

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "spiffe://example.org/ci", "aud": "https://shop.example.org",
        "exp": 2000, "iat": 1000, "jti": "a", "client_id": "spiffe://example.org/ci", "scope": "read deploy",
        "act": {"sub": "b", "act": {"sub": "c"}}, "cmb": {"c": [], "l": [], "more": "than we read"},
    })
}

fn check(claims: &Value, presenter: Presenter<'_>, now: i64) -> Result<AccessToken, VerifyError> {
    let audience = Audience::parse("https://shop.example.org").unwrap();
    let verifier =
        Verifier::new(ISSUER, audience, Arc::new(SIGNER.keys())).leeway(Duration::from_secs(5));
    let now = Timestamp::from_second(now).unwrap();
    verifier.verify(&SIGNER.token("at+jwt", claims), presenter, now)
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

#[test]
fn a_sound_token_is_believed() {
    let token = check(&claims(), Presenter::NoCertificate, 1500).unwrap();
    assert_eq!(token.sub, "spiffe://example.org/ci");
    assert_eq!(token.scopes.to_string(), "deploy read");
    assert_eq!(token.binding, Binding::Bearer);
    let actor = token.actor.unwrap();
    assert_eq!(
        (actor.sub.as_str(), actor.previous.unwrap().sub.as_str()),
        ("b", "c")
    );
    let two = with(
        "aud",
        json!(["https://other.example.org", "https://shop.example.org"]),
    );
    assert!(check(&two, Presenter::NoCertificate, 1500).is_ok());
}

#[test]
fn what_is_not_for_this_verifier_is_refused() {
    let refused = |claims: &Value, now| check(claims, Presenter::NotChecked, now).unwrap_err();
    for issuer in [
        "https://broker.example.org/",
        "https://Broker.example.org",
        "",
    ] {
        assert_eq!(
            refused(&with("iss", json!(issuer)), 1500),
            VerifyError::Issuer
        );
    }
    for audience in [
        json!("https://shop.example.org/"),
        json!([]),
        json!(["https://other.example.org"]),
    ] {
        assert_eq!(refused(&with("aud", audience), 1500), VerifyError::Audience);
    }
    assert_eq!(
        refused(&claims(), 2005),
        VerifyError::Token(JoseError::Expired)
    );
    assert!(check(&claims(), Presenter::NotChecked, 2004).is_ok());
    assert_eq!(
        refused(&claims(), 994),
        VerifyError::Token(JoseError::NotYetValid)
    );
    assert_eq!(
        refused(&with("nbf", json!(1506)), 1500),
        VerifyError::Token(JoseError::NotYetValid)
    );
    for (name, value) in [
        ("exp", json!(2000.5)),
        ("exp", json!("2000")),
        ("exp", json!(-1)),
        ("iat", Value::Null),
        ("nbf", Value::Null),
        ("sub", json!(7)),
        ("aud", json!({})),
        ("scope", json!(["read"])),
        ("cnf", Value::Null),
        ("act", json!("b")),
    ] {
        assert!(
            matches!(
                refused(&with(name, value), 1500),
                VerifyError::Token(JoseError::BadClaims(_))
            ),
            "{name}"
        );
    }
    for name in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"] {
        let mut missing = claims();
        missing.as_object_mut().unwrap().remove(name);
        assert!(
            matches!(
                refused(&missing, 1500),
                VerifyError::Token(JoseError::BadClaims(_))
            ),
            "{name}"
        );
    }
    let other = SIGNER.token("JWT", &claims());
    let audience = Audience::parse("https://shop.example.org").unwrap();
    let verifier = Verifier::new(ISSUER, audience, Arc::new(SIGNER.keys()));
    let now = Timestamp::from_second(1500).unwrap();
    let refused = verifier.verify(&other, Presenter::NotChecked, now);
    assert_eq!(refused, Err(VerifyError::Token(JoseError::WrongType)));
}

#[test]
fn a_bound_token_is_only_its_presenters() {
    let bound = with("cnf", json!({"x5t#S256": BOUND}));
    let (zeros, ones) = ([0; 32], [1; 32]);
    assert!(check(&bound, Presenter::Certificate(&zeros), 1500).is_ok());
    let token = check(&bound, Presenter::NotChecked, 1500).unwrap();
    assert_eq!(token.binding, Binding::Certificate(zeros));
    for presenter in [Presenter::Certificate(&ones), Presenter::NoCertificate] {
        assert_eq!(
            check(&bound, presenter, 1500),
            Err(VerifyError::Confirmation)
        );
    }
    for cnf in [
        json!({}),
        json!({"jkt": "a"}),
        json!({"x5t#S256": BOUND, "jkt": "a"}),
        json!({"x5t#S256": "AAAA"}),
    ] {
        let unknown = with("cnf", cnf);
        for presenter in [Presenter::Certificate(&zeros), Presenter::NoCertificate] {
            assert_eq!(
                check(&unknown, presenter, 1500),
                Err(VerifyError::Confirmation)
            );
        }
        let token = check(&unknown, Presenter::NotChecked, 1500).unwrap();
        assert_eq!(
            token.binding,
            Binding::Unknown,
            "never taken for a bearer token"
        );
    }
}

fn answers(origin: &str) -> HashMap<String, (String, String)> {
    let ok = || "200 OK\r\ncontent-type: application/json".to_owned();
    let metadata =
        |issuer: &str, keys: &str| json!({"issuer": issuer, "jwks_uri": keys}).to_string();
    let well_known = "/.well-known/oauth-authorization-server";
    let keys = json!({"keys": [SIGNER.jwk()]}).to_string();
    let pad = |length: usize| format!("{keys}{}", " ".repeat(length - keys.len()));
    let at = |path: &str| format!("{origin}{path}");
    [
        (
            format!("{well_known}/good"),
            ok(),
            metadata(&at("/good"), &at("/keys")),
        ),
        (
            format!("{well_known}/impostor"),
            ok(),
            metadata(&at("/good"), &at("/keys")),
        ),
        (
            format!("{well_known}/plain"),
            ok(),
            metadata(&at("/plain"), "http://127.0.0.1/keys"),
        ),
        (
            format!("{well_known}/moved"),
            format!(
                "302 Found\r\nlocation: {}",
                at(&format!("{well_known}/good"))
            ),
            String::new(),
        ),
        (
            format!("{well_known}/fits"),
            ok(),
            metadata(&at("/fits"), &at("/fits")),
        ),
        (
            format!("{well_known}/large"),
            ok(),
            metadata(&at("/large"), &at("/large")),
        ),
        (format!("{well_known}/html"), ok(), "<html>".to_owned()),
        ("/keys".to_owned(), ok(), keys.clone()),
        ("/fits".to_owned(), ok(), pad(limits::KEY_SET_BYTES)),
        ("/large".to_owned(), ok(), pad(limits::KEY_SET_BYTES + 1)),
    ]
    .into_iter()
    .map(|(path, head, body)| (path, (head, body)))
    .collect()
}

#[tokio::test]
async fn keys_are_fetched_by_the_issuers_metadata() {
    let server = Https::serve(answers).await;
    let fetcher = Fetcher::new([server.ca.clone()]).unwrap();
    for name in ["good", "fits"] {
        let keys = fetcher
            .key_set(&format!("{}/{name}", server.origin))
            .await
            .unwrap();
        assert_eq!(keys.len(), 1);
    }
}

#[tokio::test]
async fn nothing_but_the_issuers_own_answer_is_taken() {
    let server = Https::serve(answers).await;
    let fetcher = Fetcher::new([server.ca.clone()]).unwrap();
    let refused = async |name: &str| {
        fetcher
            .key_set(&format!("{}/{name}", server.origin))
            .await
            .unwrap_err()
    };
    assert!(matches!(
        refused("impostor").await,
        FetchError::Metadata { .. }
    ));
    assert!(matches!(refused("plain").await, FetchError::Url(_)));
    assert!(matches!(
        refused("moved").await,
        FetchError::Status { status: 302, .. }
    ));
    assert!(matches!(refused("large").await, FetchError::TooLarge(_)));
    assert!(matches!(refused("html").await, FetchError::Metadata { .. }));
    assert!(matches!(
        refused("absent").await,
        FetchError::Status { status: 404, .. }
    ));
}

#[tokio::test]
async fn a_server_of_another_ca_is_not_trusted() {
    let (server, other) = (Https::serve(answers).await, Https::serve(answers).await);
    let fetcher = Fetcher::new([other.ca.clone()]).unwrap();
    let error = fetcher
        .key_set(&format!("{}/good", server.origin))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, FetchError::Transport { cause, .. } if cause.contains("certificate")),
        "{error}"
    );
}
