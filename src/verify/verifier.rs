//! Checking access tokens (RFC 9068 section 4).

use super::access_token::{AccessToken, Binding, Text};
use super::cache::{Print, print};
use super::dpop::{Proof, Shown};
use super::error::VerifyError;
use crate::id::Audience;
use crate::jose::{KeySet, Unverified, Validity};
use crate::limits;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// Checks tokens of one issuer for one audience, by keys that never change and without asking what was revoked: for a
/// look at a token. Whoever lets somebody in by a token has a [`super::Guard`].
#[derive(Clone, Debug)]
pub struct Verifier {
    rules: Rules,
    keys: Arc<KeySet>,
}

/// Whose tokens, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    issuer: String,
    pub(super) audience: Audience,
    pub(super) leeway: Duration,
}

/// What is known of the party that presents a token, against which a bound token is checked.
#[derive(Clone, Copy, Debug)]
pub enum Presenter<'a> {
    /// It proved the key of the certificate with this SHA-256.
    Certificate(&'a [u8; 32]),
    /// It shows this proof that it has a key (RFC 9449), which is checked with the token, and passes once.
    Proof(Shown<'a>),
    /// It proved no key: a bound token is refused.
    NoCertificate,
    /// The token is looked at, not acted on: a binding is reported and not checked.
    NotChecked,
}

impl Verifier {
    /// A verifier for `issuer`, compared byte by byte, and `audience`.
    #[must_use]
    pub fn new(issuer: &str, audience: Audience, keys: Arc<KeySet>) -> Self {
        let rules = Rules::new(issuer, audience);
        Self { rules, keys }
    }

    /// Forgives less than [`limits::LEEWAY`]; more is cut to it.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway.min(limits::LEEWAY);
        self
    }

    /// Checks a token: type, signature, issuer, audience, times, and that its presenter is the one it is bound to.
    ///
    /// # Errors
    /// [`VerifyError`]. With [`crate::jose::JoseError::UnknownKey`] the key set may be older than the token.
    pub fn verify(
        &self,
        token: &str,
        presenter: Presenter<'_>,
        now: Timestamp,
    ) -> Result<AccessToken, VerifyError> {
        let (believed, validity) = self.rules.believe(token, &self.keys)?;
        validity.check(now, self.rules.leeway)?;
        let proof = check_presenter(&print(token), believed.binding, presenter, now)?;
        if let Some(proof) = proof {
            proof.spend(now)?;
        }
        Ok(believed)
    }
}

impl Rules {
    pub(super) fn new(issuer: &str, audience: Audience) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience,
            leeway: limits::LEEWAY,
        }
    }

    /// What holds of a token whenever and by whomever it is presented: type, signature, issuer and audience.
    pub(super) fn believe(
        &self,
        token: &str,
        keys: &KeySet,
    ) -> Result<(AccessToken, Validity), VerifyError> {
        let verified = Unverified::parse(token)?.verify(keys)?;
        let verified = verified.into_jwt::<Text>("at+jwt")?;
        let key = verified.key().clone();
        let text = verified.into_claims();
        if text.iss != self.issuer {
            return Err(VerifyError::Issuer);
        }
        if !text.is_for(&self.audience) {
            return Err(VerifyError::Audience);
        }
        let validity = text.validity();
        Ok((text.believed(key)?, validity))
    }
}

/// Whether the presenter is the one that a token with this hash is bound to. A proof is good then, and has to be spent.
///
/// Who shows a proof has only what is bound to its key: a token that is bound to nothing, or to a certificate, is not what
/// it was shown for (RFC 9449 section 4.3, number 12b). And what is bound to a key is nobody's without one (section 7.2).
pub(super) fn check_presenter<'a>(
    token: &Print,
    binding: Binding,
    presenter: Presenter<'a>,
    now: Timestamp,
) -> Result<Option<Proof<'a>>, VerifyError> {
    let proven = match (binding, presenter) {
        (_, Presenter::NotChecked) => true,
        (Binding::Key(bound), Presenter::Proof(shown)) => {
            return shown.check(token, &bound, now).map(Some);
        }
        (Binding::Bearer, Presenter::Proof(_)) => return Err(VerifyError::Unbound),
        (Binding::Bearer, Presenter::Certificate(_) | Presenter::NoCertificate) => true,
        (Binding::Certificate(bound), Presenter::Certificate(proven)) => bound.ct_eq(proven).into(),
        (Binding::Certificate(_), Presenter::Proof(_) | Presenter::NoCertificate)
        | (Binding::Key(_), Presenter::Certificate(_) | Presenter::NoCertificate)
        | (Binding::Unknown, _) => false,
    };
    if proven {
        Ok(None)
    } else {
        Err(VerifyError::Confirmation)
    }
}
