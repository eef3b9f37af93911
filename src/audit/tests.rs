//! The log under faults, on a device in memory.

mod bound;
mod counts;
mod faults;
mod flow;
mod lost;
pub(super) mod outbox;
mod power;
mod recovery;
mod scale;
