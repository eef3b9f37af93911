//! Trust: whose certificates are believed, one bundle a trust domain.
//!
//! A certificate is checked against the roots of *its own* trust domain, chosen before a path is built: with
//! one merged set of roots any authority could speak for any domain. The machine's own roots are never asked.

mod bundle;
mod certificate;
pub mod fetch;
mod profile;
mod refusal;
mod store;
mod twin;

pub use bundle::{BundleMaterial, InvalidBundle, MaterialFault};
pub use certificate::WorkloadCertificate;
pub use refusal::CertificateRefusal;
pub use store::TrustStore;
