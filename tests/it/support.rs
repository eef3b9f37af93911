//! What the tests share.

pub mod clock;
pub(crate) mod log;
