//! Attacks that are not among the published vectors, arbitrary input, and every bound at n and at n + 1.

use crate::support::jws::Signer;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::jose::{
    Algorithm, JoseError, Jwk, KeySet, NumericDate, SelfSigned, Unverified, Validity, VerifyingKey,
    from_slice,
};
use cambist::limits;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::new);
static KEYS: LazyLock<KeySet> = LazyLock::new(|| SIGNER.keys());
static TOKEN: LazyLock<String> = LazyLock::new(|| {
    SIGNER.token(
        "at+jwt",
        &json!({"sub": "spiffe://example.org/a", "exp": 4_000_000_000_u64}),
    )
});

fn claims(token: &str) -> Result<Value, JoseError> {
    let verified = Unverified::parse(token)?.verify(&KEYS)?;
    Ok(verified.into_jwt("at+jwt")?.into_claims())
}

#[test]
fn a_sound_token_is_read() {
    assert_eq!(claims(&TOKEN).unwrap()["sub"], "spiffe://example.org/a");
    for typ in [
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/At+Jwt",
    ] {
        assert!(claims(&SIGNER.token(typ, &json!({}))).is_ok(), "{typ}");
    }
}

#[test]
fn people_may_look_at_what_nobody_believes() {
    let token = Unverified::parse(&TOKEN).unwrap().inspect().unwrap();
    assert_eq!(token.header["kid"], "k");
    assert_eq!(token.claims["sub"], "spiffe://example.org/a");
    let repeated = SIGNER.sign(r#"{"alg":"ES256"}"#, r#"{"sub":"a","sub":"b"}"#);
    assert!(Unverified::parse(&repeated).unwrap().inspect().is_err());
}

#[test]
fn another_type_is_refused() {
    for typ in [
        "JWT",
        "",
        "at+jwt ",
        "text/at+jwt",
        "logout+jwt",
        "application/application/at+jwt",
    ] {
        assert_eq!(
            claims(&SIGNER.token(typ, &json!({}))),
            Err(JoseError::WrongType),
            "{typ}"
        );
    }
    let untyped = SIGNER.sign(r#"{"alg":"ES256","kid":"k"}"#, "{}");
    assert_eq!(claims(&untyped), Err(JoseError::WrongType));
}

#[test]
fn headers_that_ask_for_more_are_refused() {
    for member in ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"] {
        for value in [
            "null",
            "[]",
            "false",
            "\"\"",
            "[\"exp\"]",
            "{}",
            "\"https://example.com/keys\"",
        ] {
            let header =
                format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"k","{member}":{value}}}"#);
            let refused = Unverified::parse(&SIGNER.sign(&header, "{}")).map(|_| ());
            assert_eq!(refused, Err(JoseError::HeaderRefused(member)), "{header}");
        }
    }
}

/// The key that a token brings says whose it is to nobody but those who look for that key.
#[test]
fn a_token_with_its_own_key_is_of_another_type() {
    let jwk = SIGNER.jwk();
    let with = |jwk: &Value| {
        let header = json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk});
        SIGNER.sign(&header.to_string(), "{}")
    };
    let token = with(&jwk);
    let parse = |token: &str| SelfSigned::parse(token, &[Algorithm::Es256]).map(|_| ());
    assert_eq!(
        Unverified::parse(&token).unwrap_err(),
        JoseError::HeaderRefused("jwk")
    );
    assert_eq!(parse(&TOKEN), Err(JoseError::HeaderRefused("no jwk")));
    let other = SelfSigned::parse(&token, &[Algorithm::Ed25519]).map(|_| ());
    assert_eq!(other, Err(JoseError::HeaderRefused("alg")));
    let signed = SelfSigned::parse(&token, &[Algorithm::Es256]).unwrap();
    let key: Jwk = serde_json::from_value(jwk.clone()).unwrap();
    let thumbprint = URL_SAFE_NO_PAD.encode(signed.thumbprint());
    assert_eq!(thumbprint, key.thumbprint().unwrap());
    assert_eq!(signed.verify().unwrap().payload(), b"{}");
    let foreign = with(&Signer::new().jwk());
    let foreign = SelfSigned::parse(&foreign, &[Algorithm::Es256]).unwrap();
    assert_eq!(foreign.verify().unwrap_err(), JoseError::BadSignature);
    let mut private = jwk;
    private["d"] = json!("AAAA");
    let shown = JoseError::KeyRefused("a private key was shown");
    assert_eq!(parse(&with(&private)), Err(shown));
}

