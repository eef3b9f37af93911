//! Why a token is not accepted.

use super::dpop::ProofError;
use crate::jose::JoseError;
use crate::marker::{Kind, MarkerId};

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum VerifyError {
    /// Malformed, not signed by the issuer's keys, of another type, or outside its times.
    #[error(transparent)]
    Token(#[from] JoseError),
    /// `iss` is not the issuer.
    #[error("the token is another issuer's")]
    Issuer,
    /// `aud` does not name the audience.
    #[error("the token is for another audience")]
    Audience,
    /// It is bound to a key that its presenter did not prove.
    #[error("the token is bound to a key that was not proven")]
    Confirmation,
    /// A proof of possession came with it, and it is bound to nothing.
    #[error("the token is not bound to the key of a proof, nor to any other")]
    Unbound,
    /// It is bound to a key, and the proof that its presenter has it is not accepted.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It, or something that it stands or falls with, is revoked.
    #[error("revoked: marker {marker} covers its {name}", name = kind.name())]
    Revoked {
        /// What of it is revoked.
        kind: Kind,
        /// The marker that covers it.
        marker: MarkerId,
    },
    /// What is known of revocations is older than this use of it takes.
    #[error("what is known of revocations is too old")]
    Stale,
    /// The issuer's keys have not been had yet.
    #[error("the issuer's keys could not be fetched yet")]
    NoKeys,
}

impl VerifyError {
    /// Every code there is.
    pub const CODES: [&'static str; 18] = [
        "malformed",
        "key_unknown",
        "key_refused",
        "signature",
        "type",
        "claims",
        "expired",
        "not_yet_valid",
        "issuer",
        "audience",
        "confirmation",
        "revoked",
        "stale",
        "no_keys",
        "unbound",
        "proof",
        "proof_replayed",
        "proofs_full",
    ];

    /// The name in metrics: stable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        Self::CODES.get(self.index()).copied().unwrap_or_default()
    }

    /// Its place among the codes.
    pub(super) const fn index(&self) -> usize {
        match self {
            Self::Token(error) => match error {
                JoseError::TooLarge | JoseError::Malformed(_) | JoseError::HeaderRefused(_) => 0,
                JoseError::UnknownKey => 1,
                JoseError::KeyRefused(_) | JoseError::KeySetRefused(_) => 2,
                JoseError::AlgorithmMismatch | JoseError::BadSignature => 3,
                JoseError::WrongType => 4,
                JoseError::BadClaims(_) => 5,
                JoseError::Expired => 6,
                JoseError::NotYetValid => 7,
            },
            Self::Issuer => 8,
            Self::Audience => 9,
            Self::Confirmation => 10,
            Self::Revoked { .. } => 11,
            Self::Stale => 12,
            Self::NoKeys => 13,
            Self::Unbound => 14,
            Self::Proof(error) => match error {
                ProofError::NotOne
                | ProofError::TooLarge
                | ProofError::Jwt(_)
                | ProofError::Method
                | ProofError::Url
                | ProofError::Token
                | ProofError::Old
                | ProofError::Early => 15,
                ProofError::Replayed => 16,
                ProofError::Full => 17,
            },
        }
    }

    /// Whether it says nothing of the token: somebody else was not to be reached, or others came in too great a number, and
    /// later the answer may be another.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Stale | Self::NoKeys | Self::Proof(ProofError::Full)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        let told = [
            (VerifyError::Token(JoseError::Malformed("")), "malformed"),
            (VerifyError::Token(JoseError::UnknownKey), "key_unknown"),
            (VerifyError::Token(JoseError::KeyRefused("")), "key_refused"),
            (VerifyError::Token(JoseError::BadSignature), "signature"),
            (VerifyError::Token(JoseError::WrongType), "type"),
            (VerifyError::Token(JoseError::BadClaims("")), "claims"),
            (VerifyError::Token(JoseError::Expired), "expired"),
            (VerifyError::Token(JoseError::NotYetValid), "not_yet_valid"),
            (VerifyError::Issuer, "issuer"),
            (VerifyError::Audience, "audience"),
            (VerifyError::Confirmation, "confirmation"),
            (
                VerifyError::Revoked {
                    kind: Kind::Token,
                    marker: MarkerId::new([0; 16]),
                },
                "revoked",
            ),
            (VerifyError::Stale, "stale"),
            (VerifyError::NoKeys, "no_keys"),
            (VerifyError::Unbound, "unbound"),
            (VerifyError::Proof(ProofError::Method), "proof"),
            (VerifyError::Proof(ProofError::Replayed), "proof_replayed"),
            (VerifyError::Proof(ProofError::Full), "proofs_full"),
        ];
        assert_eq!(told.len(), VerifyError::CODES.len());
        for (error, code) in told {
            assert_eq!(error.code(), code);
        }
    }
}
