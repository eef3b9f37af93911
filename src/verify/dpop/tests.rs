//! Proofs, good and otherwise, one at a time.

mod place;
mod seen;

use super::testing::{Holder, claims, request};
use super::*;
use crate::verify::cache::print;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

const BASE: &str = "https://shop.example.org";
const URL: &str = "https://shop.example.org/orders";
const TOKEN: &str = "a.b.c";
const NOW: i64 = 1_000_000;

static HOLDER: LazyLock<Holder> = LazyLock::new(Holder::new);
/// One proof for all mutations of it.
static GOOD: LazyLock<String> = LazyLock::new(|| HOLDER.proof(&good()));

fn good() -> Value {
    claims(URL, TOKEN, NOW, "one")
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Checks and spends what a GET brings, for a token that is bound to the holder's key.
fn pass(proofs: &Proofs, shown: &[&str], now: i64) -> Result<(), VerifyError> {
    let request = request("GET", "/orders", shown);
    let shown = proofs.shown(&request);
    let proof = shown.check(&print(TOKEN), &HOLDER.thumbprint(), at(now))?;
    proof.spend(at(now))?;
    Ok(())
}

fn check(proof: &str) -> Result<(), VerifyError> {
    pass(&Proofs::at(BASE).unwrap(), &[proof], NOW)
}

fn refused(proof: &str) -> JoseError {
    match check(proof) {
        Err(VerifyError::Proof(ProofError::Jwt(error))) => error,
        other => panic!("{proof}: {other:?}"),
    }
}

#[test]
fn a_good_proof_passes_once() {
    let proofs = Proofs::at(BASE).unwrap();
    let replayed = Err(ProofError::Replayed.into());
    assert_eq!(pass(&proofs, &[&GOOD], NOW), Ok(()));
    assert_eq!(pass(&proofs, &[&GOOD], NOW), replayed);
    assert_eq!(pass(&proofs.clone(), &[&GOOD], NOW), replayed);
    // Signed anew, and at another second, it has the same name still.
    let again = HOLDER.proof(&with("iat", json!(NOW - 1)));
    assert_eq!(pass(&proofs, &[&again], NOW), replayed);
    let another = HOLDER.proof(&with("jti", json!("two")));
    assert_eq!(pass(&proofs, &[&another], NOW), Ok(()));
    assert_eq!(proofs.remembered(), 2);
    // The whole share of one key leaves room for another's.
    let proofs = Proofs::remembering(BASE, limits::DPOP_SEEN_SHARE).unwrap();
    assert_eq!(pass(&proofs, &[&GOOD], NOW), Ok(()));
    assert_eq!(
        pass(&proofs, &[&another], NOW),
        Err(ProofError::Full.into())
    );
    // What another key's holder calls its proof is nothing to this one's.
    let other = Holder::new();
    let (request, proof) = (
        |proof: &str| request("GET", "/orders", &[proof]),
        other.proof(&good()),
    );
    let request = request(&proof);
    let shown = proofs.shown(&request);
    let checked = shown.check(&print(TOKEN), &other.thumbprint(), at(NOW));
    assert!(checked.unwrap().spend(at(NOW)).is_ok());
}

#[test]
fn what_is_checked_and_refused_later_is_not_spent() {
    let proofs = Proofs::at(BASE).unwrap();
    let request = request("GET", "/orders", &[&GOOD]);
    let shown = proofs.shown(&request);
    let check = || shown.check(&print(TOKEN), &HOLDER.thumbprint(), at(NOW));
    let (first, second) = (check().unwrap(), check().unwrap());
    assert_eq!(proofs.remembered(), 0);
    // Two that were checked side by side: one passes.
    assert!(second.spend(at(NOW)).is_ok());
    let refused = first.spend(at(NOW)).map(|_| ());
    assert_eq!(refused, Err(ProofError::Replayed));
}

#[test]
fn there_is_one_header_with_one_proof() {
    let proofs = Proofs::at(BASE).unwrap();
    let other = HOLDER.proof(&with("jti", json!("two")));
    let not_one = Err(VerifyError::Proof(ProofError::NotOne));
    let good = GOOD.as_str();
    for shown in [&[][..], &[good, &other], &[good, good], &["\u{e9}"]] {
        assert_eq!(pass(&proofs, shown, NOW), not_one, "{shown:?}");
    }
    let joined = format!("{}, {other}", *GOOD);
    for text in [
        joined.as_str(),
        "",
        "a.b",
        "a.b.c.d",
        &format!("{} ", *GOOD),
    ] {
        let refused = pass(&proofs, &[text], NOW);
        let is_malformed = matches!(refused, Err(VerifyError::Proof(ProofError::Jwt(_))));
        assert!(is_malformed, "{text}: {refused:?}");
    }
}

#[test]
fn a_proof_of_another_key_is_none() {
    let other = Holder::new();
    let mine = check(&other.proof(&good()));
    assert_eq!(mine, Err(VerifyError::Confirmation));
    // With the right key shown, and signed by another.
    let forged = other.sign(&HOLDER.header().to_string(), &good().to_string());
    assert_eq!(refused(&forged), JoseError::BadSignature);
}

#[test]
fn a_header_asks_for_nothing_else() {
    let header = |change: &dyn Fn(&mut Value)| {
        let mut header = HOLDER.header();
        change(&mut header);
        HOLDER.sign(&header.to_string(), &good().to_string())
    };
    for typ in ["dpop+jwt", "DPoP+JWT", "application/dpop+jwt"] {
        let proof = header(&|header| header["typ"] = json!(typ));
        assert_eq!(check(&proof), Ok(()), "{typ}");
    }
    for typ in ["JWT", "at+jwt", "dpop", "text/dpop+jwt"] {
        let proof = header(&|header| header["typ"] = json!(typ));
        assert_eq!(refused(&proof), JoseError::WrongType, "{typ}");
    }
    let untyped = header(&|header| drop(header.as_object_mut().unwrap().remove("typ")));
    assert_eq!(refused(&untyped), JoseError::WrongType);
    for alg in ["none", "HS256", "ES384", "RS512", "PS384", "es256", ""] {
        let proof = header(&|header| header["alg"] = json!(alg));
        assert_eq!(refused(&proof), JoseError::HeaderRefused("alg"), "{alg}");
    }
    for alg in ["EdDSA", "PS256", "RS256"] {
        let proof = header(&|header| header["alg"] = json!(alg));
        let kind = JoseError::KeyRefused("alg and key type differ");
        assert_eq!(refused(&proof), kind, "{alg}");
    }
    for name in ["crit", "b64", "zip", "enc", "jku", "x5u", "x5c"] {
        let proof = header(&|header| header[name] = json!(["exp"]));
        assert_eq!(refused(&proof), JoseError::HeaderRefused(name));
    }
    let without = header(&|header| drop(header.as_object_mut().unwrap().remove("jwk")));
    assert_eq!(refused(&without), JoseError::HeaderRefused("no jwk"));
    for jwk in [Value::Null, json!("k"), json!([]), json!({})] {
        let proof = header(&|header| header["jwk"] = jwk.clone());
        assert_eq!(refused(&proof), JoseError::KeyRefused("not a JWK"), "{jwk}");
    }
}

#[test]
fn a_key_is_a_public_one_for_signatures() {
    let key = |name: &str, value: Value| {
        let mut header = HOLDER.header();
        header["jwk"][name] = value;
        HOLDER.sign(&header.to_string(), &good().to_string())
    };
    let secret = JoseError::KeyRefused("a private key was shown");
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for value in [json!("AQAB"), Value::Null, json!([])] {
            assert_eq!(refused(&key(name, value)), secret, "{name}");
        }
    }
    for (name, value) in [
        ("kid", json!("mine")),
        ("use", json!("sig")),
        ("key_ops", json!(["verify"])),
        ("alg", json!("ES256")),
        ("ext", json!(true)),
    ] {
        assert_eq!(check(&key(name, value)), Ok(()), "{name}");
    }
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("ES384")),
        ("alg", json!("HS256")),
    ] {
        let refused = refused(&key(name, value));
        assert!(matches!(refused, JoseError::KeyRefused(_)), "{refused}");
    }
    // The other text of the same coordinate is another thumbprint, and no coordinate either.
    let x = HOLDER.jwk()["x"].as_str().unwrap().to_owned();
    let padded = check(&key("x", json!(format!("{x}="))));
    assert_eq!(padded, Err(VerifyError::Confirmation));
    let secret = json!({"kty": "oct", "k": "AAAA"});
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": secret});
    let proof = HOLDER.sign(&header.to_string(), &good().to_string());
    assert!(matches!(refused(&proof), JoseError::KeyRefused(_)));
}

