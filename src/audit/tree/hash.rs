//! Hashes of leaves and nodes.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Says that what follows is a leaf, so that no node can pass for one.
const LEAF: [u8; 1] = [0];
/// Says that what follows is two hashes.
const NODE: [u8; 1] = [1];

/// A hash of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Length in bytes.
    pub const LENGTH: usize = 32;

    /// A hash from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// The hash of nothing: the root of an empty tree.
    #[must_use]
    pub fn of_nothing() -> Self {
        digest([])
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// The hash of a leaf.
#[must_use]
pub fn leaf(record: &[u8]) -> Hash {
    digest([&LEAF, record])
}

/// The hash of two subtrees, the left one first.
pub(in crate::audit) fn node(left: &Hash, right: &Hash) -> Hash {
    digest([&NODE[..], &left.0, &right.0])
}

fn digest<const N: usize>(parts: [&[u8]; N]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; Hash::LENGTH];
    hash.copy_from_slice(context.finish().as_ref());
    Hash(hash)
}
