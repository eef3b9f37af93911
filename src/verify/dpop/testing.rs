//! Somebody with a key, who makes proofs of it: good ones, and others.

use crate::jose::Jwk;
use crate::verify::cache::print;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use http::request::Parts;
use serde_json::{Value, json};

pub(crate) struct Holder(EcdsaKeyPair);

impl Holder {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({"kty": "EC", "crv": "P-256", "x": part(1..33), "y": part(33..65)})
    }

    pub(crate) fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()})
    }

    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        let jwk: Jwk = serde_json::from_value(self.jwk()).unwrap();
        let text = jwk.thumbprint().unwrap();
        URL_SAFE_NO_PAD.decode(text).unwrap().try_into().unwrap()
    }

    /// A proof of exactly this header and payload text.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let input = format!("{}.{}", encode(header), encode(payload));
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn proof(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

/// What a proof for a GET of `url` says.
pub(crate) fn claims(url: &str, token: &str, issued: i64, jti: &str) -> Value {
    let ath = URL_SAFE_NO_PAD.encode(print(token));
    json!({"jti": jti, "htm": "GET", "htu": url, "iat": issued, "ath": ath})
}

/// A request with these `DPoP` headers.
pub(crate) fn request(method: &str, path: &str, proofs: &[&str]) -> Parts {
    let mut request = Request::builder().method(method).uri(path);
    for proof in proofs {
        request = request.header("DPoP", proof.as_bytes());
    }
    request.body(()).unwrap().into_parts().0
}
