//! Callers that are only supposed, for explaining decisions.

use super::{
    Authn, Began, Ceiling, CredentialKind, Lineage, MadeFrom, Peer, Reach, Uses, Verified, api_key,
};
use crate::id::{CredentialId, SpiffeId};
use crate::inventory::KeyEntry;
use crate::marker::Fence;
use crate::refusal::Refusal;
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use std::sync::Arc;

/// Certificates are short-lived; which one a workload would show is not known.
const SUPPOSED_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// A caller as it would be verified. Lends itself to explaining, never to minting: a
/// [`Verified`] cannot be taken out of it.
#[derive(Debug)]
pub struct Supposed(Verified);

impl Supposed {
    /// What policy would be shown.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.0
    }
}

impl Authn {
    /// The holder of a key, calling from `source`.
    ///
    /// # Errors
    /// Why it would be refused before policy.
    pub fn suppose_key(
        &self,
        entry: &Arc<KeyEntry>,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Supposed, Refusal> {
        let peer = Peer {
            address: source,
            ..Peer::default()
        };
        api_key::admissible(self, entry, &peer, now)?;
        Ok(Supposed(api_key::verified(entry, &peer)))
    }

    /// A workload with a certificate of its trust domain.
    #[must_use]
    pub fn suppose_workload(&self, id: &SpiffeId, now: Timestamp) -> Supposed {
        let credential = CredentialId::Certificate([0; 32]);
        let sub: Arc<str> = id.as_str().into();
        Supposed(Verified {
            kind: CredentialKind::Certificate,
            sub: Arc::clone(&sub),
            client_id: sub,
            credential,
            owner: None,
            tenant: None,
            labels: Arc::clone(&self.no_labels),
            ceiling: Ceiling {
                audiences: Reach::Policy,
                scopes: Reach::Policy,
                not_after: now.saturating_add(SUPPOSED_LIFE).unwrap_or(Timestamp::MAX),
            },
            confirmation: Some([0; 32]),
            must_bind: false,
            uses: Uses::Unlimited,
            lineage: Lineage {
                credentials: vec![credential],
                ancestors: Vec::new(),
                exchange: Reach::Policy,
            },
            may_act: None,
            actor: None,
            made_from: MadeFrom::default(),
            began: Began::alone(now),
            fence: Fence::default(),
        })
    }
}

#[cfg(test)]
mod tests;
