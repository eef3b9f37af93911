//! Decisions, on a clock that tests move and with a feed that they hand messages.

mod model;
mod proofs;

use super::super::verifier::Presenter;
use super::*;
use crate::clock::testing::TestClock;
use crate::id::{CredentialId, KeyId};
use crate::jose::{JoseError, Jwk, KeySet, VerifyingKey};
use crate::marker::{Cover, Kind, Marker, MarkerId, Second, Thing};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const ISSUER: &str = "https://broker.example.org";
const NOW: i64 = 1_000_000;
const FRESH: Staleness = Staleness::refuse_beyond(Duration::from_secs(60));

static PAIR: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());

fn key(kid: &str) -> VerifyingKey {
    let point = PAIR.public_key().as_ref();
    let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": part(1..33), "y": part(33..65)});
    let jwk: Jwk = serde_json::from_value(jwk).unwrap();
    VerifyingKey::from_jwk(&jwk).unwrap()
}

fn signed(kid: &str, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid});
    let input = format!("{}.{}", encode(&header), encode(claims));
    let signature = PAIR.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims(jti: &str) -> Value {
    json!({
        "iss": ISSUER, "sub": "spiffe://example.org/ci", "aud": "shop", "exp": NOW + 900, "iat": NOW,
        "jti": jti, "client_id": "spiffe://example.org/ci", "scope": "read",
    })
}

struct World {
    clock: Arc<TestClock>,
    feed: Feed,
    guard: Guard,
}

impl World {
    fn new() -> Self {
        Self::remembering(limits::VERIFIED_BYTES)
    }

    fn remembering(bytes: u64) -> Self {
        let clock = TestClock::at(NOW);
        let feed = Feed::still(clock.clone());
        let keys = Keys::fixed(KeySet::new([key("a"), key("b")]).unwrap());
        let guard = Guard::builder(ISSUER, "shop".parse().unwrap(), keys, feed.clone());
        let guard = guard.remember(bytes).leeway(Duration::ZERO).build();
        Self { clock, feed, guard }
    }

    fn fed() -> Self {
        let world = Self::new();
        world.feed.snapshot(&[]);
        world
    }

    fn check(&self, token: &str) -> Result<Arc<AccessToken>, VerifyError> {
        self.guard.check_now(token, Presenter::NoCertificate, FRESH)
    }

    fn hits(&self) -> u64 {
        self.guard.stats().hits.load(Ordering::Relaxed)
    }
}

fn all(thing: Thing<'_>) -> Marker {
    let cover = Cover::all(Second::NEVER);
    Marker {
        id: thing.id(),
        cover,
    }
}

fn revoked(result: Result<Arc<AccessToken>, VerifyError>) -> Option<(Kind, MarkerId)> {
    match result {
        Err(VerifyError::Revoked { kind, marker }) => Some((kind, marker)),
        Ok(_) | Err(_) => None,
    }
}

#[test]
fn what_is_remembered_is_looked_up_each_time() {
    let world = World::fed();
    let token = signed("a", &claims("t"));
    assert_eq!(world.check(&token).unwrap().id, "t");
    assert!(world.check(&token).is_ok());
    assert_eq!(world.hits(), 1);
    let thing = Thing::Token(ISSUER, "t");
    world.feed.delta(&[all(thing)]);
    let found = revoked(world.check(&token));
    assert_eq!(found, Some((Kind::Token, thing.id())));
    assert!(world.check(&signed("a", &claims("u"))).is_ok());
    let cover = Cover {
        before: Second::ZERO,
        until: Second::NEVER,
    };
    world.feed.delta(&[Marker {
        id: thing.id(),
        cover,
    }]);
    assert!(world.check(&token).is_ok(), "it was taken back");
    assert_eq!(world.guard.stats().accepted(), 4);
    assert_eq!(world.guard.stats().refused("revoked"), 1);
}

#[test]
fn times_and_presenters_of_what_is_remembered_are_looked_at_too() {
    let world = World::fed();
    let (mine, theirs) = ([7; 32], [8; 32]);
    let mut bound = claims("t");
    bound["cnf"] = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(mine)});
    bound["nbf"] = json!(NOW - 5);
    let token = signed("a", &bound);
    let by = |presenter| world.guard.check_now(&token, presenter, FRESH);
    assert!(by(Presenter::Certificate(&mine)).is_ok());
    let presenters = [Presenter::Certificate(&theirs), Presenter::NoCertificate];
    for presenter in presenters {
        assert_eq!(by(presenter), Err(VerifyError::Confirmation));
    }
    world.clock.step(-6);
    let early = VerifyError::Token(JoseError::NotYetValid);
    assert_eq!(by(Presenter::Certificate(&mine)), Err(early));
    world.clock.step(6 + 900);
    let late = VerifyError::Token(JoseError::Expired);
    assert_eq!(world.guard.remembered(), 1);
    assert_eq!(by(Presenter::Certificate(&mine)), Err(late));
    assert_eq!(world.guard.remembered(), 0, "it gave up its place");
    assert_eq!(by(Presenter::Certificate(&mine)), Err(late));
    assert_eq!(world.guard.remembered(), 0, "and does not come back");
}

/// Its marker is gone by then.
#[test]
fn what_had_ended_by_the_brokers_clock_stays_so_when_ours_is_set_back() {
    let world = World::fed();
    let token = signed("a", &claims("t"));
    world.clock.advance(600);
    world.feed.snapshot(&[]);
    world.clock.step(-60);
    assert!(world.check(&token).is_ok());
    world.clock.advance(360);
    world.feed.snapshot(&[]);
    world.clock.step(-60);
    assert_eq!(world.check(&token).unwrap_err(), JoseError::Expired.into());
}

