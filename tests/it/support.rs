//! What the tests share.

pub mod clock;
pub(crate) mod pki;
pub(crate) mod standin;
