//! What the tests share.

pub(crate) mod clock;
pub(crate) mod edge;
pub(crate) mod jws;
pub(crate) mod log;
pub(crate) mod pki;
pub(crate) mod standin;
pub(crate) mod svid;
pub mod clock;
pub mod https;
pub mod jws;
pub mod plain_store;
pub(crate) mod admin;
pub mod clock;
pub(crate) mod command;
pub(crate) mod hostile_store;
pub(crate) mod stores;
