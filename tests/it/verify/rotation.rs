//! Keys that an issuer replaces, over real HTTPS.

use super::world::{CLOSED, World};
use super::{SIGNER, claims};
use crate::support::edge::until;
use crate::support::https::Https;
use crate::support::jws::Signer;
use cambist::jose::JoseError;
use cambist::verify::{Fetcher, Guard, Keys, Presenter, VerifyError};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn jwk(signer: &Signer, kid: &str) -> Value {
    let mut jwk = signer.jwk();
    jwk["kid"] = json!(kid);
    jwk
}

fn signed(signer: &Signer, kid: &str, issuer: &str) -> String {
    let mut claims = claims();
    claims["iss"] = json!(issuer);
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid});
    signer.sign(&header.to_string(), &claims.to_string())
}

/// An issuer that publishes what it is told to.
async fn issuer(keys: &[Value]) -> (Https, String) {
    let set = json!({ "keys": keys }).to_string();
    let server = Https::serve(|origin| {
        let ok = || "200 OK\r\ncontent-type: application/json".to_owned();
        let metadata = json!({"issuer": origin, "jwks_uri": format!("{origin}/keys")});
        let well_known = "/.well-known/oauth-authorization-server".to_owned();
        let answers = [
            (well_known, (ok(), metadata.to_string())),
            ("/keys".to_owned(), (ok(), set)),
        ];
        HashMap::from(answers)
    })
    .await;
    let origin = server.origin.clone();
    (server, origin)
}

fn publish(server: &Https, keys: &[Value]) {
    let set = json!({ "keys": keys }).to_string();
    server.answer("/keys", "200 OK", &set);
}

#[tokio::test]
async fn a_new_key_is_fetched_when_its_first_token_comes_and_the_old_ones_go_on() {
    let world = World::new().await;
    let (old, new) = (Signer::new(), Signer::new());
    let (server, origin) = issuer(&[jwk(&old, "old")]).await;
    let fetcher = Fetcher::new([server.ca.clone()]).unwrap();
    let keys = Keys::builder(fetcher, &origin).build().unwrap();
    assert!(keys.ready(Duration::from_secs(60)).await);
    let audience = "https://shop.example.org".parse().unwrap();
    let guard = Guard::builder(&origin, audience, keys.clone(), world.feed().clone()).build();
    let check = async |token: &str| guard.check(token, Presenter::NoCertificate, CLOSED).await;
    let (before, after) = (signed(&old, "old", &origin), signed(&new, "new", &origin));
    assert!(check(&before).await.is_ok());
    let unknown = VerifyError::Token(JoseError::UnknownKey);
    assert_eq!(check(&after).await, Err(unknown), "it is not published");

    publish(&server, &[jwk(&old, "old"), jwk(&new, "new")]);
    // A hundred come with it at once, again and again until the pause after the last fetch is over and each passes; one fetch
    // is made for them all.
    let fetches = || keys.stats().fetches.load(Ordering::Relaxed);
    let so_far = fetches();
    until("the new key", async || {
        let all: Vec<_> = (0..100)
            .map(|_| {
                let (guard, after) = (guard.clone(), after.clone());
                tokio::spawn(async move {
                    let checked = guard.check(&after, Presenter::NoCertificate, CLOSED);
                    checked.await.is_ok()
                })
            })
            .collect();
        let mut passed = 0;
        for one in all {
            passed += usize::from(one.await.unwrap());
        }
        passed == 100
    })
    .await;
    assert_eq!(fetches(), so_far + 1);
    assert!(check(&before).await.is_ok());

    // A key that is published no more verifies nothing, remembered or not.
    publish(&server, &[jwk(&new, "new")]);
    let third = signed(&old, "third", &origin);
    until("the old key to be gone", async || {
        let _wants_keys = check(&third).await;
        check(&before).await == Err(unknown)
    })
    .await;
    assert!(check(&after).await.is_ok());

    // What is no key set changes nothing.
    server.answer("/keys", "200 OK", "{}");
    until("a fetch to fail", async || {
        let _wants_keys = check(&third).await;
        keys.stats().failures.load(Ordering::Relaxed) > 0
    })
    .await;
    assert!(check(&after).await.is_ok());
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn without_any_keys_nothing_is_said_of_a_token() {
    let world = World::new().await;
    let (server, origin) = issuer(&[jwk(&SIGNER, "k")]).await;
    server.answer("/keys", "503 Service Unavailable", "");
    let fetcher = Fetcher::new([server.ca.clone()]).unwrap();
    let keys = Keys::builder(fetcher, &origin).build().unwrap();
    let audience = "https://shop.example.org".parse().unwrap();
    let guard = Guard::builder(&origin, audience, keys, world.feed().clone()).build();
    let token = signed(&SIGNER, "k", &origin);
    let checked = guard.check(&token, Presenter::NoCertificate, CLOSED).await;
    assert_eq!(checked, Err(VerifyError::NoKeys));
    publish(&server, &[jwk(&SIGNER, "k")]);
    until("keys", async || {
        let checked = guard.check(&token, Presenter::NoCertificate, CLOSED).await;
        checked.is_ok()
    })
    .await;
}

#[tokio::test]
async fn an_issuer_without_https_is_no_issuer() {
    let server = Https::serve(|_| HashMap::new()).await;
    let fetcher = Fetcher::new([server.ca.clone()]).unwrap();
    assert!(
        Keys::builder(fetcher, "http://example.org")
            .build()
            .is_err()
    );
}
