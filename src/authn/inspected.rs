//! Tokens and credentials that somebody shows for another end than to have a token for them: to ask about them, or to give
//! them up.

use super::own_token::{OwnClaims, is_held, living};
use super::{Authn, Credential, Peer, Presented, Rejected, workload_cert};
use crate::id::{Audience, CredentialId, TokenId};
use crate::jose::VerifiedJwt;
use crate::refusal::{Code, Refusal};
use crate::secret::Secret;
use jiff::Timestamp;
use std::sync::Arc;

/// What somebody showed to be theirs. Only [`Authn::held`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    thing: HeldThing,
    sub: Arc<str>,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldThing {
    /// A token of ours.
    Token {
        /// Its `jti`.
        id: TokenId,
        /// The credential that its ancestry begins with.
        root: Option<CredentialId>,
        /// Its end.
        expires_at: Timestamp,
    },
    /// A credential, and its end.
    Credential(CredentialId, Timestamp),
}

impl Held {
    /// The thing.
    #[must_use]
    pub fn thing(&self) -> &HeldThing {
        &self.thing
    }

    /// Who holds it: the `sub` of its tokens.
    #[must_use]
    pub fn sub(&self) -> &Arc<str> {
        &self.sub
    }
}

impl Authn {
    /// Verifies what somebody shows to give it up. A bearer token is anybody's who has it; one that is bound to a key, only
    /// its holder's, who proves that key.
    ///
    /// # Errors
    /// As for an exchange; but a token need not be unrevoked to be given up once more.
    pub fn held(
        &self,
        credential: Credential,
        peer: &Arc<Peer>,
        now: Timestamp,
    ) -> Result<Held, Rejected> {
        if let Credential::Token(text, _) = &credential {
            let token = self.recognise(text, now).map_err(Rejected::anonymous)?;
            let proven = match &peer.certificate {
                Some(_) => Some(workload_cert::recheck(self, peer, now)?.fingerprint()),
                None => None,
            };
            if !is_held(&token, proven) {
                let cause = "the token is bound to a key that the caller did not prove";
                let refusal = Refusal::new(Code::BindingRequired, cause);
                return Err(Rejected::anonymous(refusal));
            }
            let claims = token.claims();
            return Ok(Held {
                thing: HeldThing::Token {
                    id: claims.id,
                    root: claims.lineage.credentials.first().copied(),
                    expires_at: claims.expires_at,
                },
                sub: Arc::clone(&claims.sub),
            });
        }
        let presented = Presented {
            subject: credential,
            actor: None,
            peer: Arc::clone(peer),
        };
        let verified = self.verify(&presented, now)?;
        Ok(Held {
            thing: HeldThing::Credential(verified.credential(), verified.ceiling().not_after),
            sub: Arc::clone(verified.sub()),
        })
    }

    /// A token of ours, revoked or not, in whoever's hand.
    ///
    /// # Errors
    /// [`Code::CredentialMalformed`] or [`Code::TokenRefused`].
    pub fn recognise(
        &self,
        token: &Secret,
        now: Timestamp,
    ) -> Result<VerifiedJwt<OwnClaims>, Refusal> {
        self.tokens.verify(token.expose(), now)
    }

    /// A token of ours that is good now: verified, and neither it nor anything that it comes from is revoked.
    ///
    /// # Errors
    /// Why it is not.
    pub fn introspect(
        &self,
        token: &Secret,
        now: Timestamp,
    ) -> Result<VerifiedJwt<OwnClaims>, Refusal> {
        let token = self.recognise(token, now)?;
        living(self, &token, now)?;
        Ok(token)
    }

    /// Whether the peer serves an audience, by its certificate.
    ///
    /// # Errors
    /// [`Code::NotAuthorised`], or what is wrong with the certificate.
    pub fn serves(&self, peer: &Peer, audience: &Audience, now: Timestamp) -> Result<(), Refusal> {
        let certificate = workload_cert::recheck(self, peer, now);
        let certificate = certificate.map_err(|rejected| rejected.refusal)?;
        let entry = self.audiences.find(audience);
        let id = certificate.spiffe_id().as_str();
        if entry.is_some_and(|entry| entry.spec.is_served_by(id)) {
            return Ok(());
        }
        let cause = "the certificate is not of a workload that serves the audience";
        Err(Refusal::new(Code::NotAuthorised, cause))
    }
}
