//! A private key, held parsed: parsing it again for each signature would cost more than half a signature.

use crate::id::KeyId;
use crate::jose::{Algorithm, Jwk, VerifyingKey};
use crate::marker::{Kind, MarkerId, Part, Second, Thing};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// The algorithms that tokens are signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519, written as `EdDSA`.
    #[serde(rename = "EdDSA", alias = "Ed25519")]
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and a key of 2048 bits: for verifiers that know nothing else.
    #[serde(rename = "RS256")]
    Rs256,
}

impl SigningAlgorithm {
    /// The algorithm as verifiers know it.
    #[must_use]
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::Es256,
            Self::Ed25519 => Algorithm::Ed25519,
            Self::Rs256 => Algorithm::Rs256,
        }
    }
}

/// A private key was not made, read or used.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyFault {
    /// It could not be generated.
    #[error("the key could not be generated")]
    Generation,
    /// Its stored form is not a key of its algorithm.
    #[error("the stored key is not a key of its algorithm")]
    Malformed,
    /// The library refused to sign.
    #[error("the key could not sign")]
    Signing,
    /// What it signs does not verify under the public key that would be published.
    #[error("the key's signature does not verify under its public key")]
    Inconsistent,
}

/// A private key, and the public one that goes with it. Its bytes leave [`crate::keys`] only sealed.
pub struct SigningKey {
    pair: Pair,
    algorithm: SigningAlgorithm,
    jwk: Jwk,
    verifying: VerifyingKey,
    jwt_header: String,
    marker: MarkerId,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`KeyFault`]; nothing was made.
    pub fn generate(algorithm: SigningAlgorithm) -> Result<Self, KeyFault> {
        let failed = |_| KeyFault::Generation;
        let pair = match algorithm {
            SigningAlgorithm::Es256 => {
                EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Ecdsa)
            }
            SigningAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
            SigningAlgorithm::Rs256 => RsaKeyPair::generate(rsa::KeySize::Rsa2048).map(Pair::Rsa),
        };
        Self::new(pair.map_err(failed)?, algorithm)
    }

    /// Reads a PKCS#8 document.
    pub(super) fn from_pkcs8(algorithm: SigningAlgorithm, der: &[u8]) -> Result<Self, KeyFault> {
        let pair = match algorithm {
            SigningAlgorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, der)
                    .map(Pair::Ecdsa)
            }
            SigningAlgorithm::Ed25519 => Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519),
            SigningAlgorithm::Rs256 => RsaKeyPair::from_pkcs8(der).map(Pair::Rsa),
        };
        Self::new(pair.map_err(|_| KeyFault::Malformed)?, algorithm)
    }

    /// Writes a PKCS#8 document, for sealing.
    pub(super) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        let failed = |_| KeyFault::Malformed;
        let bytes = match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Pair::Rsa(pair) => pair.as_der().map_err(failed)?.as_ref().to_vec(),
        };
        Ok(Zeroizing::new(bytes))
    }

    /// Invariant 12: a key is checked with our own verifier before anybody relies on it.
    fn new(pair: Pair, algorithm: SigningAlgorithm) -> Result<Self, KeyFault> {
        let bare = public_jwk(&pair).ok_or(KeyFault::Malformed)?;
        let jwk = bare
            .published(algorithm.algorithm())
            .map_err(|_| KeyFault::Malformed)?;
        let verifying = VerifyingKey::from_jwk(&jwk).map_err(|_| KeyFault::Inconsistent)?;
        let header = serde_json::json!({
            "alg": algorithm.algorithm().name(), "typ": "at+jwt", "kid": verifying.id().as_str(),
        });
        let marker = Thing::SigningKey(verifying.id()).id();
        let key = Self {
            pair,
            algorithm,
            jwk,
            verifying,
            jwt_header: URL_SAFE_NO_PAD.encode(header.to_string()),
            marker,
        };
        let probe = b"cambist: does this key sign?";
        let sound =
            key.with_signature(probe, |signature| key.verifying.verify(probe, signature))?;
        sound.map_err(|_| KeyFault::Inconsistent)?;
        Ok(key)
    }

    /// The key's id: the RFC 7638 thumbprint of the public key.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        self.verifying.id()
    }

    /// The part that it is of what a marker can cover of its tokens.
    #[must_use]
    pub fn part(&self) -> Part {
        Part::known(self.marker, Kind::SigningKey, Second::FIRST)
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The public key as it is published.
    #[must_use]
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// The public key.
    #[must_use]
    pub fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// The encoded header of an access token signed by this key.
    pub(crate) fn jwt_header(&self) -> &str {
        &self.jwt_header
    }

    /// Characters of an encoded signature.
    pub(crate) fn signature_chars(&self) -> usize {
        match &self.pair {
            Pair::Ecdsa(_) | Pair::Ed25519(_) => 86,
            Pair::Rsa(pair) => pair.public_modulus_len().saturating_mul(4).div_ceil(3),
        }
    }

    /// Turns a JWS signing input into the token, by appending its signature.
    pub(crate) fn sign_jws(&self, mut input: String) -> Result<String, KeyFault> {
        let encoded = self.with_signature(input.as_bytes(), |signature| {
            let mut text = [0; SIGNATURE_TEXT];
            let length = URL_SAFE_NO_PAD.encode_slice(signature, &mut text).ok()?;
            Some((text, length))
        })?;
        let (text, length) = encoded.ok_or(KeyFault::Signing)?;
        let text = text
            .get(..length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        input.push('.');
        input.push_str(text.ok_or(KeyFault::Signing)?);
        Ok(input)
    }

    /// Signs a message that is no JWS.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        self.with_signature(message, <[u8]>::to_vec)
    }

    /// The bytes of the public key, where it is one of Ed25519.
    pub(super) fn ed25519_public(&self) -> Option<[u8; 32]> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.public_key().as_ref().try_into().ok(),
            Pair::Ecdsa(_) | Pair::Rsa(_) => None,
        }
    }

    /// Signs, and hands over the signature where it lies: on the stack, but for RSA.
    fn with_signature<T>(
        &self,
        message: &[u8],
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, KeyFault> {
        let failed = |_| KeyFault::Signing;
        // aws-lc-rs keeps the parameter for compatibility and uses its own generator.
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(take(pair.sign(&random, message).map_err(failed)?.as_ref())),
            Pair::Ed25519(pair) => Ok(take(pair.try_sign(message).map_err(failed)?.as_ref())),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &signature::RSA_PKCS1_SHA256,
                    &random,
                    message,
                    &mut signature,
                )
                .map_err(failed)?;
                Ok(take(&signature))
            }
        }
    }
}

/// Characters of the longest signature: RSA's 256 bytes in base64url.
const SIGNATURE_TEXT: usize = 342;

fn public_jwk(pair: &Pair) -> Option<Jwk> {
    Some(match pair {
        Pair::Ecdsa(pair) => {
            // The uncompressed form: 4, then both coordinates.
            let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
            Jwk::ec("P-256", x, y)
        }
        Pair::Ed25519(pair) => Jwk::ed25519(pair.public_key().as_ref()),
        Pair::Rsa(pair) => {
            let public = pair.public_key();
            Jwk::rsa(
                public.modulus().big_endian_without_leading_zero(),
                public.exponent().big_endian_without_leading_zero(),
            )
        }
    })
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", self.id())
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
