//! Tokens and credentials that somebody shows for another end than to have a token for them: to ask about them, or to give
//! them up.

use super::own_token::{OwnClaims, is_held, living};
use super::{Authn, Credential, Peer, Rejected, api_key, workload_cert};
use crate::id::{Audience, CredentialId, TokenId};
use crate::jose::VerifiedJwt;
use crate::refusal::{Code, Refusal};
use crate::secret::Secret;
use crate::trust::WorkloadCertificate;
use jiff::Timestamp;
use std::sync::Arc;

/// What somebody showed to be theirs. Only [`Authn::held`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    thing: HeldThing,
    sub: Arc<str>,
    by: Holder,
}

/// Who gives something up, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Who proved a key, by its SPIFFE ID.
    Proven(Arc<str>),
    /// Whoever has it: by its `sub`.
    Bearer(Arc<str>),
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
        /// The credential that it counts for: the holder's own, where it was made from that or is bound to it, or else
        /// `root`.
        credential: Option<CredentialId>,
        /// Its `iat`.
        issued_at: Timestamp,
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

    /// Who gives it up.
    #[must_use]
    pub fn by(&self) -> &Holder {
        &self.by
    }
}

#[cfg(test)]
impl Held {
    /// Something that somebody holds, for the tests of later stages.
    pub(crate) fn for_test(thing: HeldThing, by: Holder) -> Self {
        let sub = "somebody".into();
        Self { thing, sub, by }
    }
}

impl Authn {
    /// Verifies what somebody shows to give it up. A bearer token is anybody's who has it; one that is bound to a key, only
    /// its holder's, who proves that key.
    ///
    /// # Errors
    /// As for an exchange; but what is shown need not be unrevoked to be given up once more, since whoever lost the answer
    /// asks again, and of a key or a bearer token the secret is all that counts: whoever found it is seldom where it may be
    /// used, or may have had their own certificate revoked.
    pub fn held(
        &self,
        credential: Credential,
        peer: &Arc<Peer>,
        now: Timestamp,
    ) -> Result<Held, Rejected> {
        match credential {
            Credential::Token(text, _) => self.held_token(&text, peer, now),
            Credential::ApiKey(text) => {
                let entry = api_key::recognise(self, &text, peer, now)?;
                let key = entry.key();
                let id = CredentialId::ApiKey(key.id);
                Ok(Held {
                    thing: HeldThing::Credential(id, key.spec.expires),
                    sub: Arc::clone(entry.sub()),
                    by: Holder::Proven(Arc::clone(entry.sub())),
                })
            }
            Credential::PeerCertificate => {
                let certificate = workload_cert::recognise(self, peer, now)?;
                let id = CredentialId::Certificate(*certificate.fingerprint());
                let sub: Arc<str> = certificate.spiffe_id().as_str().into();
                Ok(Held {
                    thing: HeldThing::Credential(id, certificate.not_after()),
                    sub: Arc::clone(&sub),
                    by: Holder::Proven(sub),
                })
            }
        }
    }

    fn held_token(&self, text: &Secret, peer: &Peer, now: Timestamp) -> Result<Held, Rejected> {
        let token = self.recognise(text, now).map_err(Rejected::anonymous)?;
        let claims = token.claims();
        let proven = match &peer.certificate {
            Some(_) => match workload_cert::recheck(self, peer, now) {
                Ok(proven) => Some(proven),
                // Then it proves nothing, which need not be proven of a bearer token.
                Err(_) if claims.bound_to.is_none() => None,
                Err(rejected) => return Err(rejected),
            },
            None => None,
        };
        let fingerprint = proven.map(WorkloadCertificate::fingerprint);
        if !is_held(&token, fingerprint) {
            let cause = "the token is bound to a key that the caller did not prove";
            let refusal = Refusal::new(Code::BindingRequired, cause);
            return Err(Rejected::anonymous(refusal));
        }
        let credentials = &claims.lineage.credentials;
        let root = credentials.first().copied();
        // What it is bound to was proven.
        let own = fingerprint.copied().map(CredentialId::Certificate);
        let own = own.filter(|own| claims.bound_to.is_some() || credentials.contains(own));
        Ok(Held {
            thing: HeldThing::Token {
                id: claims.id,
                root,
                credential: own.or(root),
                issued_at: claims.issued_at,
                expires_at: claims.expires_at,
            },
            sub: Arc::clone(&claims.sub),
            by: match proven {
                Some(proven) => Holder::Proven(proven.spiffe_id().as_str().into()),
                None => Holder::Bearer(Arc::clone(&claims.sub)),
            },
        })
    }

    /// A token of ours, revoked or not, in whoever's hand, as long as a verifier may accept it: to be revoked.
    ///
    /// # Errors
    /// [`Code::CredentialMalformed`] or [`Code::TokenRefused`].
    pub fn recognise(
        &self,
        token: &Secret,
        now: Timestamp,
    ) -> Result<VerifiedJwt<OwnClaims>, Refusal> {
        self.tokens.recognise(token.expose(), now)
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
        let token = self.tokens.verify(token.expose(), now)?;
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
