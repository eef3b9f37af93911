//! The integration tests: one binary, real sockets, real files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on stops"
)]

mod audit_archive;
mod audit_files;
mod audit_kill;
mod audit_retention;
mod audit_tree;
mod audit_verify;
mod cli;
mod cli_real;
mod cli_tls;
mod client;
mod config;
mod config_deploy;
mod config_leaks;
mod config_parties;
mod config_sinks;
mod dev;
mod e2e;
mod faults;
mod feed;
mod house;
mod https;
mod interop;
mod jose;
mod keys;
mod lifecycle;
mod listener;
mod policy_samples;
mod revocation_scale;
mod rivals;
mod sinks;
mod store_conformance;
mod store_embedded;
mod store_recovery;
mod store_replica;
mod support;
mod trust;
mod verify;