#[test]
fn nothing_is_said_twice() {
    let (header, payload) = (HOLDER.header().to_string(), good().to_string());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let inner = header.replacen("\"jwk\":{", "\"jwk\":{\"kty\":\"EC\",", 1);
    for header in [
        twice(&header, "\"typ\":\"dpop+jwt\""),
        twice(&header, &format!("\"jwk\":{}", HOLDER.jwk())),
        twice(&header, "\"x\":1,\"x\":1"),
        inner,
    ] {
        let refused = refused(&HOLDER.sign(&header, &payload));
        assert!(matches!(refused, JoseError::Malformed(_)), "{header}");
    }
    for member in ["\"htm\":\"GET\"", "\"nonce\":1,\"nonce\":1"] {
        let refused = refused(&HOLDER.sign(&header, &twice(&payload, member)));
        assert!(matches!(refused, JoseError::BadClaims(_)), "{member}");
    }
    // Spare bits of base64url say nothing, so they are not there.
    let (input, signature) = GOOD.rsplit_once('.').unwrap();
    let last = signature.chars().next_back().unwrap();
    let next = char::from(u8::try_from(last).unwrap() + 1);
    let spare = format!("{input}.{}{next}", signature.strip_suffix(last).unwrap());
    assert_eq!(
        refused(&spare),
        JoseError::Malformed("not canonical base64url")
    );
}

