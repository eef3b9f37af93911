//! The integration tests: one binary, real sockets, real files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on stops"
)]

mod audit_files;
mod audit_kill;
mod client;
mod cli;
mod cli_tls;
mod config;
mod jose;
mod policy_samples;
mod lifecycle;
mod listener;
mod house;
mod store_conformance;
mod store_embedded;
mod store_recovery;
mod store_replica;
mod config_deploy;
mod interop;
mod rivals;
mod support;
mod trust;
mod keys;
mod support;
mod verify;
