//! What the tests share.

pub(crate) mod admin;
pub(crate) mod broker;
pub(crate) mod clock;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod disk;
pub(crate) mod edge;
pub(crate) mod feed;
pub(crate) mod hostile_store;
pub(crate) mod https;
pub(crate) mod jws;
pub(crate) mod log;
pub(crate) mod myself;
pub(crate) mod only_watched;
pub(crate) mod outside;
pub(crate) mod pki;
pub(crate) mod plain_store;
pub(crate) mod reporter;
pub(crate) mod standin;
pub(crate) mod stored_markers;
pub(crate) mod stores;
pub(crate) mod svid;
pub(crate) mod terminal;
pub(crate) mod witness;

/// Whether the long form was asked for.
pub(crate) fn long() -> bool {
    std::env::var_os("CAMBIST_LONG").is_some()
}
