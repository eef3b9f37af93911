//! Recognising our own tokens.

use super::claims::{OwnClaims, Text};
use crate::jose::{JoseError, Unverified, VerifiedJwt};
use crate::keys::KeyRing;
use crate::limits;
use crate::refusal::{Code, Refusal};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The type of an access token (RFC 9068 section 2.1).
const ACCESS_TOKEN: &str = "at+jwt";

/// Verifies tokens of one issuer with the published keys of its ring.
#[derive(Debug)]
pub struct OwnTokens {
    issuer: Arc<str>,
    ring: Arc<KeyRing>,
}

impl OwnTokens {
    /// A verifier for tokens of `issuer`, byte for byte as it is published.
    #[must_use]
    pub fn new(issuer: Arc<str>, ring: Arc<KeyRing>) -> Self {
        Self { issuer, ring }
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Verifies a token of this broker: signature by a published key, issuer, type and times. Who may present it is
    /// another question.
    ///
    /// # Errors
    /// [`Code::CredentialMalformed`] for what is not a token at all, otherwise [`Code::TokenRefused`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<VerifiedJwt<OwnClaims>, Refusal> {
        // We set the end by our own clock, so nothing is forgiven.
        self.verify_forgiving(token, now, Duration::ZERO)
    }

    /// The same of one that verifiers may still accept: as long after its end as they forgive.
    ///
    /// # Errors
    /// As of [`OwnTokens::verify`].
    pub fn recognise(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<VerifiedJwt<OwnClaims>, Refusal> {
        self.verify_forgiving(token, now, limits::LEEWAY)
    }

    fn verify_forgiving(
        &self,
        token: &str,
        now: Timestamp,
        leeway: Duration,
    ) -> Result<VerifiedJwt<OwnClaims>, Refusal> {
        let view = self.ring.view();
        let verified = Unverified::parse(token)
            .and_then(|parsed| parsed.verify(&view.published))
            .and_then(|verified| verified.into_jwt::<Text>(ACCESS_TOKEN))
            .and_then(|jwt| jwt.try_map(|text| self.check(text, now, leeway)));
        verified.map_err(|error| {
            let code = match error {
                JoseError::TooLarge | JoseError::Malformed(_) => Code::CredentialMalformed,
                _ => Code::TokenRefused,
            };
            Refusal::new(code, error.to_string())
        })
    }

    fn check(&self, text: Text, now: Timestamp, leeway: Duration) -> Result<OwnClaims, JoseError> {
        text.validity().check_end(now, leeway)?;
        // Another node of ours may be a little ahead.
        text.validity().check_start(now, limits::CLOCK_STEP)?;
        let claims = OwnClaims::try_from(text)?;
        if claims.issuer == self.issuer {
            Ok(claims)
        } else {
            Err(JoseError::BadClaims("another issuer"))
        }
    }
}
