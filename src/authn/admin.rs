//! Who may administer, until governance comes: named user ids on the Unix socket, and named SPIFFE IDs.

use super::{Authn, Peer, workload_cert};
use crate::id::SpiffeId;
use crate::refusal::{Code, Refusal};
use crate::trust::WorkloadCertificate;
use jiff::Timestamp;
use std::collections::HashSet;
use std::fmt;

/// The configured administrators.
#[derive(Clone, Debug, Default)]
pub struct Administrators {
    /// User ids at the other end of a Unix socket.
    pub uids: HashSet<u32>,
    /// Workloads by certificate.
    pub spiffe_ids: HashSet<SpiffeId>,
    /// Workloads that may ask for explanations, and nothing else.
    pub explain: HashSet<SpiffeId>,
}

/// A caller that may administer. Only [`Authn::administrator`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator(Name);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Uid(u32),
    Workload(SpiffeId),
}

impl fmt::Display for Administrator {
    /// The name in records: `uid:<n>` or a SPIFFE ID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Uid(uid) => write!(f, "uid:{uid}"),
            Name::Workload(id) => id.fmt(f),
        }
    }
}

impl Authn {
    /// Whether the peer may ask why something would be decided.
    ///
    /// # Errors
    /// [`Code::NotAuthorised`].
    pub fn may_explain(
        &self,
        peer: &Peer,
        allowed: &Administrators,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let named =
            |certificate: &WorkloadCertificate| allowed.explain.contains(certificate.spiffe_id());
        if peer.certificate.as_deref().is_some_and(named) {
            return workload_cert::recheck(self, peer, now)
                .map(drop)
                .map_err(|rejected| rejected.refusal);
        }
        self.administrator(peer, allowed, now).map(drop)
    }

    /// Whether the peer may administer.
    ///
    /// # Errors
    /// [`Code::NotAuthorised`].
    pub fn administrator(
        &self,
        peer: &Peer,
        allowed: &Administrators,
        now: Timestamp,
    ) -> Result<Administrator, Refusal> {
        if let Some(uid) = peer.uid.filter(|uid| allowed.uids.contains(uid)) {
            return Ok(Administrator(Name::Uid(uid)));
        }
        let named = peer
            .certificate
            .as_ref()
            .filter(|certificate| allowed.spiffe_ids.contains(certificate.spiffe_id()));
        if named.is_none() {
            return Err(Refusal::new(
                Code::NotAuthorised,
                "neither the uid nor the certificate is an administrator's",
            ));
        }
        let certificate =
            workload_cert::recheck(self, peer, now).map_err(|rejected| rejected.refusal)?;
        Ok(Administrator(Name::Workload(
            certificate.spiffe_id().clone(),
        )))
    }
}
