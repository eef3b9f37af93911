//! What a check costs where tokens arrive, beside the bare signature: `cargo bench --bench verify`.
//!
//! Prints a line for each number of markers: microseconds of the bare verification of an ES256 signature, of a check of a
//! token that is not remembered and of one that is, and both as parts of the bare one; the median of interleaved rounds in
//! one thread. Then checks a second of remembered tokens in as many threads as there are cores. Only ratios from one run
//! mean anything.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench measures real time, and stops where it cannot go on"
)]

mod broker;
#[path = "../../tests/it/support/only_watched.rs"]
mod only_watched;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::clock::{Clock as _, SystemClock};
use cambist::jose::{Jwk, KeySet, Unverified, VerifyingKey};
use cambist::verify::{Feed, Guard, Keys, Presenter, Staleness};
use serde_json::json;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ISSUER: &str = "https://broker.example.org";
const TOKENS: usize = 1_000;
const ROUNDS: usize = 9;
const FRESH: Staleness = Staleness::refuse_beyond(Duration::from_secs(600));

/// A key, and tokens as a broker issues them to workloads that act for others.
fn tokens() -> (KeySet, Vec<String>) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    let kid = "a".repeat(43);
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": part(1..33), "y": part(33..65)});
    let jwk: Jwk = serde_json::from_value(jwk).unwrap();
    let keys = KeySet::new([VerifyingKey::from_jwk(&jwk).unwrap()]).unwrap();
    let now = SystemClock::shared().now().as_second();
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}).to_string();
    let digest = |n: usize| URL_SAFE_NO_PAD.encode(u128::try_from(n).unwrap().to_be_bytes());
    let token = |n: usize| {
        let claims = json!({
            "iss": ISSUER, "sub": format!("spiffe://example.org/ns/shop/sa/web-{n}"),
            "aud": "https://shop.example.org", "exp": now + 3600, "iat": now, "jti": digest(n),
            "client_id": "spiffe://example.org/ns/shop/sa/web", "scope": "orders:read orders:write",
            "act": {"sub": "spiffe://example.org/ns/shop/sa/gateway"},
            "cmb": {"c": [format!("x509:{}", "A".repeat(43))], "l": [digest(n + TOKENS)], "x": {"any": true}},
        });
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let input = format!("{}.{}", encode(&header), encode(&claims.to_string()));
        let signature = pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    (keys, (0..TOKENS).map(token).collect())
}

/// Microseconds a call of one round.
fn round(tokens: &[String], repeats: usize, mut call: impl FnMut(&str)) -> f64 {
    let started = Instant::now();
    for _ in 0..repeats {
        tokens.iter().for_each(|token| call(token));
    }
    let calls = u32::try_from(tokens.len() * repeats).unwrap();
    started.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn check(guard: &Guard, token: &str) {
    let token = guard.check_now(token, Presenter::NoCertificate, FRESH);
    assert!(black_box(token).is_ok());
}

/// Checks of remembered tokens in a second, in thousands, by so many threads.
fn together(guard: &Guard, tokens: &[String], threads: usize) -> f64 {
    let repeats = 100;
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| round(tokens, repeats, |token| check(guard, token)));
        }
    });
    let calls = u32::try_from(tokens.len() * repeats * threads).unwrap();
    f64::from(calls) / started.elapsed().as_secs_f64() / 1e3
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (keys, tokens) = tokens();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "  markers   load ms   bare µs   afresh µs   remembered µs   afresh/bare   remembered/bare   k/s in {threads} threads"
    );
    for markers in [0, 1_000_000] {
        let started = Instant::now();
        let broker = runtime.block_on(broker::serve(markers));
        let feed = runtime.block_on(async {
            let feed = Feed::builder(broker.endpoint()).build().unwrap();
            feed.ready(Duration::from_secs(600)).await.unwrap();
            feed
        });
        let load = started.elapsed().as_secs_f64() * 1e3;
        assert_eq!(feed.status().markers, markers);
        let guard = |bytes| {
            let audience = "https://shop.example.org".parse().unwrap();
            let keys = Keys::fixed(keys.clone());
            let guard = Guard::builder(ISSUER, audience, keys, feed.clone());
            guard.remember(bytes).build()
        };
        let (forgetful, remembering) = (guard(0), guard(u64::MAX));
        tokens.iter().for_each(|token| check(&remembering, token));
        let (mut bare, mut afresh, mut remembered) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(round(&tokens, 2, |token| {
                black_box(Unverified::parse(token).unwrap().verify(&keys).unwrap());
            }));
            afresh.push(round(&tokens, 2, |token| check(&forgetful, token)));
            remembered.push(round(&tokens, 50, |token| check(&remembering, token)));
        }
        assert_eq!(forgetful.remembered(), 0);
        assert_eq!(remembering.remembered(), TOKENS);
        let (bare, afresh, remembered) = (median(bare), median(afresh), median(remembered));
        println!(
            "{markers:>9}   {load:>7.0}   {bare:>7.2}   {afresh:>9.2}   {remembered:>13.3}   {:>11.2}   {:>15.4}   {:>8.0}",
            afresh / bare,
            remembered / bare,
            together(&remembering, &tokens, threads),
        );
    }
}