#[test]
fn algorithms_that_are_not_the_keys_are_refused() {
    for alg in [
        "\"none\"",
        "\"None\"",
        "\"\"",
        "\"HS256\"",
        "\"RS256\"",
        "\"es256\"",
        "\"ES256 \"",
        "[\"ES256\"]",
        "null",
        "1",
    ] {
        let header = format!(r#"{{"alg":{alg},"typ":"at+jwt","kid":"k"}}"#);
        assert!(claims(&SIGNER.sign(&header, "{}")).is_err(), "{alg}");
    }
    assert!(claims(&SIGNER.sign(r#"{"typ":"at+jwt","kid":"k"}"#, "{}")).is_err());
}

#[test]
fn key_ids_are_opaque_and_bounded() {
    for kid in ["../../etc/passwd", "' or 1=1 --", "", "K", "k "] {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}).to_string();
        assert!(claims(&SIGNER.sign(&header, "{}")).is_err(), "{kid}");
    }
    let with_kid = |kid: &str| {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}).to_string();
        claims(&SIGNER.sign(&header, "{}"))
    };
    assert_eq!(
        with_kid(&"k".repeat(limits::KEY_ID)),
        Err(JoseError::UnknownKey)
    );
    assert_eq!(
        with_kid(&"k".repeat(limits::KEY_ID + 1)),
        Err(JoseError::HeaderRefused("kid"))
    );
    assert_eq!(with_kid("k\0"), Err(JoseError::HeaderRefused("kid")));
}

