//! Trust: whose certificates are believed, one bundle a trust domain.

mod certificate;

pub use certificate::WorkloadCertificate;
