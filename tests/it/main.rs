//! The integration tests: one binary, real sockets, real files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on stops"
)]

mod store_conformance;
mod store_embedded;
mod store_recovery;
mod store_replica;
mod support;
