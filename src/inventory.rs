//! The inventory: governed things and where they are in their life, in memory.

mod audience;
mod audiences;
mod key;
mod keys;
mod usage;
mod uses;

pub use audience::AudienceSpec;
pub use audiences::{
    AudienceEntry, Audiences, FORMER_PREFIX, InvalidAudience, PREFIX as AUDIENCE_PREFIX,
    check_alone,
};
pub use key::{ApiKey, KeySpec, KeyState};
pub use keys::{KeyEntry, Keys, PREFIX as KEY_PREFIX, Shown, Standing, Usage};
pub use usage::{PREFIX as USAGE_PREFIX, flush as flush_usage, restore as restore_usage};
pub use uses::Uses;
