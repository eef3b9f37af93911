//! Administration: what is done to the inventory, to policies and to signing keys, and by whom.
//!
//! Every act is one batch with its record ([`Changes`]), answered when it is in force on this node and on the record.

mod audiences;
mod change;
mod former;
mod head;
mod idempotency;
mod keys;
mod maintenance;
mod parting;
mod policies;
mod revocations;
mod signing;

pub use audiences::AudienceAdmin;
pub use change::{Author, Changes, Committed, Note, Precondition, Settled, Who};
pub use former::keep_tenants;
pub use keys::{KeyAdmin, Written, suspend_limited};
pub use maintenance::{Copied, Maintenance};
pub use parting::parted_from;
pub use policies::{PREFIX as POLICY_PREFIX, PolicyAdmin};
pub use revocations::{
    InHand, Leak, Leaked, Reach, Revocable, RevocationAdmin, Revoked, Sighting, Undurable, Writing,
};
pub use signing::SigningAdmin;
