//! What the tests share.

pub mod clock;
pub(crate) mod https;
pub(crate) mod jws;
pub(crate) mod plain_store;
