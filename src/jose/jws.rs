//! JWS compact serialisation (RFC 7515 section 7.1), and JWTs in it.

use super::json::{non_null, present};
use super::{Algorithm, JoseError, KeySet, VerifyingKey, from_slice};
use crate::id::KeyId;
use crate::limits;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A token that was parsed and not verified. It shows nothing of what it claims.
#[derive(Debug)]
pub struct Unverified<'a> {
    signing_input: &'a str,
    header: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<KeyId>,
    typ: Option<String>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// What a token says of itself, believed by nobody: for people to look at, never for decisions.
#[derive(Debug)]
pub struct Unbelieved {
    /// The header.
    pub header: serde_json::Value,
    /// The claims.
    pub claims: serde_json::Value,
}

/// The payload of a token whose signature verified.
#[derive(Debug)]
pub struct VerifiedJws {
    key: KeyId,
    typ: Option<String>,
    payload: Vec<u8>,
}

/// The claims of a token whose signature verified and whose type is the expected one.
///
/// Only this module can make one:
///
/// ```compile_fail,E0451
/// let forged = cambist::jose::VerifiedJwt { claims: (), key: todo!() };
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedJwt<C> {
    claims: C,
    key: KeyId,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "non_null")]
    typ: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "non_null")]
    kid: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    #[serde(default, deserialize_with = "present")]
    b64: bool,
    #[serde(default, deserialize_with = "present")]
    zip: bool,
    #[serde(default, deserialize_with = "present")]
    enc: bool,
    #[serde(borrow, default, deserialize_with = "non_null")]
    jwk: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "present")]
    jku: bool,
    #[serde(default, deserialize_with = "present")]
    x5u: bool,
    #[serde(default, deserialize_with = "present")]
    x5c: bool,
}

impl<'a> Unverified<'a> {
    /// Parses a token: its size first, then its three parts, each canonical base64url, then its header.
    ///
    /// # Errors
    /// [`JoseError::TooLarge`], [`JoseError::Malformed`], or [`JoseError::HeaderRefused`] for `crit` (RFC 7515
    /// section 4.1.11: no extension is understood), `b64` (RFC 7797 section 7: never in a JWT), `zip` and `enc`, keys that
    /// the token brings itself, and algorithms that are not known.
    pub fn parse(token: &'a str) -> Result<Self, JoseError> {
        match Self::parse_with_key(token)? {
            (token, None) => Ok(token),
            (_, Some(_)) => Err(JoseError::HeaderRefused("jwk")),
        }
    }

