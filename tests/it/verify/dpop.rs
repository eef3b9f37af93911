//! Tokens that are bound to keys, with proofs (RFC 9449), before whole servers over real TLS.
//!
//! The server is known as `https://shop.example.org`, though it is asked at another address here: what it is called from
//! outside is told to it, and not taken from requests.

mod nested;
mod strangers;

use super::layer::{ask_with, bind, client_config, grpc_at, web_at};
use super::world::{CLOSED, World, endpoint, token};
use super::{ISSUER, SIGNER, claims};
use crate::support::jws::Signer;
use crate::support::standin::Listening;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::client::TlsFiles;
use cambist::id::{Audience, ScopeSet};
use cambist::jose::Jwk;
use cambist::marker::Thing;
use cambist::proto::ExplainRequest;
use cambist::proto::token_exchange_client::TokenExchangeClient;
use cambist::verify::{Guard, Keys, Layer, Presenter, ProofError, Proofs, Verifier, VerifyError};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use tonic::{Code, Request, Status};

const BASE: &str = "https://shop.example.org";
const EXPLAIN: &str = "/cambist.v1.TokenExchange/Explain";
const ALGS: &str = "algs=\"ES256 EdDSA Ed25519 PS256 RS256\"";

fn guarded(world: &World, proofs: Proofs) -> Guard {
    let audience = "https://shop.example.org".parse().unwrap();
    let keys = Keys::fixed(SIGNER.keys());
    let guard = Guard::builder(ISSUER, audience, keys, world.feed().clone());
    guard.proofs(proofs).build()
}

fn layer(world: &World) -> (Guard, Layer) {
    let guard = guarded(world, Proofs::at(BASE).unwrap());
    (guard.clone(), Layer::new(guard, CLOSED))
}

fn public(holder: &Signer) -> Value {
    let mut jwk = holder.jwk();
    let members = jwk.as_object_mut().unwrap();
    members.retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
    jwk
}

/// A token that is bound to the holder's key.
fn bound(holder: &Signer, id: &str) -> String {
    let jwk: Jwk = serde_json::from_value(public(holder)).unwrap();
    let mut claims = claims();
    claims["jti"] = json!(id);
    claims["cnf"] = json!({"jkt": jwk.thumbprint().unwrap()});
    SIGNER.token("at+jwt", &claims)
}

/// A proof of 1500, which is now in these tests.
fn proof(holder: &Signer, id: &str, method: &str, url: &str, token: &str) -> String {
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": public(holder)});
    let claims = json!({"jti": id, "htm": method, "htu": url, "iat": 1500, "ath": hash});
    holder.sign(&header.to_string(), &claims.to_string())
}

