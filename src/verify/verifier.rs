//! Checking access tokens (RFC 9068 section 4).

use super::access_token::{AccessToken, Binding, Text};
use crate::id::Audience;
use crate::jose::{JoseError, KeySet, Unverified, Validity};
use crate::limits;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// Checks tokens of one issuer for one audience.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuer: String,
    audience: Audience,
    keys: Arc<KeySet>,
    leeway: Duration,
}

/// What is known of the party that presents a token, against which a bound token is checked.
#[derive(Clone, Copy, Debug)]
pub enum Presenter<'a> {
    /// It proved the key of the certificate with this SHA-256.
    Certificate(&'a [u8; 32]),
    /// It proved no key: a bound token is refused.
    NoCertificate,
    /// The token is looked at, not acted on: a binding is reported and not checked.
    NotChecked,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum VerifyError {
    /// Malformed, not signed by the issuer's keys, of another type, or outside its times.
    #[error(transparent)]
    Token(#[from] JoseError),
    /// `iss` is not the issuer.
    #[error("the token is another issuer's")]
    Issuer,
    /// `aud` does not name the audience.
    #[error("the token is for another audience")]
    Audience,
    /// It is bound to a key that its presenter did not prove.
    #[error("the token is bound to a key that was not proven")]
    Confirmation,
}

impl Verifier {
    /// A verifier for `issuer`, compared byte by byte, and `audience`.
    #[must_use]
    pub fn new(issuer: &str, audience: Audience, keys: Arc<KeySet>) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience,
            keys,
            leeway: limits::LEEWAY,
        }
    }

    /// Forgives less than [`limits::LEEWAY`]; more is cut to it.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(limits::LEEWAY);
        self
    }

    /// Checks a token: type, signature, issuer, audience, times, and that its presenter is the one it is bound to.
    ///
    /// # Errors
    /// [`VerifyError`]. With [`JoseError::UnknownKey`] the key set may be older than the token.
    pub fn verify(
        &self,
        token: &str,
        presenter: Presenter<'_>,
        now: Timestamp,
    ) -> Result<AccessToken, VerifyError> {
        let verified = Unverified::parse(token)?.verify(&self.keys)?;
        let text = verified.into_jwt::<Text>("at+jwt")?.into_claims();
        if text.iss != self.issuer {
            return Err(VerifyError::Issuer);
        }
        if !text.is_for(&self.audience) {
            return Err(VerifyError::Audience);
        }
        let validity = Validity {
            expires: text.exp,
            issued: Some(text.iat),
            not_before: text.nbf,
        };
        validity.check(now, self.leeway)?;
        check_presenter(&text, presenter)?;
        Ok(text.believed())
    }
}

fn check_presenter(text: &Text, presenter: Presenter<'_>) -> Result<(), VerifyError> {
    let proven = match (text.binding(), presenter) {
        (Binding::Bearer, _) | (_, Presenter::NotChecked) => true,
        (Binding::Certificate(bound), Presenter::Certificate(digest)) => bound.ct_eq(digest).into(),
        (Binding::Certificate(_), Presenter::NoCertificate) | (Binding::Unknown, _) => false,
    };
    if proven {
        Ok(())
    } else {
        Err(VerifyError::Confirmation)
    }
}
