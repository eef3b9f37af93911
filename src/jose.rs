//! JOSE, strictly: the one reader of signed tokens, used by the server, the client and the verifier alike.
//!
//! What is here: JWS compact serialisation (RFC 7515), JWK and JWK sets (RFC 7517, 7518, 8037), thumbprints
//! (RFC 7638), explicit typing and time claims (RFC 7519, 8725). What is absent, on purpose:
//!
//! - JSON serialisation, encryption, compression, detached payloads: their tokens are refused.
//! - `none` and every HMAC: there is no such [`Algorithm`], so nothing can be confused into it.
//! - Trust in what a token says of its own key: a token with `jwk`, `jku`, `x5u` or `x5c` is refused. A proof of
//!   possession (RFC 9449), whose `jwk` is what it proves, is another type: [`SelfSigned`].
//!
//! A token that was parsed is [`Unverified`] and shows nothing but what a key is chosen by; its claims appear
//! only in a [`VerifiedJwt`], which only a verified signature makes.

mod algorithm;
mod error;
mod json;
mod jwk;
mod jws;
mod key;
mod key_set;
mod roca;
mod self_signed;
mod time_claims;

pub use algorithm::Algorithm;
pub use error::JoseError;
pub use json::from_slice;
pub(crate) use json::non_null;
pub use jwk::Jwk;
pub use jws::{Unbelieved, Unverified, VerifiedJws, VerifiedJwt};
pub use key::VerifyingKey;
pub use key_set::KeySet;
pub use self_signed::SelfSigned;
pub use time_claims::{NumericDate, Validity};