#[test]
fn all_that_must_be_said_is_said() {
    for name in ["jti", "htm", "htu", "iat", "ath"] {
        let mut missing = good();
        missing.as_object_mut().unwrap().remove(name);
        for claims in [missing, with(name, Value::Null), with(name, json!([]))] {
            let refused = refused(&HOLDER.proof(&claims));
            assert!(matches!(refused, JoseError::BadClaims(_)), "{claims}");
        }
    }
    for iat in [json!(1_000_000.5), json!("1000000"), json!(-1)] {
        let refused = refused(&HOLDER.proof(&with("iat", iat)));
        assert!(matches!(refused, JoseError::BadClaims(_)));
    }
    let more = json!("a nonce that nobody asked for");
    assert_eq!(check(&HOLDER.proof(&with("nonce", more))), Ok(()));
}

#[test]
fn a_proof_is_for_one_method_url_and_token() {
    let refused = |name: &str, value: &str| check(&HOLDER.proof(&with(name, json!(value))));
    for method in ["POST", "get", "Get", "GET ", "", "HEAD"] {
        let error = Err(ProofError::Method.into());
        assert_eq!(refused("htm", method), error, "{method}");
    }
    for url in [
        "https://shop.example.org/order",
        "https://bank.example.org/orders",
        "",
    ] {
        assert_eq!(refused("htu", url), Err(ProofError::Url.into()), "{url}");
    }
    let hash = URL_SAFE_NO_PAD.encode(print(TOKEN));
    let others = [
        URL_SAFE_NO_PAD.encode(print("a.b.d")),
        format!("{hash}="),
        hash.to_ascii_uppercase(),
        hash.get(..42).unwrap().to_owned(),
        String::new(),
    ];
    for other in others {
        let error = Err(ProofError::Token.into());
        assert_eq!(refused("ath", &other), error, "{other}");
    }
}

#[test]
fn a_proof_is_of_now() {
    let age = i64::try_from(limits::DPOP_AGE.as_secs()).unwrap();
    let ahead = i64::try_from(limits::DPOP_AHEAD.as_secs()).unwrap();
    let old = Err(VerifyError::Proof(ProofError::Old));
    let early = Err(VerifyError::Proof(ProofError::Early));
    let by = |name: &str, date: i64| check(&HOLDER.proof(&with(name, json!(date))));
    assert_eq!(by("iat", NOW - age), Ok(()));
    assert_eq!(by("iat", NOW - age - 1), old);
    assert_eq!(by("iat", NOW + ahead), Ok(()));
    assert_eq!(by("iat", NOW + ahead + 1), early);
    assert_eq!(by("nbf", NOW + ahead), Ok(()));
    assert_eq!(by("nbf", NOW + ahead + 1), early);
    assert_eq!(by("exp", NOW + 1), Ok(()));
    assert_eq!(by("exp", NOW), old);
}

