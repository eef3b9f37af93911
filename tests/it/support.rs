//! What the tests share.

pub mod clock;
pub mod jws;
pub(crate) mod pki;
pub(crate) mod standin;
