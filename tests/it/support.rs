//! What the tests share.

pub(crate) mod clock;
pub(crate) mod jws;
pub(crate) mod pki;
pub(crate) mod standin;
pub mod clock;
pub(crate) mod log;