#[test]
fn repeated_members_are_refused_at_every_level() {
    let header = r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#;
    for payload in [
        r#"{"sub":"a","sub":"b"}"#,
        r#"{"sub":"a","s\u0075b":"b"}"#,
        r#"{"act":{"sub":"a","sub":"a"}}"#,
        r#"{"x":[{"y":{"z":1,"z":1}}]}"#,
    ] {
        let refused = claims(&SIGNER.sign(header, payload));
        assert!(matches!(refused, Err(JoseError::BadClaims(_))), "{payload}");
    }
    for header in [
        r#"{"alg":"ES256","typ":"at+jwt","kid":"k","alg":"none"}"#,
        r#"{"alg":"ES256","typ":"at+jwt","kid":"k","other":{"a":1,"a":1}}"#,
    ] {
        let refused = claims(&SIGNER.sign(header, "{}"));
        assert!(matches!(refused, Err(JoseError::Malformed(_))), "{header}");
    }
    let jwk = SIGNER.jwk().to_string();
    let twice = format!(r#"{{"keys":[{jwk}],"keys":[{jwk}]}}"#);
    assert!(KeySet::parse(twice.as_bytes()).is_err());
}

#[test]
fn bounds_hold_at_n_and_n_plus_one() {
    let fill = |length: usize| {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
        let rest = length - header.len() - 2;
        // 86 characters of signature; the payload takes what is left, which must be no single spare character.
        format!("{header}.{}.{}", "A".repeat(rest - 86), "A".repeat(86))
    };
    let sound = (0..4)
        .map(|i| fill(limits::TOKEN - i))
        .find(|token| Unverified::parse(token).is_ok());
    assert!(sound.is_some_and(|token| token.len() > limits::TOKEN - 2));
    let long = fill(limits::TOKEN + 1);
    assert_eq!(
        Unverified::parse(&long).map(|_| ()),
        Err(JoseError::TooLarge)
    );

    let header = |length: usize| {
        let pad = length / 4 * 3 - r#"{"alg":"ES256","x":""}"#.len();
        format!(r#"{{"alg":"ES256","x":"{}"}}"#, "x".repeat(pad))
    };
    let fits = SIGNER.sign(&header(limits::JOSE_HEADER), "");
    assert!(Unverified::parse(&fits).is_ok());
    let over = SIGNER.sign(&header(limits::JOSE_HEADER + 4), "");
    assert_eq!(
        Unverified::parse(&over).map(|_| ()),
        Err(JoseError::HeaderRefused("too long"))
    );

    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(from_slice::<Value>(nested(limits::JSON_DEPTH).as_bytes()).is_ok());
    assert!(from_slice::<Value>(nested(limits::JSON_DEPTH + 1).as_bytes()).is_err());
    assert!(from_slice::<Value>(nested(100_000).as_bytes()).is_err());

    let many = |count: usize| {
        let mut keys = vec![json!({"kty": "unknown"}); count - 1];
        keys.push(SIGNER.jwk());
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).map(|set| set.len())
    };
    assert_eq!(many(limits::KEY_SET), Ok(1));
    assert!(many(limits::KEY_SET + 1).is_err());
    let sized = |length: usize| {
        let mut text = json!({"keys": [SIGNER.jwk()]}).to_string();
        text.push_str(&" ".repeat(length - text.len()));
        KeySet::parse(text.as_bytes()).map(|set| set.len())
    };
    assert_eq!(sized(limits::KEY_SET_BYTES), Ok(1));
    assert_eq!(sized(limits::KEY_SET_BYTES + 1), Err(JoseError::TooLarge));
}

#[test]
fn dates_are_whole_seconds_within_bounds() {
    let latest = limits::NUMERIC_DATE.to_string();
    for text in ["0", "1700000000", &latest] {
        assert!(from_slice::<NumericDate>(text.as_bytes()).is_ok(), "{text}");
    }
    let later = (limits::NUMERIC_DATE + 1).to_string();
    for text in [
        later.as_str(),
        "-1",
        "1.0",
        "1.5",
        "1e400",
        "1e3",
        "\"1700000000\"",
        "null",
        "true",
        "[]",
        "9007199254740993000000",
        "18446744073709551615",
        "NaN",
        "01",
    ] {
        assert!(
            from_slice::<NumericDate>(text.as_bytes()).is_err(),
            "{text}"
        );
    }
}

#[test]
fn times_are_checked_with_a_leeway_that_has_an_end() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let date = |second| NumericDate::floor(at(second));
    let validity = Validity {
        expires: date(1000),
        issued: Some(date(500)),
        not_before: None,
    };
    let none = Duration::ZERO;
    assert_eq!(validity.check(at(999), none), Ok(()));
    assert_eq!(validity.check(at(1000), none), Err(JoseError::Expired));
    assert_eq!(validity.check(at(500), none), Ok(()));
    assert_eq!(validity.check(at(499), none), Err(JoseError::NotYetValid));
    assert_eq!(validity.check(at(1000), Duration::from_secs(1)), Ok(()));
    let most = i64::try_from(limits::LEEWAY.as_secs()).unwrap();
    assert_eq!(validity.check(at(1000 + most - 1), Duration::MAX), Ok(()));
    assert_eq!(
        validity.check(at(1000 + most), Duration::MAX),
        Err(JoseError::Expired)
    );
    assert_eq!(validity.check(at(500 - most), Duration::MAX), Ok(()));
    assert_eq!(
        validity.check(at(500 - most - 1), Duration::MAX),
        Err(JoseError::NotYetValid)
    );
    let later = Validity {
        not_before: Some(date(800)),
        ..validity
    };
    assert_eq!(later.check(at(799), none), Err(JoseError::NotYetValid));
    assert_eq!(later.check(at(800), none), Ok(()));
}

