//! What the tests share.

pub mod clock;
pub(crate) mod hostile_store;
pub(crate) mod stores;
