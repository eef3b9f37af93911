//! Authentication: [`Presented`] → [`Verified`], the only maker of `Verified`.
//!
//! One file a credential kind. A request has one subject and at most one actor, in a fixed table of
//! combinations; everything that is presented must verify; what fails ends the request: nothing falls
//! through to another kind.
//!
//! | subject | actor | client certificate of the connection |
//! |---|---|---|
//! | API key | none | optional: binds |
//! | peer certificate | none | required: is the subject, binds |
//! | own token | none | required: proves its party, or acts; binds |
//! | own token | API key | optional: binds |
//! | own token | peer certificate | required: acts, binds |
//! | own token | own token | required: proves the actor token's party; binds |
//!
//! Anything else is [`Code::CombinationNotAllowed`].

mod admin;
mod api_key;
mod inspected;
mod own_token;
mod presented;
mod steps;
mod suppose;
#[cfg(test)]
mod testing;
mod verified;
mod workload_cert;

pub use admin::{Administrator, Administrators, Duty, Follower, Reader, Sight};
pub use inspected::{Held, HeldThing, Holder};
pub use own_token::{MayAct, OwnClaims, OwnTokens};
pub use presented::{Credential, Face, Peer, Presented, TokenType};
pub use suppose::Supposed;
pub use verified::{
    Actor, Began, Beginning, Ceiling, CredentialKind, Lineage, MadeFrom, Reach, Uses, Verified,
};

use crate::id::{CredentialId, Label, Owner};
use crate::inventory::{Audiences, KeyEntry, Keys};
use crate::refusal::{Code, Refusal};
use crate::revocation::HotSet;
use crate::trust::TrustStore;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Verifies what callers present, from memory alone.
#[derive(Debug)]
pub struct Authn {
    keys: Arc<Keys>,
    audiences: Arc<Audiences>,
    trust: Arc<TrustStore>,
    tokens: OwnTokens,
    hot: Arc<HotSet>,
    parted_from: Timestamp,
    no_labels: Arc<BTreeMap<Label, Label>>,
}

/// A request that failed authentication.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Why.
    pub refusal: Refusal,
    /// The credential that the caller named, proven or not.
    pub named: Option<CredentialId>,
    /// Whether that is one that this broker knows of, and not an id that anybody may have made up.
    pub is_registered: bool,
    /// Where it is an API key, that key as it was found. What the record tells of it is read only once the caller has its
    /// answer: before that, all that is refused takes the same steps (invariant 4).
    pub key: Option<Arc<KeyEntry>>,
    /// The tokens of ours that were presented, as far as it came.
    pub made_from: MadeFrom,
}

impl Rejected {
    fn anonymous(refusal: Refusal) -> Self {
        Self {
            refusal,
            named: None,
            is_registered: false,
            key: None,
            made_from: MadeFrom::default(),
        }
    }

    fn registered(refusal: Refusal, named: CredentialId) -> Self {
        Self {
            refusal,
            named: Some(named),
            is_registered: true,
            key: None,
            made_from: MadeFrom::default(),
        }
    }

    /// Who answers for the credential.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.key.as_ref().map(|entry| &entry.key().spec.owner)
    }
}

impl Authn {
    /// Authentication over the given state. Before `parted_from`, whoever watches is told everything.
    #[must_use]
    pub fn new(
        keys: Arc<Keys>,
        audiences: Arc<Audiences>,
        trust: Arc<TrustStore>,
        tokens: OwnTokens,
        hot: Arc<HotSet>,
        parted_from: Timestamp,
    ) -> Self {
        Self {
            keys,
            audiences,
            trust,
            tokens,
            hot,
            parted_from,
            no_labels: Arc::default(),
        }
    }

    /// The markers in force.
    #[must_use]
    pub fn markers(&self) -> &Arc<HotSet> {
        &self.hot
    }

    /// The rejection of tokens whose signature is ours, with the credential at the root of their ancestry.
    fn rejected(
        &self,
        refusal: Refusal,
        root: Option<CredentialId>,
        made_from: MadeFrom,
    ) -> Rejected {
        let key = match root {
            Some(CredentialId::ApiKey(id)) => self.keys.find(&id),
            Some(CredentialId::Certificate(_)) | None => None,
        };
        Rejected {
            refusal,
            named: root,
            is_registered: key.is_some() || matches!(root, Some(CredentialId::Certificate(_))),
            key,
            made_from,
        }
    }

    /// Verifies everything that a request presents.
    ///
    /// # Errors
    /// [`Rejected`], with the credential where it is known.
    pub fn verify(&self, presented: &Presented, now: Timestamp) -> Result<Verified, Rejected> {
        let peer = &*presented.peer;
        // Whatever its part in the request, a certificate that is shown must still be good.
        let shown = peer.certificate.as_ref();
        let shown = shown.map(|_| workload_cert::recheck(self, peer, now));
        let shown = shown.transpose()?;
        let mut verified = match (&presented.subject, &presented.actor) {
            (Credential::ApiKey(text), None) => api_key::verify(self, text, peer, now),
            (Credential::PeerCertificate, None) => workload_cert::verify(self, peer, now),
            (Credential::Token(text, _), actor) => {
                own_token::verify(self, text, actor.as_ref(), peer, now)
            }
            (Credential::ApiKey(_) | Credential::PeerCertificate, Some(_)) => {
                Err(Rejected::anonymous(Refusal::new(
                    Code::CombinationNotAllowed,
                    "only a token can be presented together with an actor",
                )))
            }
        }?;
        if let Some(certificate) = shown {
            workload_cert::bind(self, &mut verified, certificate);
        }
        Ok(verified)
    }
}
