//! Why a proof is not accepted.

use crate::jose::JoseError;
use crate::limits;

/// Why a proof of possession is not accepted. That it is of another key than the token's is
/// [`super::super::VerifyError::Confirmation`]: it is the token, then, that is not the caller's.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProofError {
    /// There is no `DPoP` header, or more than one, or one that is no text.
    #[error("not one DPoP proof")]
    NotOne,
    /// Over [`limits::DPOP_PROOF`].
    #[error("the DPoP proof is longer than {} bytes", limits::DPOP_PROOF)]
    TooLarge,
    /// Malformed, of another type or algorithm, with a private key or none, lacking a claim, or not signed by its key.
    #[error("the DPoP proof is refused: {0}")]
    Jwt(#[source] JoseError),
    /// `htm` is not the request's method.
    #[error("the DPoP proof is for another method")]
    Method,
    /// `htu` is not the request's URL.
    #[error("the DPoP proof is for another URL")]
    Url,
    /// `ath` is not the token's hash.
    #[error("the DPoP proof is for another token")]
    Token,
    /// `iat` is older than [`limits::DPOP_AGE`], or `exp` has passed.
    #[error("the DPoP proof is too old")]
    Old,
    /// `iat` or `nbf` is further ahead than [`limits::DPOP_AHEAD`].
    #[error("the DPoP proof is not valid yet")]
    Early,
    /// It passed before.
    #[error("the DPoP proof was used before")]
    Replayed,
    /// So many are remembered that it could not be.
    #[error("too many DPoP proofs came of late")]
    Full,
}