#[test]
fn weak_keys_are_refused() {
    let admit = |jwk: Value| {
        VerifyingKey::from_jwk(&serde_json::from_value::<Jwk>(jwk).unwrap()).map(|_| ())
    };
    // Points of small order, of both signs.
    for (first, rest, last) in [
        (0, 0, 0),
        (1, 0, 0),
        (1, 0, 0x80),
        (0xEC, 0xFF, 0x7F),
        (0xED, 0xFF, 0x7F),
        (0xEE, 0xFF, 0xFF),
    ] {
        let mut point = [rest; 32];
        (point[0], point[31]) = (first, last);
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(point)});
        assert_eq!(
            admit(jwk),
            Err(JoseError::KeyRefused("a point of small order")),
            "{point:?}"
        );
    }
    // The same point in DER, which a library reads as well: of small order, and a good one.
    let der = |point: &[u8]| {
        let prefix = [0x30, 42, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 3, 33, 0];
        let x = URL_SAFE_NO_PAD.encode([&prefix, point].concat());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x})
    };
    let mut small = [0; 32];
    small[0] = 1;
    // The public key of RFC 8037 appendix A.2.
    let good = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": good});
    assert_eq!(admit(jwk), Ok(()));
    let good = URL_SAFE_NO_PAD.decode(good).unwrap();
    let short = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&good[1..])});
    for jwk in [der(&small), der(&good), short] {
        let refused = Err(JoseError::KeyRefused("coordinate length"));
        assert_eq!(admit(jwk.clone()), refused, "{jwk}");
    }
    let mut private = SIGNER.jwk();
    private["d"] = json!("AAAA");
    assert_eq!(
        admit(private),
        Err(JoseError::KeyRefused("a private key was published"))
    );
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("ES384")),
        ("kty", json!("RSA")),
    ] {
        let mut jwk = SIGNER.jwk();
        jwk[member] = value;
        assert!(admit(jwk.clone()).is_err(), "{jwk}");
    }
    // Odd numbers without small structure stand in for moduli: their size is judged before anything else.
    let modulus = |bits: usize| {
        let mut bytes = vec![0xB5; bits.div_ceil(8)];
        if bits % 8 == 1 {
            bytes[0] = 1;
        }
        json!({"kty": "RSA", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(bytes)})
    };
    assert_eq!(admit(modulus(limits::RSA_BITS)), Ok(()));
    assert_eq!(
        admit(modulus(limits::RSA_BITS + 1)),
        Err(JoseError::KeyRefused("RSA modulus size"))
    );
    assert_eq!(admit(modulus(2048)), Ok(()));
    assert_eq!(
        admit(modulus(2041)),
        Err(JoseError::KeyRefused("RSA modulus size"))
    );
    for exponent in ["AQ", "AA", "Ag", "AQAA", "AQAAAAE", "AAE", ""] {
        let mut jwk = modulus(2048);
        jwk["e"] = json!(exponent);
        assert!(admit(jwk).is_err(), "{exponent}");
    }
}

#[test]
fn two_keys_of_one_id_make_no_set() {
    let (mine, theirs) = (SIGNER.jwk(), Signer::new().jwk());
    let text = json!({"keys": [mine, theirs]}).to_string();
    assert!(matches!(
        KeySet::parse(text.as_bytes()),
        Err(JoseError::KeySetRefused(_))
    ));
}

/// RFC 7638 section 3.1, the example.
#[test]
fn thumbprints_are_those_of_the_rfc() {
    let jwk: Jwk = serde_json::from_value(json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    })).unwrap();
    assert_eq!(
        jwk.thumbprint().unwrap(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
}

proptest! {
    #[test]
    fn any_changed_byte_is_refused(at in any::<prop::sample::Index>(), to in 0x20u8..0x7F) {
        let mut bytes = TOKEN.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(claims(&changed).is_err());
    }

    #[test]
    fn any_cut_or_addition_is_refused(at in any::<prop::sample::Index>(), extra in "[ -~]{1,4}") {
        let at = at.index(TOKEN.len());
        prop_assert!(claims(&TOKEN[..at]).is_err());
        let mut longer = TOKEN.clone();
        longer.insert_str(at, &extra);
        prop_assert!(claims(&longer).is_err());
        let appended = format!("{}{extra}", *TOKEN);
        prop_assert!(claims(&appended).is_err());
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = claims(&text);
        let _ = KeySet::parse(text.as_bytes());
    }

    #[test]
    fn arbitrary_parts_never_panic(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5)) {
        let text: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        let _ = claims(&text.join("."));
    }

    #[test]
    fn arbitrary_keys_never_panic(
        kty in "EC|OKP|RSA|oct", crv in "P-256|P-384|P-521|Ed25519", one: Vec<u8>, two: Vec<u8>, alg in "ES256|RS256|EdDSA|x",
    ) {
        let (one, two) = (URL_SAFE_NO_PAD.encode(one), URL_SAFE_NO_PAD.encode(two));
        let jwk = json!({"kty": kty, "crv": crv, "x": one, "y": two, "n": one, "e": two, "alg": alg});
        let _ = KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes());
    }
}
