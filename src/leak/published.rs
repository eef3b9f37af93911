//! The keys that a reporter publishes.

use crate::limits;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

/// A document of public keys, as GitHub has it at `/meta/public_keys/secret_scanning`.
#[derive(Debug, Default)]
pub struct Published(Vec<(String, ParsedPublicKey)>);

/// Why a document is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishedError {
    /// Not the JSON that it should be.
    #[error("not a JSON object with `public_keys`, each with `key_identifier` and `key`")]
    Malformed,
    /// Over [`limits::KEY_SET`].
    #[error("more than {max} keys", max = limits::KEY_SET)]
    TooMany,
    /// Nothing could be verified with it.
    #[error("none of its keys is a public key of P-256 in PEM, with an identifier of at most {max} bytes", max = limits::KEY_ID)]
    Useless,
}

#[derive(Deserialize)]
struct Document {
    public_keys: Vec<Raw>,
}

/// A key that is no longer `is_current` still verifies what was signed with it, for as long as it is published.
#[derive(Deserialize)]
struct Raw {
    key_identifier: String,
    key: String,
}

impl Published {
    /// Reads a document. Keys that are of no use to us are passed over.
    ///
    /// # Errors
    /// [`PublishedError`].
    pub fn read(document: &[u8]) -> Result<Self, PublishedError> {
        let document: Document =
            serde_json::from_slice(document).map_err(|_| PublishedError::Malformed)?;
        if document.public_keys.len() > limits::KEY_SET {
            return Err(PublishedError::TooMany);
        }
        let keys = document.public_keys.into_iter().filter_map(|raw| {
            let named = (1..=limits::KEY_ID).contains(&raw.key_identifier.len());
            let key = SubjectPublicKeyInfoDer::from_pem_slice(raw.key.as_bytes()).ok();
            let key = key.filter(|_| named)?;
            let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.as_ref()).ok()?;
            Some((raw.key_identifier, key))
        });
        let keys: Vec<_> = keys.collect();
        match keys.is_empty() {
            true => Err(PublishedError::Useless),
            false => Ok(Self(keys)),
        }
    }

    /// Whether one of these keys is called so.
    #[must_use]
    pub fn names(&self, id: &str) -> bool {
        self.0.iter().any(|(name, _)| name == id)
    }

    /// Whether a key that is called so made this signature, in DER, over these bytes.
    #[must_use]
    pub fn verifies(&self, id: &str, body: &[u8], signature: &[u8]) -> bool {
        let named = self.0.iter().filter(|(name, _)| name == id);
        named
            .map(|(_, key)| key)
            .any(|key| key.verify_sig(body, signature).is_ok())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, KeyPair as _,
    };
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    /// The sample of GitHub's own documentation of its partner programme.
    pub(in crate::leak) const ID: &str =
        "f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d";
    pub(in crate::leak) const BODY: &[u8] =
        br#"[{"token":"some_token","type":"some_type","url":"some_url"}]"#;
    pub(in crate::leak) const SIGNATURE: &str = "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc=";
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq\nkCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==\n-----END PUBLIC KEY-----\n";

    pub(in crate::leak) fn document(keys: &[(&str, &str)]) -> Vec<u8> {
        let key = |(id, pem): &(&str, &str)| json!({ "key_identifier": id, "key": pem, "is_current": false });
        let keys: Vec<Value> = keys.iter().map(key).collect();
        json!({ "public_keys": keys }).to_string().into_bytes()
    }

    pub(in crate::leak) fn github() -> Vec<u8> {
        document(&[(ID, KEY)])
    }

    #[test]
    fn the_sample_verifies_and_nothing_beside_it() {
        let published = Published::read(&github()).unwrap();
        let signature = STANDARD.decode(SIGNATURE).unwrap();
        assert!(published.verifies(ID, BODY, &signature));
        // The bytes as they came: the same JSON with one more newline is another message.
        assert!(!published.verifies(ID, &[BODY, b"\n"].concat(), &signature));
        assert!(!published.verifies("another", BODY, &signature));
        assert!(!published.verifies(ID, BODY, b""));
        let mut flipped = signature.clone();
        flipped[20] ^= 1;
        assert!(!published.verifies(ID, BODY, &flipped));
        assert!(published.names(ID) && !published.names("another"));
    }

    pub(in crate::leak) fn public(algorithm: &'static EcdsaSigningAlgorithm) -> String {
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).unwrap();
        let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(
            pair.public_key(),
        );
        let text = STANDARD.encode(der.unwrap().as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    #[test]
    fn keys_of_no_use_are_passed_over_and_a_document_without_any_other_is_not_taken() {
        let other = public(&ECDSA_P384_SHA384_ASN1_SIGNING);
        let good = public(&ECDSA_P256_SHA256_ASN1_SIGNING);
        for bad in ["", "garbage", &other, &good.replace("PUBLIC", "PRIVATE")] {
            let refused = Published::read(&document(&[("a", bad)]));
            assert_eq!(refused.unwrap_err(), PublishedError::Useless, "{bad}");
            let mixed = Published::read(&document(&[("a", bad), ("b", &good)])).unwrap();
            assert!(mixed.names("b") && !mixed.names("a"));
        }
        for malformed in ["", "[]", "{}", r#"{"public_keys":[{}]}"#] {
            let refused = Published::read(malformed.as_bytes());
            assert_eq!(
                refused.unwrap_err(),
                PublishedError::Malformed,
                "{malformed}"
            );
        }
    }

    #[test]
    fn keys_are_so_many_and_identifiers_so_long_and_no_more() {
        let good = public(&ECDSA_P256_SHA256_ASN1_SIGNING);
        let named = |length: usize| Published::read(&document(&[(&"a".repeat(length), &good)]));
        assert!(named(limits::KEY_ID).is_ok());
        assert_eq!(
            named(limits::KEY_ID + 1).unwrap_err(),
            PublishedError::Useless
        );
        let many = |count: usize| Published::read(&document(&vec![("a", good.as_str()); count]));
        assert!(many(limits::KEY_SET).is_ok());
        assert_eq!(
            many(limits::KEY_SET + 1).unwrap_err(),
            PublishedError::TooMany
        );
    }
}
