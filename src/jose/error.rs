//! Why a token or a key is not accepted.

use crate::limits;

/// Why a token or a key is not accepted. Holds nothing that the token said.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum JoseError {
    /// Over [`limits::TOKEN`], or a key set over its bounds.
    #[error("longer than {} bytes", limits::TOKEN)]
    TooLarge,
    /// Not the compact serialisation of a JWS, or not canonical.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The header asks for something that is never done.
    #[error("header refused: {0}")]
    HeaderRefused(&'static str),
    /// A key that is not fit to verify anything.
    #[error("key refused: {0}")]
    KeyRefused(&'static str),
    /// A key set that cannot be used at all.
    #[error("key set refused: {0}")]
    KeySetRefused(&'static str),
    /// No key of the set has the token's `kid`. The set may be out of date.
    #[error("the key is not known")]
    UnknownKey,
    /// The token's `alg` is not the key's.
    #[error("the algorithm is not the key's")]
    AlgorithmMismatch,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
    /// The token's `typ` is not the expected one (RFC 8725 section 3.11).
    #[error("the token is of another type")]
    WrongType,
    /// The claims are not of the expected shape.
    #[error("claims refused: {0}")]
    BadClaims(&'static str),
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("not valid yet")]
    NotYetValid,
}
