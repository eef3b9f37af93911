//! What the tests share.

pub(crate) mod admin;
pub mod clock;
pub(crate) mod command;
