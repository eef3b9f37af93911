//! The inventory: governed things and their life cycle.

mod audience;
mod key;

pub use audience::AudienceSpec;
pub use key::{ApiKey, KeySpec, KeyState};