fn challenges(headers: &HeaderMap) -> Vec<&str> {
    let all = headers.get_all(WWW_AUTHENTICATE).into_iter();
    all.map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn an_http_server_is_asked_with_a_proof_for_each_request() {
    let world = World::new().await;
    let (guard, layer) = layer(&world);
    let server = web_at(bind().await, &world, layer, None);
    let holder = Signer::new();
    let good = bound(&holder, "good");
    let ask = async |headers: &[(&str, &str)]| {
        ask_with(&server, client_config(&world, None), headers).await
    };
    let with = format!("DPoP {good}");
    let who = format!("{BASE}/who");
    let by = |id: &str, url: &str| proof(&holder, id, "GET", url, &good);
    let first = by("1", &who);
    let (status, headers, text) = ask(&[("authorization", &with), ("dpop", &first)]).await;
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::OK, "spiffe://example.org/ci deploy read")
    );
    assert!(challenges(&headers).is_empty());

    let refused = async |headers: &[(&str, &str)]| {
        let (status, headers, text) = ask(headers).await;
        assert_eq!((status, text.as_str()), (StatusCode::UNAUTHORIZED, ""));
        challenges(&headers).join("; ")
    };
    let realm = "realm=\"https://shop.example.org\"";
    let told = |error: &str, words: &str| {
        format!("DPoP {realm}, error=\"{error}\", error_description=\"{words}\", {ALGS}")
    };
    let invalid = |words: &str| told("invalid_dpop_proof", words);
    let replayed = refused(&[("authorization", &with), ("dpop", &first)]).await;
    assert_eq!(replayed, invalid("the DPoP proof was used before"));
    let none = refused(&[("authorization", &with)]).await;
    assert_eq!(none, invalid("not one DPoP proof"));
    let (two, three) = (by("2", &who), by("3", &who));
    let both = refused(&[("authorization", &with), ("dpop", &two), ("dpop", &three)]).await;
    assert_eq!(both, invalid("not one DPoP proof"));
    // Where it was asked is not what it is called.
    let elsewhere = by("4", "https://localhost/who");
    let elsewhere = refused(&[("authorization", &with), ("dpop", &elsewhere)]).await;
    assert_eq!(elsewhere, invalid("the DPoP proof is for another URL"));
    let post = proof(&holder, "5", "POST", &who, &good);
    let post = refused(&[("authorization", &with), ("dpop", &post)]).await;
    assert_eq!(post, invalid("the DPoP proof is for another method"));
    let theirs = proof(&Signer::new(), "6", "GET", &who, &good);
    let theirs = refused(&[("authorization", &with), ("dpop", &theirs)]).await;
    let words = "the token is bound to a key that was not proven";
    assert_eq!(theirs, told("invalid_token", words));
    // A form of the URL that is the same, with a query; and the scheme in any case.
    let form = by("7", "HTTPS://SHOP.example.org:443/./%77ho?q");
    let with_small = format!("dpop {good}");
    let (status, ..) = ask(&[("authorization", &with_small), ("dpop", &form)]).await;
    assert_eq!(status, StatusCode::OK);

    let unknown = SIGNER.token("JWT", &claims());
    let other = proof(&holder, "8", "GET", &who, &unknown);
    let unknown = format!("DPoP {unknown}");
    let unknown = refused(&[("authorization", &unknown), ("dpop", &other)]).await;
    assert_eq!(
        unknown,
        told("invalid_token", "the token is of another type")
    );
    let malformed = ask(&[("authorization", "DPoP a b"), ("dpop", &other)]).await;
    assert_eq!(malformed.0, StatusCode::BAD_REQUEST);
    assert!(challenges(&malformed.1)[0].starts_with("DPoP "));

    world.server.revoke(Thing::Token(ISSUER, "good"));
    world.until_revoked(&token("good", &[])).await;
    let revoked = by("9", &who);
    let revoked = refused(&[("authorization", &with), ("dpop", &revoked)]).await;
    assert_eq!(revoked, told("invalid_token", "the token is revoked"));

    let text = guard.openmetrics().unwrap();
    for line in [
        "cambist_verify_checks_total{result=\"accepted\"} 2",
        "cambist_verify_checks_total{result=\"proof\"} 4",
        "cambist_verify_checks_total{result=\"proof_replayed\"} 1",
        "cambist_verify_checks_total{result=\"proofs_full\"} 0",
        "cambist_verify_checks_total{result=\"confirmation\"} 1",
        "cambist_verify_proofs_remembered 2",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}

/// RFC 9449 section 7.2: otherwise whoever stole the token would present it so.
#[tokio::test]
async fn a_token_comes_by_the_scheme_that_it_is_for() {
    let world = World::new().await;
    let (guard, layer) = layer(&world);
    let server = web_at(bind().await, &world, layer, None);
    let holder = Signer::new();
    let ask = async |authorization: &str, proof: Option<&str>| {
        let mut headers = vec![("authorization", authorization)];
        headers.extend(proof.map(|proof| ("dpop", proof)));
        ask_with(&server, client_config(&world, None), &headers).await
    };
    let (good, bearer) = (bound(&holder, "good"), token("bearer", &[]));
    let who = format!("{BASE}/who");
    let shown = proof(&holder, "1", "GET", &who, &good);
    for proof in [None, Some(shown.as_str())] {
        let (status, headers, _) = ask(&format!("Bearer {good}"), proof).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let told = challenges(&headers);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("Bearer ") && told[0].contains("error=\"invalid_token\""));
        assert!(told[1].starts_with("DPoP ") && told[1].ends_with(ALGS));
    }
    let shown = proof(&holder, "2", "GET", &who, &bearer);
    let (status, headers, _) = ask(&format!("DPoP {bearer}"), Some(&shown)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let told = challenges(&headers);
    assert!(told[0].starts_with("DPoP ") && told[0].contains("error=\"invalid_token\""));
    assert_eq!(guard.stats().refused("unbound"), 1);
    let (status, ..) = ask(&format!("Bearer {bearer}"), None).await;
    assert_eq!(status, StatusCode::OK);
    // Who brings nothing is told both ways, and nothing else.
    let (status, headers, _) = ask("Basic YTpi", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let realm = "realm=\"https://shop.example.org\"";
    let both = [format!("Bearer {realm}"), format!("DPoP {realm}, {ALGS}")];
    assert_eq!(challenges(&headers), both);

    // A server that was not told what it is called from outside takes none of it.
    let plain = Layer::new(world.guard.clone(), CLOSED);
    let server = web_at(bind().await, &world, plain, None);
    let (with, shown) = (
        format!("DPoP {good}"),
        proof(&holder, "3", "GET", &who, &good),
    );
    let headers = [("authorization", with.as_str()), ("dpop", &shown)];
    let malformed = ["DPoP", "DPoP a b"].map(|text| [("authorization", text), ("dpop", &shown)]);
    for headers in malformed.into_iter().chain([headers]) {
        let (status, headers, _) = ask_with(&server, client_config(&world, None), &headers).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(challenges(&headers), [format!("Bearer {realm}")]);
    }
}

async fn call(server: &Listening, world: &World, token: &str, proof: &str) -> Result<(), Status> {
    let tls = TlsFiles::new(world.path("ca.pem"));
    let channel = endpoint(server.address.port(), tls).channel().await;
    let mut request = Request::new(ExplainRequest::default());
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("DPoP {token}").parse().unwrap());
    metadata.insert("dpop", proof.parse().unwrap());
    let mut client = TokenExchangeClient::new(channel.unwrap());
    client.explain(request).await.map(|_| ())
}

