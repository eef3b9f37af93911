//! A public key as JSON (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).

use super::json::{non_null, present};
use super::{Algorithm, JoseError};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// A public key as JSON. Values are as they were written; [`super::VerifyingKey::from_jwk`] judges them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `EC`, `OKP` or `RSA`.
    pub kty: String,
    /// Curve.
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// Coordinate, base64url.
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Coordinate, base64url.
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// RSA modulus, base64url.
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA exponent, base64url.
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// Key id.
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// What the key is for: `sig` or `enc`.
    #[serde(
        default,
        rename = "use",
        deserialize_with = "non_null",
        skip_serializing_if = "Option::is_none"
    )]
    pub use_for: Option<String>,
    /// The one algorithm that the key is used with.
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Operations that the key is for.
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    pub key_ops: Option<Vec<String>>,
    /// A private key (`d`) was given away: such a key proves nothing any more.
    #[serde(default, rename = "d", deserialize_with = "present", skip_serializing)]
    pub(super) private: bool,
}

impl Jwk {
    /// The public key of an elliptic curve, without `kid`.
    pub(crate) fn ec(crv: &str, x: &[u8], y: &[u8]) -> Self {
        Self {
            kty: "EC".to_owned(),
            crv: Some(crv.to_owned()),
            x: Some(URL_SAFE_NO_PAD.encode(x)),
            y: Some(URL_SAFE_NO_PAD.encode(y)),
            ..Self::default()
        }
    }

    /// An Ed25519 public key, without `kid`.
    pub(crate) fn ed25519(x: &[u8]) -> Self {
        Self {
            kty: "OKP".to_owned(),
            crv: Some("Ed25519".to_owned()),
            x: Some(URL_SAFE_NO_PAD.encode(x)),
            ..Self::default()
        }
    }

    /// An RSA public key, without `kid`; both numbers big-endian without leading zeros.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Self {
        Self {
            kty: "RSA".to_owned(),
            n: Some(URL_SAFE_NO_PAD.encode(n)),
            e: Some(URL_SAFE_NO_PAD.encode(e)),
            ..Self::default()
        }
    }

    /// Makes it a published signing key: `alg`, `use` and the thumbprint as `kid`.
    ///
    /// # Errors
    /// As [`Jwk::thumbprint`].
    pub(crate) fn published(mut self, algorithm: Algorithm) -> Result<Self, JoseError> {
        self.kid = Some(self.thumbprint()?);
        self.alg = Some(algorithm.name().to_owned());
        self.use_for = Some("sig".to_owned());
        Ok(self)
    }

    /// The RFC 7638 thumbprint: SHA-256 of the required members in lexical order, base64url.
    ///
    /// # Errors
    /// [`JoseError::KeyRefused`] where a required member is missing or the key type is not known.
    pub fn thumbprint(&self) -> Result<String, JoseError> {
        Ok(URL_SAFE_NO_PAD.encode(self.thumbprint_bytes()?))
    }

    pub(super) fn thumbprint_bytes(&self) -> Result<[u8; 32], JoseError> {
        let text = match self.kty.as_str() {
            "EC" => canonical(&[
                ("crv", self.crv.as_ref()),
                ("kty", Some(&self.kty)),
                ("x", self.x.as_ref()),
                ("y", self.y.as_ref()),
            ]),
            "OKP" => canonical(&[
                ("crv", self.crv.as_ref()),
                ("kty", Some(&self.kty)),
                ("x", self.x.as_ref()),
            ]),
            "RSA" => canonical(&[
                ("e", self.e.as_ref()),
                ("kty", Some(&self.kty)),
                ("n", self.n.as_ref()),
            ]),
            _ => None,
        }
        .ok_or(JoseError::KeyRefused("incomplete, or of an unknown type"))?;
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        Ok(bytes)
    }
}

/// The JSON text of string members, without white space.
fn canonical(members: &[(&str, Option<&String>)]) -> Option<String> {
    let mut text = String::from("{");
    for (name, value) in members {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&format!(
            "\"{name}\":{}",
            serde_json::to_string((*value)?).ok()?
        ));
    }
    text.push('}');
    Some(text)
}
