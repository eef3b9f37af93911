//! The Merkle tree over the records (RFC 6962 section 2.1), in the shape that C2SP logs publish: tiles and checkpoints.
//!
//! A leaf is a record's line without its newline. Everything here is arithmetic over hashes: what is read and written, and
//! when, is the publisher's.

mod frontier;
mod hash;
mod proof;
mod tile;

pub use frontier::Frontier;
pub(super) use hash::node;
pub use hash::{Hash, leaf};
pub use proof::{ProofError, consistency, inclusion, root, verify_consistency, verify_inclusion};
pub use tile::{InvalidTile, Tile, Tiles};

#[cfg(test)]
mod tests;
