use super::*;
use crate::authn::{Actor, Lineage, OwnClaims, OwnTokens, Reach, Verified};
use crate::clock::SystemRandomness;
use crate::id::{Audience, CredentialId, KeyPublicId};
use crate::jose::JoseError;
use crate::jose::VerifiedJwt;
use crate::keys::{KeyRing, SigningAlgorithm};
use crate::limits;
use crate::marker::{MarkerId, Part, Thing};
use crate::policy::Grant;
use crate::refusal::{Code, Denial, Fault, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const ISSUER: &str = "https://broker.example.org";
const SUB: &str = "spiffe://example.org/ci";
const AUDIENCE: &str = "https://shop.example.org";

/// Tests that only need some mint share one: making keys is the slow part.
static MINT: LazyLock<Mint> = LazyLock::new(|| mint(SigningAlgorithm::Es256));

/// What the exchange reads of a token that this mint made.
fn own(mint: &Mint, token: &str, now: Timestamp) -> Result<VerifiedJwt<OwnClaims>, Refusal> {
    OwnTokens::new(Arc::clone(mint.issuer()), Arc::clone(mint.ring())).verify(token, now)
}

fn mint(algorithm: SigningAlgorithm) -> Mint {
    let ring = KeyRing::for_test(algorithm, limits::MAX_LIFETIME);
    Mint::new(ISSUER.into(), ring, SystemRandomness::shared())
}

fn signed(mint: &Mint, grant: Grant, now: Timestamp) -> Result<Minted, Denial> {
    mint.draft(grant, now)
        .map_err(|unminted| unminted.denial)?
        .sign()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn lineage() -> Lineage {
    Lineage {
        credentials: vec![CredentialId::Certificate([7; 32])],
        ancestors: Vec::new(),
        exchange: Reach::Policy,
    }
}

fn chain(depth: usize) -> Option<Arc<Actor>> {
    (0..depth).fold(None, |previous, i| {
        Some(Arc::new(Actor {
            sub: format!("spiffe://example.org/{i}").into(),
            previous,
        }))
    })
}

fn grant(lineage: Lineage, actor: Option<Arc<Actor>>) -> Grant {
    let verified = Verified::descended_for_test(SUB, lineage, actor, at(1_000_000));
    Grant::for_test(verified, AUDIENCE, "deploy read")
}

fn token(grant: Grant) -> String {
    let minted = signed(&MINT, grant, at(1000)).unwrap();
    minted.token().expose().to_owned()
}

fn claims_text(token: &str) -> String {
    let payload = token.split('.').nth(1).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Signs claims that differ from a sound token's.
fn altered(change: impl FnOnce(&mut Value)) -> String {
    let mut claims: Value =
        serde_json::from_str(&claims_text(&token(grant(lineage(), None)))).unwrap();
    change(&mut claims);
    let key = MINT.ring().view().active.clone().unwrap();
    let input = format!(
        "{}.{}",
        key.jwt_header(),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    key.sign_jws(input).unwrap()
}

fn refused(grant: Grant) -> Code {
    match signed(&MINT, grant, at(1000)) {
        Err(Denial::Refused(refusal)) => refusal.code(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_text_is_that_of_rfc_9068_and_says_every_bound() {
    let granted =
        grant(lineage(), chain(2)).within(Duration::from_secs(60), at(5000), Some([0; 32]));
    let minted = signed(&MINT, granted, Timestamp::new(1000, 999_999_999).unwrap()).unwrap();
    let text = claims_text(minted.token().expose());
    let expected = format!(
        r#"{{"iss":"{ISSUER}","sub":"{SUB}","aud":"{AUDIENCE}","exp":1060,"iat":1000,"jti":"{}","client_id":"{SUB}","#,
        minted.id(),
    ) + r#""scope":"deploy read","cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},"#
        + r#""act":{"sub":"spiffe://example.org/1","act":{"sub":"spiffe://example.org/0"}},"#
        + r#""cmb":{"c":["x509:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"],"l":[],"x":{"any":true}}}"#;
    assert_eq!(text, expected);
    assert_eq!(
        (minted.issued_at(), minted.expires_at()),
        (at(1000), at(1060))
    );
    let header = minted.token().expose().split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(
        header,
        json!({"alg": "ES256", "typ": "at+jwt", "kid": minted.key().as_str()})
    );
}

/// Right before its record is written it is held against what was revoked meanwhile of its credentials' tokens so far.
#[test]
fn a_token_is_one_of_its_credentials_from_its_own_second_on() {
    let granted = grant(lineage(), None).within(Duration::from_secs(60), at(5000), Some([0; 32]));
    let minted = signed(&MINT, granted, at(1000)).unwrap();
    for digest in [[7; 32], [0; 32]] {
        let thing = Thing::TokensOf(CredentialId::Certificate(digest));
        let part = Part::dated(thing, at(1000));
        assert!(minted.fence().parts().contains(&part), "{digest:?}");
    }
}

#[test]
fn an_empty_exchange_ceiling_is_written_as_empty() {
    let none = Lineage {
        exchange: Reach::Listed([].into()),
        ..lineage()
    };
    let token = token(grant(none.clone(), None));
    assert!(claims_text(&token).ends_with(r#""x":{"aud":[]}}}"#));
    assert_eq!(own(&MINT, &token, at(1000)).unwrap().claims().lineage, none);
}

#[test]
fn bounds_hold_at_n_and_n_plus_one() {
    let credentials = |n| Lineage {
        credentials: vec![CredentialId::Certificate([7; 32]); n],
        ..lineage()
    };
    let ancestors = |n| Lineage {
        ancestors: vec![MarkerId::new([1; 16]); n],
        ..lineage()
    };
    let audience = Audience::parse("a").unwrap();
    let exchange = |n| Lineage {
        exchange: Reach::Listed(vec![audience.clone(); n].into()),
        ..lineage()
    };
    for (fits, over) in [
        (
            credentials(limits::LINEAGE),
            credentials(limits::LINEAGE + 1),
        ),
        (
            ancestors(limits::ANCESTORS),
            ancestors(limits::ANCESTORS + 1),
        ),
        (
            exchange(limits::KEY_AUDIENCES),
            exchange(limits::KEY_AUDIENCES + 1),
        ),
    ] {
        assert!(own(&MINT, &token(grant(fits, None)), at(1000)).is_ok());
        assert_eq!(refused(grant(over, None)), Code::LineageFull);
    }
    assert!(
        own(
            &MINT,
            &token(grant(lineage(), chain(limits::ACTORS))),
            at(1000)
        )
        .is_ok()
    );
    assert_eq!(
        refused(grant(lineage(), chain(limits::ACTORS + 1))),
        Code::LineageFull
    );

    // A reader holds to the same bounds, whoever had our key.
    let over = json!(vec!["AAAAAAAAAAAAAAAAAAAAAA"; limits::ANCESTORS + 1]);
    assert!(own(&MINT, &altered(|c| c["cmb"]["l"] = over), at(1000)).is_err());
    let deep = (0..limits::ACTORS).fold(
        json!({"sub": "a"}),
        |act, _| json!({"sub": "a", "act": act}),
    );
    assert!(own(&MINT, &altered(|c| c["act"] = deep), at(1000)).is_err());
}

#[test]
fn a_token_that_no_header_holds_is_refused() {
    let sub = "s".repeat(limits::TOKEN);
    let verified = Verified::descended_for_test(&sub, lineage(), None, at(5000));
    assert_eq!(
        refused(Grant::for_test(verified, AUDIENCE, "")),
        Code::InvalidRequest
    );
}

#[test]
fn nothing_is_minted_when_no_second_is_left() {
    for (lifetime, not_after) in [
        (Duration::from_millis(999), at(5000)),
        (Duration::from_secs(60), at(1000)),
    ] {
        let none = grant(lineage(), None).within(lifetime, not_after, None);
        assert_eq!(refused(none), Code::LifetimeExhausted);
    }
    let half = Timestamp::new(1000, 500_000_000).unwrap();
    assert_eq!(
        refused(grant(lineage(), None).within(Duration::from_secs(60), half, None)),
        Code::LifetimeExhausted
    );
}

#[test]
fn own_tokens_are_recognised_and_no_others() {
    let sound = token(grant(lineage(), None));
    assert!(own(&MINT, &sound, at(1000)).is_ok());
    let end = 1000 + i64::try_from(limits::DEFAULT_LIFETIME.as_secs()).unwrap();
    assert!(own(&MINT, &sound, at(end - 1)).is_ok());
    let code = |token: &str, second| {
        own(&MINT, token, at(second))
            .map(|_| ())
            .map_err(|r| r.code())
    };
    assert_eq!(code(&sound, end), Err(Code::TokenRefused));
    assert_eq!(code(&sound, 1000 - 6), Err(Code::TokenRefused));
    assert_eq!(code(&sound, 1000 - 5), Ok(()));
    assert_eq!(code("cmb_x", 1000), Err(Code::CredentialMalformed));
    let other = signed(
        &mint(SigningAlgorithm::Es256),
        grant(lineage(), None),
        at(1000),
    )
    .unwrap();
    assert_eq!(code(other.token().expose(), 1000), Err(Code::TokenRefused));
    for (name, value) in [
        ("iss", json!("https://broker.example.org/")),
        ("aud", json!([AUDIENCE, "b"])),
        ("exp", json!(1060.0)),
        ("exp", json!("1060")),
        ("nbf", json!(0)),
        ("scope", json!(["deploy"])),
        ("scope", Value::Null),
        ("cnf", json!({})),
        ("cnf", Value::Null),
        ("cnf", json!({"jkt": "a"})),
        ("act", Value::Null),
        ("may_act", json!({"sub": "a", "tenant": "b"})),
        ("may_act", json!({})),
        ("cmb", json!({})),
        ("cmb", json!({"c": [], "l": [], "x": {}})),
        ("cmb", json!({"c": [], "l": [], "x": {"any": false}})),
        (
            "cmb",
            json!({"c": [], "l": [], "x": {"any": true, "aud": []}}),
        ),
        ("cmb", json!({"c": [], "l": [], "x": {"aud": null}})),
        ("cmb", json!({"c": [], "l": []})),
        ("cmb", json!({"c": [], "l": [], "x": {"any": true}, "y": 1})),
    ] {
        let token = altered(|claims| claims[name] = value.clone());
        assert_eq!(
            code(&token, 1000),
            Err(Code::TokenRefused),
            "{name}: {value}"
        );
    }
    for missing in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "cmb"] {
        let token = altered(|claims| drop(claims.as_object_mut().unwrap().remove(missing)));
        assert_eq!(code(&token, 1000), Err(Code::TokenRefused), "{missing}");
    }
}

#[test]
fn who_may_act_is_read_where_it_is_said() {
    let token = altered(|claims| claims["may_act"] = json!({"sub": "spiffe://example.org/b"}));
    let may_act = own(&MINT, &token, at(1000)).unwrap().into_claims().may_act;
    assert_eq!(may_act.unwrap().sub, "spiffe://example.org/b");
    let scopeless = altered(|claims| drop(claims.as_object_mut().unwrap().remove("scope")));
    assert!(
        own(&MINT, &scopeless, at(1000))
            .unwrap()
            .claims()
            .scopes
            .is_empty()
    );
}

/// A library that shares no code with ours verifies the token from the published key alone.
#[test]
fn a_foreign_library_verifies_tokens_of_every_algorithm() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    for algorithm in [
        SigningAlgorithm::Es256,
        SigningAlgorithm::Ed25519,
        SigningAlgorithm::Rs256,
    ] {
        let mint = mint(algorithm);
        let minted = signed(&mint, grant(lineage(), None), at(1000)).unwrap();
        let token = minted.token().expose();
        let set: jsonwebtoken::jwk::JwkSet =
            serde_json::from_str(&mint.ring().view().jwks).unwrap();
        let jwk = set.find(minted.key().as_str()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(jwk).unwrap();
        let mut validation = jsonwebtoken::Validation::new(
            jwk.common
                .key_algorithm
                .unwrap()
                .to_string()
                .parse()
                .unwrap(),
        );
        validation.validate_exp = false;
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], SUB);
        assert!(own(&mint, token, at(1000)).is_ok());
    }
}

#[test]
fn a_key_that_is_not_published_verifies_nothing() {
    let ring = KeyRing::for_test(SigningAlgorithm::Es256, limits::MAX_LIFETIME);
    let mint = Mint::new(ISSUER.into(), Arc::clone(&ring), SystemRandomness::shared());
    let minted = signed(&mint, grant(lineage(), None), at(1000)).unwrap();
    ring.reset(&[]).unwrap();
    let refusal = own(&mint, minted.token().expose(), at(1000)).unwrap_err();
    assert_eq!(refusal.code(), Code::TokenRefused);
    assert_eq!(refusal.detail(), JoseError::UnknownKey.to_string());
    assert!(matches!(
        signed(&mint, grant(lineage(), None), at(1000)),
        Err(Denial::Failed {
            fault: Fault::NoSigningKey,
            ..
        })
    ));
}

fn credential() -> impl Strategy<Value = CredentialId> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(CredentialId::Certificate),
        "[0-9A-Za-z]{16}".prop_map(|id| CredentialId::ApiKey(KeyPublicId::parse(&id).unwrap())),
    ]
}

fn reach() -> impl Strategy<Value = Reach<Arc<[Audience]>>> {
    let audience = "[!#-\\[\\]-~]{1,20}".prop_map(|name| Audience::parse(&name).unwrap());
    prop_oneof![
        Just(Reach::Policy),
        prop::collection::vec(audience, 0..=limits::KEY_AUDIENCES)
            .prop_map(|names| Reach::Listed(names.into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(
        credentials in prop::collection::vec(credential(), 0..=limits::LINEAGE),
        ancestors in prop::collection::vec(any::<[u8; 16]>(), 0..=limits::ANCESTORS),
        exchange in reach(),
        actors in prop::collection::vec("\\PC{0,12}", 0..=limits::ACTORS),
        sub in "\\PC{0,20}",
        scopes in "[a-z]{1,5}( [a-z]{1,5}){0,9}|",
        bound_to: Option<[u8; 32]>,
    ) {
        let actor = actors.iter().fold(None, |previous, sub| Some(Arc::new(Actor { sub: sub.as_str().into(), previous })));
        let ancestors = ancestors.into_iter().map(MarkerId::new).collect();
        let lineage = Lineage { credentials, ancestors, exchange };
        let verified = Verified::descended_for_test(&sub, lineage.clone(), actor.clone(), at(1_000_000));
        let granted = Grant::for_test(verified, AUDIENCE, &scopes).within(Duration::from_secs(60), at(5000), bound_to);
        let scopes = granted.scopes().clone();
        let minted = signed(&MINT, granted, at(1000)).unwrap();
        let read = own(&MINT, minted.token().expose(), at(1000)).unwrap();
        prop_assert_eq!(read.key(), minted.key());
        let expected = OwnClaims {
            issuer: ISSUER.into(), sub: sub.as_str().into(), audience: Audience::parse(AUDIENCE).unwrap(),
            expires_at: at(1060), issued_at: at(1000), id: minted.id(), client_id: sub.as_str().into(),
            scopes, bound_to, actor, may_act: None, lineage,
        };
        prop_assert_eq!(read.into_claims(), expected);
    }

    /// Invariant 2: a token never outlives anything it is made from, nor its key's publication.
    #[test]
    fn a_token_outlives_nothing(now in 0_i64..4000, nanos in 0..1_000_000_000_i32, lifetime in 0_u64..10_000, not_after in 0_i64..8000) {
        let now = Timestamp::new(now, nanos).unwrap();
        let granted = grant(lineage(), None).within(Duration::from_secs(lifetime), at(not_after), None);
        match signed(&MINT, granted, now) {
            Ok(minted) => {
                let lived = minted.expires_at().duration_since(minted.issued_at()).unsigned_abs();
                prop_assert!(minted.issued_at() <= now && minted.issued_at() < minted.expires_at());
                prop_assert!(minted.expires_at() <= at(not_after));
                prop_assert!(lived <= Duration::from_secs(lifetime).min(limits::MAX_LIFETIME));
            }
            Err(Denial::Refused(refusal)) => {
                prop_assert_eq!(refusal.code(), Code::LifetimeExhausted);
                prop_assert!(lifetime == 0 || not_after <= now.as_second());
            }
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn without_an_active_key_nothing_is_minted() {
    let mint = Mint::new(
        ISSUER.into(),
        KeyRing::empty_for_test(),
        SystemRandomness::shared(),
    );
    assert!(!mint.can_sign());
    let minted = signed(&mint, grant(lineage(), None), at(1000));
    assert!(
        matches!(
            minted,
            Err(Denial::Failed {
                fault: Fault::NoSigningKey,
                ..
            })
        ),
        "{minted:?}"
    );
}
