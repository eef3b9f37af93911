//! Somebody who reports leaked keys, as GitHub does.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, header};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

pub(crate) const KEY: &str = "GITHUB-PUBLIC-KEY-IDENTIFIER";
pub(crate) const SIGNATURE: &str = "Github-Public-Key-Signature";

pub(crate) struct Reporter {
    id: String,
    key: EcdsaKeyPair,
}

impl Reporter {
    pub(crate) fn new(id: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self {
            id: id.to_owned(),
            key,
        }
    }

    /// The document of its public keys.
    pub(crate) fn published(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().unwrap();
        published(&self.id, &STANDARD.encode(der.as_ref()))
    }

    pub(crate) fn sign(&self, body: &[u8]) -> String {
        let signature = self.key.sign(&SystemRandom::new(), body).unwrap();
        STANDARD.encode(signature.as_ref())
    }

    /// A report as it is sent.
    pub(crate) fn report(&self, body: &[u8]) -> Request<Full<Bytes>> {
        post(body, &[(KEY, &self.id), (SIGNATURE, &self.sign(body))])
    }
}

/// A document of one public key.
pub(crate) fn published(id: &str, spki: &str) -> String {
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{spki}\n-----END PUBLIC KEY-----\n");
    json!({ "public_keys": [{ "key_identifier": id, "key": pem, "is_current": true }] }).to_string()
}

/// A body, posted to where reports go.
pub(crate) fn post(body: &[u8], headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::post("https://localhost/leaks")
        .header(header::HOST, "localhost")
        .header(header::ACCEPT, "*/*");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.to_vec().into())).unwrap()
}

/// Findings, each at this place.
pub(crate) fn findings(tokens: &[&str], url: &str) -> Vec<u8> {
    let finding = |token: &&str| json!({ "token": token, "type": "cambist_api_key", "url": url, "source": "commit" });
    let all: Vec<Value> = tokens.iter().map(finding).collect();
    // As somebody else's serializer may have it: what is signed are these bytes, not what they mean.
    format!(" {}\n", json!(all)).into_bytes()
}
