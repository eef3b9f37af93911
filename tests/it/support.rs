//! What the tests share.

pub mod clock;
pub(crate) mod edge;
pub(crate) mod pki;
