//! The inventory: governed things and their life cycle.

mod admin;
mod audience;
mod audience_admin;
mod audiences;
mod change;
mod key;
mod keys;
mod maintenance;
mod policy_admin;
mod signing_admin;
mod spend;
mod usage;

pub use admin::{KeyAdmin, Written, suspend_limited};
pub use audience::AudienceSpec;
pub use audience_admin::AudienceAdmin;
pub use audiences::{AudienceEntry, Audiences, InvalidAudience, PREFIX as AUDIENCE_PREFIX};
pub use change::{Author, Changes, Committed, Note, Precondition, Settled};
pub use key::{ApiKey, KeySpec, KeyState};
pub use keys::{KeyEntry, Keys, PREFIX as KEY_PREFIX, Standing, Usage};
pub use maintenance::{Copied, Maintenance};
pub use policy_admin::{PREFIX as POLICY_PREFIX, PolicyAdmin};
pub use signing_admin::SigningAdmin;
pub use spend::spend;
pub use usage::{PREFIX as USAGE_PREFIX, flush as flush_usage, restore as restore_usage};
