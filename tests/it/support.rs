//! What the tests share.

pub(crate) mod clock;
pub(crate) mod edge;
pub(crate) mod jws;
pub(crate) mod log;
pub(crate) mod pki;
pub(crate) mod standin;
pub(crate) mod svid;
