//! A workload certificate that was verified against its own trust domain's bundle.

use crate::id::{SpiffeId, TrustDomain};
use crate::marker::Fence;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use std::sync::{Arc, OnceLock};

/// A verified X.509-SVID. Only [`crate::trust`] makes one.
#[derive(Clone, Debug)]
pub struct WorkloadCertificate {
    pub(super) spiffe_id: SpiffeId,
    pub(super) trust_domain: TrustDomain,
    pub(super) fingerprint: [u8; 32],
    pub(super) twin: Option<[u8; 32]>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// Leaf first, kept so that the chain can be checked again when bundle or CRL change.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// What the last whole check vouches for; shared by clones, so that one check serves a connection.
    pub(super) vouched: Arc<ArcSwap<Vouched>>,
    /// What markers can cover of it; shared by clones, so that its hashes are made once for a connection.
    pub(super) fence: Arc<OnceLock<Fence>>,
}

/// How far a whole check of the chain can be relied on without repeating it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vouched {
    /// The generation of the bundle that it was checked against.
    pub(super) generation: u64,
    /// From the leaf's `notBefore` on.
    pub(super) from: Timestamp,
    /// Until the first of: any `notAfter` on the path, any `nextUpdate` of the bundle's CRLs. Inclusive.
    pub(super) until: Timestamp,
}

impl WorkloadCertificate {
    /// The one URI SAN.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The trust domain of the SPIFFE ID, whose bundle vouched for the certificate.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// SHA-256 of the leaf's DER form: `x5t#S256` (RFC 8705 section 3.1).
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The fingerprint of the other certificate that whoever has this one can make of it: the same with an equally valid
    /// signature. None where the signature is not ECDSA.
    #[must_use]
    pub fn twin(&self) -> Option<&[u8; 32]> {
        self.twin.as_ref()
    }

    /// What markers can cover of it, as `make` says it the first time.
    pub fn fence(&self, make: impl FnOnce() -> Fence) -> &Fence {
        self.fence.get_or_init(make)
    }

    /// Start of validity.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// End of validity: the leaf is still valid at this second, and not after it.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}
