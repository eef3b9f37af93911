//! The users' side of a token: checking it offline, with nothing but the issuer's published keys.

mod access_token;
mod fetch;
mod verifier;

pub use access_token::{AccessToken, Actor, Binding};
pub use fetch::{FetchError, Fetcher};
pub use verifier::{Presenter, Verifier, VerifyError};
