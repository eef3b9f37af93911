//! Writing what was granted as the claims of a token.

use super::claims::{Acting, Ancestry, Claims, Confirmation, MayAct, Shown};
use super::minted::{Draft, Text, Unminted};
use crate::authn::{Reach, Verified};
use crate::clock::{Random, random};
use crate::id::{CredentialId, TokenId};
use crate::jose::NumericDate;
use crate::keys::{KeyRing, SigningKey};
use crate::limits;
use crate::marker::{Kind, MarkerId, Part, Second, Thing};
use crate::policy::Grant;
use crate::refusal::{Code, Denial, Fault, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Room for the claims of an ordinary token, so that they are written without growing the buffer.
const ORDINARY_CLAIMS: usize = 1024;

/// Makes tokens.
#[derive(Debug)]
pub struct Mint {
    issuer: Arc<str>,
    /// What markers of the issuer itself have for ids.
    issuer_markers: [MarkerId; 2],
    ring: Arc<KeyRing>,
    random: Arc<dyn Random>,
}

impl Mint {
    /// A mint for tokens of `issuer`, byte for byte as it is published.
    #[must_use]
    pub fn new(issuer: Arc<str>, ring: Arc<KeyRing>, random: Arc<dyn Random>) -> Self {
        Self {
            issuer_markers: [Thing::Issuer(&issuer).id(), Thing::Rollback(&issuer).id()],
            issuer,
            ring,
            random,
        }
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// The ring that it signs with.
    #[must_use]
    pub fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Writes the claims of what was granted. `now` is the clock guard's time; `iat` is its whole second. Everything that
    /// can be refused is refused here, before a use is spent for it.
    ///
    /// # Errors
    /// [`Unminted`], with the grant. Refused with [`Code::LineageFull`], [`Code::LifetimeExhausted`] or, where the token
    /// would be over [`limits::TOKEN`], [`Code::InvalidRequest`]. Failed with [`Fault::NoSigningKey`], or
    /// [`Fault::Internal`] when randomness fails.
    pub fn draft(&self, mut grant: Grant, now: Timestamp) -> Result<Draft, Box<Unminted>> {
        match self.written(&mut grant, now) {
            Ok(text) => Ok(Draft { text, grant }),
            Err(denial) => Err(Box::new(Unminted { denial, grant })),
        }
    }

    fn written(&self, grant: &mut Grant, now: Timestamp) -> Result<Text, Denial> {
        let view = self.ring.view();
        let Some(key) = view.active.clone() else {
            return Err(Denial::failed(
                Fault::NoSigningKey,
                "the ring has no active key",
            ));
        };
        // Only here is it known which key signs: the ring may have turned since the credentials were verified.
        grant.descend_from_keys_but(key.id());
        let verified = grant.verified();
        check_ancestry(verified)?;
        let issued_at = NumericDate::floor(now).timestamp();
        let expires_at = self.expiry(grant.lifetime(), grant.not_after(), issued_at)?;
        let bits = random(&*self.random)
            .map_err(|error| Denial::failed(Fault::Internal, error.to_string()))?;
        let id = TokenId::new(bits);
        let claims = Claims {
            iss: &self.issuer,
            sub: verified.sub(),
            aud: grant.audience().as_str(),
            exp: expires_at.as_second(),
            iat: issued_at.as_second(),
            jti: Shown(id),
            client_id: verified.client_id(),
            scope: (!grant.scopes().is_empty()).then(|| Shown(grant.scopes())),
            cnf: grant
                .bound_to()
                .map(|certificate| Confirmation { certificate }),
            act: verified.actor().map(|actor| Acting(actor)),
            may_act: grant.may_act().map(|sub| MayAct { sub }),
            cmb: Ancestry {
                lineage: verified.lineage(),
                exchange: grant.exchange(),
            },
        };
        let signing_input = signing_input(&key, &claims)?;
        let bound_to = grant.bound_to().copied().map(CredentialId::Certificate);
        let credentials = verified.lineage().credentials.iter().copied();
        let of = credentials.chain(bound_to);
        Ok(Text {
            signing_input,
            id,
            issued_at,
            expires_at,
            key,
            issuer: self
                .issuer_markers
                .map(|id| Part::known(id, Kind::Issuer, Second::of(issued_at))),
            of: of
                .map(|id| Part::dated(Thing::TokensOf(id), issued_at))
                .collect(),
        })
    }

    /// The earliest of what is granted, what it is made from, and what the signing key is sure to be published for.
    fn expiry(
        &self,
        granted: Duration,
        not_after: Timestamp,
        issued: Timestamp,
    ) -> Result<Timestamp, Refusal> {
        let lifetime = granted.min(self.ring.timing().longest_token());
        let seconds = Duration::from_secs(lifetime.as_secs());
        let wanted = issued.saturating_add(seconds).unwrap_or(Timestamp::MAX);
        let expires = NumericDate::floor(wanted.min(not_after)).timestamp();
        if expires > issued {
            Ok(expires)
        } else {
            Err(Refusal::new(
                Code::LifetimeExhausted,
                "no whole second is left before the end of what the token is made from",
            ))
        }
    }

    /// How long a token would live that was granted so much, made now from what ends at `not_after`.
    ///
    /// # Errors
    /// [`Code::LifetimeExhausted`].
    pub fn lifetime(
        &self,
        granted: Duration,
        not_after: Timestamp,
        now: Timestamp,
    ) -> Result<Duration, Refusal> {
        let issued = NumericDate::floor(now).timestamp();
        let expires = self.expiry(granted, not_after, issued)?;
        Ok(expires.duration_since(issued).unsigned_abs())
    }

    /// Whether a key is active.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.ring.view().active.is_some()
    }
}

fn check_ancestry(verified: &Verified) -> Result<(), Refusal> {
    let full = |detail| Err(Refusal::new(Code::LineageFull, detail));
    let lineage = verified.lineage();
    if !lineage.fits() {
        return full("more credentials or ancestors than a token holds");
    }
    if matches!(&lineage.exchange, Reach::Listed(audiences) if audiences.len() > limits::KEY_AUDIENCES)
    {
        return full("more audiences in the exchange ceiling than a token holds");
    }
    if verified
        .actor()
        .is_some_and(|actor| actor.depth() > limits::ACTORS)
    {
        return full("more actors than a token holds");
    }
    Ok(())
}

/// Header and claims, with room for the signature: a secret's buffer that has to move leaves a copy behind.
fn signing_input(key: &SigningKey, claims: &Claims<'_>) -> Result<String, Denial> {
    let mut payload = Vec::with_capacity(ORDINARY_CLAIMS);
    serde_json::to_writer(&mut payload, claims)
        .map_err(|error| Denial::failed(Fault::Internal, error.to_string()))?;
    let size = [
        key.jwt_header().len(),
        payload.len().saturating_mul(4).div_ceil(3),
        key.signature_chars(),
        2,
    ]
    .into_iter()
    .fold(0, usize::saturating_add);
    if size > limits::TOKEN {
        let refusal = Refusal::new(
            Code::InvalidRequest,
            "the token would be too long; ask for fewer scopes",
        );
        return Err(refusal.into());
    }
    let mut input = String::with_capacity(size);
    input.push_str(key.jwt_header());
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(&payload, &mut input);
    Ok(input)
}
