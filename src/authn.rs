//! Authentication: [`Presented`] → [`Verified`], the only maker of `Verified`.
//!
//! One file a credential kind. A request has one subject and at most one actor, in a fixed table of
//! combinations; everything that is presented must verify; what fails ends the request.

mod presented;
mod verified;

pub use presented::{Credential, Face, Peer, Presented, TokenType};
pub use verified::{Actor, Ceiling, CredentialKind, Lineage, Reach, Uses, Verified};
