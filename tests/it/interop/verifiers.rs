//! The foreign verifiers themselves: they accept what is right and refuse what is wrong, so that their
//! "yes" to our tokens means something.

use super::foreign::Foreign;
use super::issuer::{Issuer, Signer};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

const AUDIENCE: &str = "https://shop.example.org";
const TYP: &str = "at+jwt";

#[tokio::test]
async fn each_algorithm_verifies_in_each_library() {
    let algorithms = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];
    let signers = algorithms.map(|algorithm| Signer::new(algorithm, &format!("{algorithm:?}")));
    let issuer = Issuer::start(&signers.each_ref()).await;
    let claims = claims(&issuer);
    for signer in &signers {
        let token = signer.sign(TYP, &claims);
        for library in Foreign::ALL {
            for metadata in metadata(&issuer) {
                let said = library
                    .verify(&metadata, &issuer.ca(), AUDIENCE, &token)
                    .await;
                assert_eq!(said.yes(), claims, "{library:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_library_refuses_what_is_wrong_by_name() {
    let signer = Signer::new(Algorithm::ES256, "key");
    let impostor = Signer::new(Algorithm::ES256, "key");
    let unknown = Signer::new(Algorithm::ES256, "another");
    let issuer = Issuer::start(&[&signer]).await;
    let good = claims(&issuer);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signer.sign(TYP, &claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        signer.sign(TYP, &claims)
    };
    let claim = |name: &str| format!("ERR_JWT_CLAIM_VALIDATION_FAILED:{name}");
    let cases = [
        (
            with("aud", json!("https://bank.example.org")),
            "InvalidAudienceError",
            claim("aud"),
        ),
        (
            with("iss", json!("https://other.example.org")),
            "InvalidIssuerError",
            claim("iss"),
        ),
        (
            with("exp", json!(1_000_000_000)),
            "ExpiredSignatureError",
            "ERR_JWT_EXPIRED:exp".into(),
        ),
        (
            without("client_id"),
            "MissingRequiredClaimError",
            claim("client_id"),
        ),
        (signer.sign("JWT", &good), "InvalidTokenError", claim("typ")),
        (
            impostor.sign(TYP, &good),
            "InvalidSignatureError",
            "ERR_JWS_SIGNATURE_VERIFICATION_FAILED".into(),
        ),
        (
            unknown.sign(TYP, &good),
            "PyJWKClientError",
            "ERR_JWKS_NO_MATCHING_KEY".into(),
        ),
    ];
    let [metadata, _] = metadata(&issuer);
    for (token, python, node) in cases {
        for (library, name) in Foreign::ALL.into_iter().zip([python, &node]) {
            let said = library
                .verify(&metadata, &issuer.ca(), AUDIENCE, &token)
                .await;
            assert_eq!(said.refused(), name, "{library:?}");
        }
    }
}

/// An authority that is not trusted is a failure to connect: it must not pass for a refused token.
#[tokio::test]
async fn no_library_talks_to_an_issuer_it_does_not_trust() {
    let signer = Signer::new(Algorithm::ES256, "key");
    let issuer = Issuer::start(&[&signer]).await;
    let stranger = Issuer::start(&[&signer]).await;
    let token = signer.sign(TYP, &claims(&issuer));
    let [metadata, _] = metadata(&issuer);
    for library in Foreign::ALL {
        let said = library
            .verify(&metadata, &stranger.ca(), AUDIENCE, &token)
            .await;
        let failed = said.failed();
        assert!(failed.contains("certificate"), "{library:?}: {failed}");
    }
}

/// Nor must keys that cannot be had.
#[tokio::test]
async fn no_library_takes_keys_that_are_not_there_for_a_refused_token() {
    let signer = Signer::new(Algorithm::ES256, "key");
    let issuer = Issuer::naming("nowhere", &[&signer]).await;
    let token = signer.sign(TYP, &claims(&issuer));
    let [metadata, _] = metadata(&issuer);
    for library in Foreign::ALL {
        let said = library
            .verify(&metadata, &issuer.ca(), AUDIENCE, &token)
            .await;
        said.failed();
    }
}

fn metadata(issuer: &Issuer) -> [String; 2] {
    let documents = ["oauth-authorization-server", "openid-configuration"];
    documents.map(|document| format!("{}/.well-known/{document}", issuer.url))
}

fn claims(issuer: &Issuer) -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    json!({
        "iss": issuer.url,
        "sub": "spiffe://example.org/shop/cart",
        "aud": AUDIENCE,
        "exp": now + 300,
        "iat": now,
        "jti": "one",
        "client_id": "cart",
        "scope": "orders:read",
    })
}