#[tokio::test]
async fn a_grpc_server_is_asked_with_a_proof_for_each_call() {
    let world = World::new().await;
    let (_, layer) = layer(&world);
    let server = grpc_at(bind().await, &world, layer.clone(), None);
    let holder = Signer::new();
    let good = bound(&holder, "good");
    let method = format!("{BASE}{EXPLAIN}");
    let first = proof(&holder, "1", "POST", &method, &good);
    call(&server, &world, &good, &first).await.unwrap();
    let refused = async |token: &str, proof: &str| {
        let status = call(&server, &world, token, proof).await.unwrap_err();
        let metadata = status.metadata().clone().into_headers();
        let told = challenges(&metadata).join("; ");
        (status.code(), status.message().to_owned(), told)
    };
    let (code, words, told) = refused(&good, &first).await;
    assert_eq!(code, Code::Unauthenticated);
    assert_eq!(words, "the DPoP proof was used before");
    assert!(told.starts_with("DPoP ") && told.contains("error=\"invalid_dpop_proof\""));
    for (id, verb, url) in [
        ("2", "GET", method.clone()),
        (
            "3",
            "POST",
            format!("{BASE}/cambist.v1.TokenExchange/Exchange"),
        ),
        ("4", "POST", format!("https://localhost{EXPLAIN}")),
    ] {
        let bad = proof(&holder, id, verb, &url, &good);
        let (code, ..) = refused(&good, &bad).await;
        assert_eq!(code, Code::Unauthenticated, "{verb} {url}");
    }
    let bearer = token("bearer", &[]);
    let shown = proof(&holder, "5", "POST", &method, &bearer);
    assert_eq!(refused(&bearer, &shown).await.0, Code::Unauthenticated);
    let scoped = layer.scopes(ScopeSet::parse("read write").unwrap());
    let server = grpc_at(bind().await, &world, scoped, None);
    let sixth = proof(&holder, "6", "POST", &method, &good);
    let denied = call(&server, &world, &good, &sixth).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn where_no_more_proofs_can_be_remembered_callers_are_told_to_come_again() {
    let world = World::new().await;
    let guard = guarded(&world, Proofs::remembering(BASE, 1).unwrap());
    let layer = Layer::new(guard, CLOSED);
    let (web, grpc) = (
        web_at(bind().await, &world, layer.clone(), None),
        grpc_at(bind().await, &world, layer, None),
    );
    let holder = Signer::new();
    let good = bound(&holder, "good");
    let (with, who) = (format!("DPoP {good}"), format!("{BASE}/who"));
    let ask = async |id: &str| {
        let proof = proof(&holder, id, "GET", &who, &good);
        let headers = [("authorization", with.as_str()), ("dpop", &proof)];
        ask_with(&web, client_config(&world, None), &headers).await
    };
    assert_eq!(ask("1").await.0, StatusCode::OK);
    let (status, headers, _) = ask("2").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key("retry-after") && challenges(&headers).is_empty());
    // The guard is one, whatever server it is before.
    let third = proof(&holder, "3", "POST", &format!("{BASE}{EXPLAIN}"), &good);
    let refused = call(&grpc, &world, &good, &third).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[test]
fn a_verifier_without_a_feed_takes_a_proof_once_too() {
    let audience = Audience::parse("https://shop.example.org").unwrap();
    let verifier = Verifier::new(ISSUER, audience, Arc::new(SIGNER.keys()));
    let proofs = Proofs::at(BASE).unwrap();
    let holder = Signer::new();
    let good = bound(&holder, "good");
    let proof = proof(&holder, "1", "GET", &format!("{BASE}/who"), &good);
    let request = http::Request::get("/who").header("dpop", proof);
    let request = request.body(()).unwrap().into_parts().0;
    let by = |presenter| {
        let now = Timestamp::from_second(1500).unwrap();
        verifier.verify(&good, presenter, now).map(|_| ())
    };
    let shown = || Presenter::Proof(proofs.shown(&request));
    assert_eq!(by(shown()), Ok(()));
    assert_eq!(by(shown()), Err(VerifyError::Proof(ProofError::Replayed)));
    assert_eq!(by(Presenter::NoCertificate), Err(VerifyError::Confirmation));
    assert_eq!(by(Presenter::NotChecked), Ok(()));
}