#[test]
fn what_is_not_known_well_enough_is_stale() {
    let world = World::new();
    let token = signed("a", &claims("t"));
    let by = |staleness| {
        world
            .guard
            .check_now(&token, Presenter::NoCertificate, staleness)
    };
    let bound = Duration::from_secs(60);
    let open = Staleness::accept_beyond(bound);
    assert_eq!(
        by(FRESH),
        Err(VerifyError::Stale),
        "before there is anything"
    );
    assert!(by(open).is_ok());
    world.feed.snapshot(&[all(Thing::Token(ISSUER, "other"))]);
    world.clock.advance(60);
    assert!(by(FRESH).is_ok());
    world.clock.advance(1);
    assert_eq!(by(FRESH), Err(VerifyError::Stale));
    assert!(by(open).is_ok());
    assert_eq!(
        world.guard.stats().accepted_stale.load(Ordering::Relaxed),
        2
    );
    // What is known to be revoked is, however old that knowledge is.
    let other = signed("a", &claims("other"));
    for staleness in [FRESH, open] {
        let result = world
            .guard
            .check_now(&other, Presenter::NoCertificate, staleness);
        assert!(revoked(result).is_some());
    }
}

#[test]
fn an_ancestry_that_cannot_be_read_is_refused() {
    let world = World::fed();
    let digest = URL_SAFE_NO_PAD.encode([1; 16]);
    let credential = CredentialId::Certificate([2; 32]).to_string();
    let of = |cmb: Value| {
        let mut claims = claims("t");
        claims["cmb"] = cmb;
        world.check(&signed("a", &claims)).map(|_| ())
    };
    let (n, m) = (limits::LINEAGE, limits::ANCESTORS);
    let many = |text: &str, n: usize| vec![text.to_owned(); n];
    assert_eq!(of(json!({"c": [], "l": [], "x": {"any": true}})), Ok(()));
    assert_eq!(
        of(json!({"c": many(&credential, n), "l": many(&digest, m)})),
        Ok(())
    );
    for bad in [
        Value::Null,
        json!({}),
        json!([]),
        json!({"c": []}),
        json!({"l": []}),
        json!({"c": ["other:a"], "l": []}),
        json!({"c": [], "l": ["short"]}),
        json!({"c": [], "l": digest}),
        json!({"c": many(&credential, n + 1), "l": []}),
        json!({"c": [], "l": many(&digest, m + 1)}),
    ] {
        let refused = of(bad.clone());
        let is_claims = matches!(refused, Err(VerifyError::Token(JoseError::BadClaims(_))));
        assert!(is_claims, "{bad}: {refused:?}");
    }
}

/// A verification that began before its token was revoked and ends after: what it found out is held against the marker when it
/// is used, then and later.
#[test]
fn a_slow_miss_brings_back_no_old_yes() {
    let world = World::fed();
    let token = signed("a", &claims("t"));
    let slow = world.guard.entry(&token).unwrap();
    world.feed.delta(&[all(Thing::Token(ISSUER, "t"))]);
    let ends = world.guard.admit(&slow, Presenter::NoCertificate, FRESH);
    assert!(matches!(ends, Err(VerifyError::Revoked { .. })));
    assert!(revoked(world.check(&token)).is_some());
    assert_eq!(world.hits(), 1, "it was remembered");
}

/// The same with threads: no check that begins after a marker is in force passes what the marker covers.
#[test]
fn no_check_passes_what_was_revoked_before_it_began() {
    let world = World::fed();
    let tokens: Vec<_> = (0..200)
        .map(|n| signed("a", &claims(&n.to_string())))
        .collect();
    let (revoked_up_to, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let checking: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        let before = revoked_up_to.load(Ordering::Acquire);
                        let last = usize::try_from(before).unwrap();
                        for (n, token) in tokens.iter().enumerate() {
                            let result = world.check(token);
                            assert!(result.is_err() || n >= last, "{n} of {last}");
                        }
                    }
                })
            })
            .collect();
        for n in 0..200_u64 {
            world
                .feed
                .delta(&[all(Thing::Token(ISSUER, &n.to_string()))]);
            revoked_up_to.store(n + 1, Ordering::Release);
        }
        done.store(true, Ordering::Release);
        checking
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
    assert!(
        tokens
            .iter()
            .all(|token| revoked(world.check(token)).is_some())
    );
}

#[test]
fn so_much_is_remembered_and_not_more() {
    let length = u64::try_from(signed("a", &claims("000")).len()).unwrap();
    let bound = 8 * (2 * length + 1024);
    let world = World::remembering(bound);
    world.feed.snapshot(&[]);
    for n in 0..100 {
        let token = signed("a", &claims(&format!("{n:03}")));
        assert!(world.check(&token).is_ok());
        assert!(world.guard.remembered_bytes() <= bound);
        assert!(world.guard.remembered() <= 8);
    }
    assert!(world.guard.remembered() > 0);
    let more = Guard::builder(
        ISSUER,
        "shop".parse().unwrap(),
        Keys::fixed(KeySet::default()),
        world.feed,
    );
    assert_eq!(
        more.remember(limits::VERIFIED_BYTES + 1).remembered,
        limits::VERIFIED_BYTES
    );
}

#[test]
fn a_token_is_looked_at_up_to_its_bound() {
    let world = World::fed();
    let refused = |length| world.check(&"a".repeat(length)).unwrap_err();
    let too_large = VerifyError::Token(JoseError::TooLarge);
    assert_ne!(refused(limits::TOKEN), too_large);
    assert_eq!(refused(limits::TOKEN + 1), too_large);
}