#[test]
fn sizes_have_their_bounds() {
    let named = |length| check(&HOLDER.proof(&with("jti", json!("a".repeat(length)))));
    let id = Err(ProofError::Jwt(JoseError::BadClaims("jti")).into());
    assert_eq!(named(limits::DPOP_ID), Ok(()));
    assert_eq!(named(limits::DPOP_ID + 1), id);
    assert_eq!(named(0), id);
    let of_length = |length: usize| {
        let pads = (0..3).flat_map(|header| (0..6000).map(move |claim| (header, claim)));
        let encoded = |text: &str| (text.len() * 4).div_ceil(3);
        let text = |mut value: Value, pad| {
            value["pad"] = json!("a".repeat(pad));
            value.to_string()
        };
        let payload = text(good(), 0);
        let fits = pads.into_iter().find(|(header, claim)| {
            let header = encoded(&text(HOLDER.header(), *header));
            header + ((payload.len() + claim) * 4).div_ceil(3) + 88 == length
        });
        let (header, claim) = fits.unwrap();
        let proof = HOLDER.sign(&text(HOLDER.header(), header), &text(good(), claim));
        assert_eq!(proof.len(), length);
        check(&proof)
    };
    assert_eq!(of_length(limits::DPOP_PROOF), Ok(()));
    let longer = of_length(limits::DPOP_PROOF + 1);
    assert_eq!(longer, Err(ProofError::TooLarge.into()));
}

#[test]
fn what_is_shown_for_people_holds_no_proof() {
    let proofs = Proofs::at(BASE).unwrap();
    let request = request("GET", "/orders", &[&GOOD]);
    let shown = format!("{proofs:?} {:?}", proofs.shown(&request));
    assert!(
        shown.contains("/orders") && shown.contains("shop"),
        "{shown}"
    );
    assert!(!shown.contains(GOOD.get(..20).unwrap()), "{shown}");
}

proptest! {
    #[test]
    fn no_changed_proof_passes(at in any::<prop::sample::Index>(), to in 0x20u8..0x7F) {
        let mut bytes = GOOD.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(check(&changed).is_err());
    }

    #[test]
    fn no_longer_or_shorter_proof_passes(at in any::<prop::sample::Index>(), extra in "[!-~]{1,4}") {
        let at = at.index(GOOD.len());
        prop_assert!(check(GOOD.get(..at).unwrap()).is_err());
        let mut longer = GOOD.clone();
        longer.insert_str(at, &extra);
        prop_assert!(check(&longer).is_err());
    }

    /// Each part from another proof of the same key: what was signed together stays together.
    #[test]
    fn no_mixture_of_proofs_passes(parts in [0usize..3, 0..3, 0..3]) {
        prop_assume!(parts[0] != parts[1] || parts[1] != parts[2]);
        let mut typed = HOLDER.header();
        typed["typ"] = json!("application/dpop+jwt");
        let three = [
            GOOD.clone(),
            HOLDER.proof(&with("jti", json!("two"))),
            HOLDER.sign(&typed.to_string(), &with("jti", json!("three")).to_string()),
        ];
        let part = |place: usize| three[parts[place]].split('.').nth(place).unwrap();
        let mixed = format!("{}.{}.{}", part(0), part(1), part(2));
        prop_assume!(!three.contains(&mixed));
        prop_assert!(check(&mixed).is_err());
    }

    #[test]
    fn arbitrary_text_never_panics(header in "\\PC{0,60}", payload in "\\PC{0,60}") {
        prop_assert!(check(&HOLDER.sign(&header, &payload)).is_err());
        let whole = HOLDER.sign(&HOLDER.header().to_string(), &payload);
        prop_assert!(check(&whole).is_err());
    }
}
