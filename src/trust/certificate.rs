//! A workload certificate that was verified against its own trust domain's bundle.

use crate::id::SpiffeId;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

/// A verified X.509-SVID. Only [`crate::trust`] makes one.
#[derive(Clone, Debug)]
pub struct WorkloadCertificate {
    pub(super) spiffe_id: SpiffeId,
    pub(super) fingerprint: [u8; 32],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// Leaf first, kept so that the chain can be checked again when bundle or CRL change.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The generation of the trust material it was checked against.
    pub(super) generation: u64,
}

impl WorkloadCertificate {
    /// The one URI SAN.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// SHA-256 of the leaf's DER form: `x5t#S256` (RFC 8705 section 3.1).
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Start of validity.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// End of validity.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}
