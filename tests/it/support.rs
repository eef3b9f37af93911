//! What the tests share.

pub mod clock;
pub mod https;
pub mod jws;
pub mod plain_store;
