//! The integration tests: one binary, real sockets, real files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on stops"
)]

mod cli;
mod cli_tls;
mod config;
mod config_deploy;
mod support;