    /// As [`Unverified::parse`], with the key that it brings itself, as it stands in its `jwk`.
    pub(super) fn parse_with_key(
        token: &'a str,
    ) -> Result<(Self, Option<Box<RawValue>>), JoseError> {
        if token.len() > limits::TOKEN {
            return Err(JoseError::TooLarge);
        }
        let parts = token
            .rsplit_once('.')
            .and_then(|(input, signature)| Some((input, input.split_once('.')?, signature)));
        let Some((signing_input, (header, payload), signature)) = parts else {
            return Err(JoseError::Malformed("not three parts"));
        };
        if header.len() > limits::JOSE_HEADER {
            return Err(JoseError::HeaderRefused("too long"));
        }
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let (algorithm, key_id, typ, jwk) = read_header(&header)?;
        let jwk = jwk.map(RawValue::to_owned);
        let token = Self {
            signing_input,
            header,
            algorithm,
            key_id,
            typ,
            payload,
            signature,
        };
        Ok((token, jwk))
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Verifies the signature with the key that the token names.
    ///
    /// # Errors
    /// [`JoseError::UnknownKey`], or as [`Unverified::verify_with`].
    pub fn verify(self, keys: &KeySet) -> Result<VerifiedJws, JoseError> {
        let key = keys.find(self.key_id.as_ref())?;
        self.verify_with(key)
    }

    /// Verifies the signature with one key.
    ///
    /// # Errors
    /// [`JoseError::AlgorithmMismatch`] or [`JoseError::BadSignature`].
    pub fn verify_with(self, key: &VerifyingKey) -> Result<VerifiedJws, JoseError> {
        if key.algorithm() != self.algorithm {
            return Err(JoseError::AlgorithmMismatch);
        }
        key.verify(self.signing_input.as_bytes(), &self.signature)?;
        Ok(VerifiedJws {
            key: key.id().clone(),
            typ: self.typ,
            payload: self.payload,
        })
    }

    /// What the token says, for people to look at.
    ///
    /// # Errors
    /// [`JoseError::BadClaims`] when the payload is not JSON.
    pub fn inspect(&self) -> Result<Unbelieved, JoseError> {
        let read = |bytes| from_slice(bytes).map_err(|_| JoseError::BadClaims("not strict JSON"));
        Ok(Unbelieved {
            header: read(&self.header)?,
            claims: read(&self.payload)?,
        })
    }
}

impl VerifiedJws {
    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Reads the payload as the claims of a JWT of type `typ`, such as `at+jwt` (RFC 8725 section 3.11). The type may be
    /// written with or without `application/`, in any case (RFC 7515 section 4.1.9).
    ///
    /// # Errors
    /// [`JoseError::WrongType`] or [`JoseError::BadClaims`].
    pub fn into_jwt<C: DeserializeOwned>(self, typ: &str) -> Result<VerifiedJwt<C>, JoseError> {
        let matches = self.typ.as_deref().is_some_and(|text| {
            let short = match text.split_once('/') {
                Some((kind, rest)) if kind.eq_ignore_ascii_case("application") => rest,
                _ => text,
            };
            short.eq_ignore_ascii_case(typ)
        });
        if !matches {
            return Err(JoseError::WrongType);
        }
        let claims = from_slice(&self.payload)
            .map_err(|_| JoseError::BadClaims("not of the expected shape"))?;
        Ok(VerifiedJwt {
            claims,
            key: self.key,
        })
    }
}

impl<C> VerifiedJwt<C> {
    /// The claims.
    #[must_use]
    pub fn claims(&self) -> &C {
        &self.claims
    }

    /// The key that verified the signature.
    #[must_use]
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// The claims, by value.
    #[must_use]
    pub fn into_claims(self) -> C {
        self.claims
    }

    /// Goes on to another form of the claims, unless they are refused.
    ///
    /// # Errors
    /// As `check`.
    pub fn try_map<D, E>(self, check: impl FnOnce(C) -> Result<D, E>) -> Result<VerifiedJwt<D>, E> {
        Ok(VerifiedJwt {
            claims: check(self.claims)?,
            key: self.key,
        })
    }
}

/// Base64url without padding, white space or spare bits: one text for one value.
fn decode(part: &str) -> Result<Vec<u8>, JoseError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JoseError::Malformed("not canonical base64url"))
}

type Choice<'a> = (
    Algorithm,
    Option<KeyId>,
    Option<String>,
    Option<&'a RawValue>,
);

fn read_header(bytes: &[u8]) -> Result<Choice<'_>, JoseError> {
    let header: Header<'_> =
        from_slice(bytes).map_err(|_| JoseError::Malformed("the header is not strict JSON"))?;
    let refused = [
        (header.crit, "crit"),
        (header.b64, "b64"),
        (header.zip, "zip"),
        (header.enc, "enc"),
        (header.jku, "jku"),
        (header.x5u, "x5u"),
        (header.x5c, "x5c"),
    ];
    if let Some((_, name)) = refused.iter().find(|(there, _)| *there) {
        return Err(JoseError::HeaderRefused(name));
    }
    let algorithm = Algorithm::parse(&header.alg).ok_or(JoseError::HeaderRefused("alg"))?;
    let key_id = header
        .kid
        .map(|kid| KeyId::parse(&kid))
        .transpose()
        .map_err(|_| JoseError::HeaderRefused("kid"))?;
    let typ = header.typ.map(Cow::into_owned);
    Ok((algorithm, key_id, typ, header.jwk))
}
