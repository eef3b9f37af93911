//! Tokens that are signed with the key that they bring: proofs that somebody has it (RFC 9449 section 4.2), and nothing else.

use super::{Algorithm, JoseError, Jwk, Unverified, VerifiedJws, VerifyingKey};
use serde::de::IgnoredAny;
use std::collections::HashMap;

/// A token with its own key in its header, parsed and not verified. Anybody can make one: it says something only to whom
/// the key's thumbprint says something.
#[derive(Debug)]
pub struct SelfSigned<'a> {
    token: Unverified<'a>,
    key: Jwk,
    thumbprint: [u8; 32],
}

/// What is in the JWK of a private or symmetric key only (RFC 7518 section 6, RFC 8037 section 2).
const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl<'a> SelfSigned<'a> {
    /// Parses a token as [`Unverified::parse`] does, but one that has `jwk`, and is signed by one of these algorithms.
    ///
    /// # Errors
    /// As [`Unverified::parse`]; [`JoseError::HeaderRefused`] without `jwk`, and for other algorithms;
    /// [`JoseError::KeyRefused`] where the key is private, incomplete or of an unknown type.
    pub fn parse(token: &'a str, algorithms: &[Algorithm]) -> Result<Self, JoseError> {
        let (token, jwk) = Unverified::parse_with_key(token)?;
        let jwk = jwk.ok_or(JoseError::HeaderRefused("no jwk"))?;
        if !algorithms.contains(&token.algorithm()) {
            return Err(JoseError::HeaderRefused("alg"));
        }
        let unread = |_| JoseError::KeyRefused("not a JWK");
        let members: HashMap<String, IgnoredAny> =
            serde_json::from_str(jwk.get()).map_err(unread)?;
        if SECRET.iter().any(|name| members.contains_key(*name)) {
            return Err(JoseError::KeyRefused("a private key was shown"));
        }
        let mut key: Jwk = serde_json::from_str(jwk.get()).map_err(unread)?;
        let thumbprint = key.thumbprint_bytes()?;
        // What it calls itself is of no use to anybody; what it is used with, the header says if it does not.
        key.kid = None;
        let named = || token.algorithm().name().to_owned();
        key.alg.get_or_insert_with(named);
        Ok(Self {
            token,
            key,
            thumbprint,
        })
    }

    /// The thumbprint of the key that it brings (RFC 7638): as good as the key once the signature is verified, and to be
    /// looked at before, since that costs less.
    #[must_use]
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// Verifies the signature with the key that it brings.
    ///
    /// # Errors
    /// As [`VerifyingKey::from_jwk`] and [`Unverified::verify_with`].
    pub fn verify(self) -> Result<VerifiedJws, JoseError> {
        self.token.verify_with(&VerifyingKey::from_jwk(&self.key)?)
    }
}
