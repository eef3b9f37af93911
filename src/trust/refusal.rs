//! Why a certificate is not believed: one variant a cause.

use crate::id::{InvalidSpiffeId, TrustDomain};
use crate::limits;
use webpki::Error as PathError;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident $(($field:ty))? = $code:literal, $text:literal $(, $arg:expr)*;)+) => {
        /// Why a chain does not make a workload certificate. The text names the cause for the operator and
        /// holds nothing of the certificate but its trust domain.
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum CertificateRefusal {
            $($(#[$doc])* #[error($text $(, $arg)*)] $variant $(($field))?,)+
        }

        impl CertificateRefusal {
            /// Every code, for metrics that exist before the first refusal.
            pub const CODES: &'static [&'static str] = &[$($code,)+];

            /// The stable code: in logs and as a metric label.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self { $(refusals!(@pattern $variant $($field)?) => $code,)+ }
            }
        }
    };
    (@pattern $variant:ident) => { Self::$variant };
    (@pattern $variant:ident $field:ty) => { Self::$variant(_) };
}

refusals! {
    /// The chain is empty.
    Missing = "certificate_missing", "no certificate was presented";
    /// More than [`limits::CHAIN`] certificates.
    ChainTooLong = "chain_too_long", "the chain has more than {} certificates", limits::CHAIN;
    /// A certificate of more than [`limits::CERTIFICATE`] bytes.
    TooLarge = "certificate_too_large", "a certificate is larger than {} bytes", limits::CERTIFICATE;
    /// Not a certificate.
    Malformed = "certificate_malformed", "a certificate cannot be parsed";
    /// An RSA modulus of more than [`limits::CERTIFICATE_RSA_BITS`] bits, or a key that takes as much room.
    KeyTooLarge = "key_too_large", "a certificate's key is larger than RSA with {} bits", limits::CERTIFICATE_RSA_BITS;
    /// No URI SAN.
    NoUri = "no_uri_name", "the certificate has no URI name";
    /// More than one URI SAN (X.509-SVID section 2).
    SeveralUris = "several_uri_names", "the certificate has more than one URI name";
    /// The URI SAN is not a SPIFFE ID.
    NotASpiffeId(InvalidSpiffeId) = "not_a_spiffe_id", "the URI name is not a SPIFFE ID: {0}";
    /// The SPIFFE ID names the trust domain itself (X.509-SVID section 4.1).
    NoPath = "spiffe_id_without_path", "the SPIFFE ID has no path, as only an authority's may";
    /// `cA` is true (X.509-SVID section 4.1).
    Authority = "certificate_authority", "the certificate is an authority's (cA is true)";
    /// `keyCertSign` or `cRLSign` is set (X.509-SVID section 4.3).
    SigningKeyUsage = "signing_key_usage", "the key usage allows signing certificates or revocation lists";
    /// No key usage (X.509-SVID section 4.3).
    NoKeyUsage = "key_usage_missing", "the certificate has no key usage";
    /// Key usage is not critical (X.509-SVID section 4.3).
    KeyUsageNotCritical = "key_usage_not_critical", "the key usage is not marked critical";
    /// `digitalSignature` is not set (X.509-SVID section 4.3).
    NoDigitalSignature = "no_digital_signature", "the key usage does not allow digital signatures";
    /// The extended key usage lacks server or client authentication (X.509-SVID section 4.4).
    ExtendedKeyUsage = "extended_key_usage", "the extended key usage lacks server or client authentication";
    /// No bundle for the trust domain.
    UnknownTrustDomain(TrustDomain) = "unknown_trust_domain", "no trust bundle is configured for trust domain {0}";
    /// No path to a root of the domain.
    UnknownIssuer = "unknown_issuer", "the certificate was not issued by an authority of its trust domain";
    /// An issuer of the right name with another key, or a forgery.
    BadSignature = "bad_signature", "a signature in the chain is not the issuer's";
    /// Every path ends in a root that is outside its own validity.
    RootExpired = "root_expired", "the root of the chain is outside its own validity";
    /// A certificate of the path is past its `notAfter`.
    Expired = "certificate_expired", "a certificate of the chain has expired";
    /// A certificate of the path is before its `notBefore`.
    NotYetValid = "certificate_not_yet_valid", "a certificate of the chain is not valid yet";
    /// A CRL lists a certificate of the path.
    Revoked = "certificate_revoked", "a certificate of the chain is revoked";
    /// The CRL that answers for a certificate is past its `nextUpdate`.
    StaleRevocationList = "revocation_list_stale", "the revocation list for a certificate of the chain is out of date";
    /// The CRL that answers for a certificate is not signed by the issuer.
    BadRevocationList = "revocation_list_invalid", "the revocation list for a certificate of the chain is not its issuer's";
    /// A CA's name constraints; URI constraints are not supported and refuse the chain.
    NameConstraint = "name_constraint", "the chain violates or has unsupported name constraints";
    /// Too long or too intricate a path.
    PathTooComplex = "path_too_complex", "the chain is longer or more intricate than its authorities or our bounds allow";
    /// Anything else that path validation refuses (RFC 5280 section 6).
    Path(String) = "path_invalid", "the chain is not valid: {0}";
}

impl From<PathError> for CertificateRefusal {
    fn from(error: PathError) -> Self {
        match error {
            PathError::BadDer | PathError::BadDerTime | PathError::TrailingData(_) => {
                Self::Malformed
            }
            PathError::CaUsedAsEndEntity => Self::Authority,
            PathError::CertExpired { .. } => Self::Expired,
            PathError::CertNotValidYet { .. } => Self::NotYetValid,
            PathError::CertRevoked => Self::Revoked,
            PathError::CrlExpired { .. } => Self::StaleRevocationList,
            PathError::InvalidCrlSignatureForPublicKey
            | PathError::IssuerNotCrlSigner
            | PathError::UnknownRevocationStatus => Self::BadRevocationList,
            PathError::InvalidSignatureForPublicKey => Self::BadSignature,
            PathError::NameConstraintViolation
            | PathError::MalformedNameConstraint
            | PathError::MaximumNameConstraintComparisonsExceeded => Self::NameConstraint,
            PathError::MaximumPathBuildCallsExceeded
            | PathError::MaximumPathDepthExceeded
            | PathError::MaximumSignatureChecksExceeded
            | PathError::PathLenConstraintViolated => Self::PathTooComplex,
            PathError::UnknownIssuer => Self::UnknownIssuer,
            other => Self::Path(other.to_string()),
        }
    }
}
