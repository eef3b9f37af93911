//! Signing keys: rings with a life cycle, sealing, rotation, the published key set. The only code that sees
//! private key bytes.
//!
//! A ring is a value ([`Ring`], pure, driven by the time it is told); its keys are store entries under [`PREFIX`], one
//! sealed value each ([`StoredKey`]); [`Rotation`] commits the changes of a ring; [`KeyRing`] is what a node signs
//! and verifies with, fed by the store's changes.

mod kek;
mod kek_file;
mod log_key;
mod metadata;
mod ring;
mod rotation;
mod signing;
mod stored;
#[cfg(test)]
mod tests;
mod view;

pub use kek::{Kek, MacKey, Sealed, SealingFault};
pub use kek_file::{KekFileError, is_exposed};
pub use log_key::{LogKey, LogKeyError};
pub use metadata::{authorization_server, jwks_uri, openid_configuration};
pub use ring::{Change, InvalidTiming, Life, Member, NotYet, Ring, Timing, UnknownMember};
pub use rotation::{Recorder, Rotation, RotationError};
pub use signing::{KeyFault, SigningAlgorithm, SigningKey};
pub use stored::{PREFIX, Purpose, StoredKey};
pub use view::{KeyRing, RingView};
