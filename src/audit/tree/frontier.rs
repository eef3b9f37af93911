//! The right edge of a growing tree: all that is needed to add a leaf and to tell the root.

use super::hash::{Hash, node};

/// The roots of the complete subtrees that a tree is made of, the largest first: one for each bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// The edge of a tree of `size`, from the roots of its complete subtrees, the largest first. `None` where there are
    /// not as many as the size has bits.
    #[must_use]
    pub fn new(size: u64, roots: Vec<Hash>) -> Option<Self> {
        let bits = usize::try_from(size.count_ones()).ok()?;
        (roots.len() == bits).then_some(Self { size, roots })
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. `completed` is told of each complete subtree that this makes, by its height in levels, the leaf itself
    /// first.
    pub fn push(&mut self, leaf: Hash, mut completed: impl FnMut(u32, Hash)) {
        let mut hash = leaf;
        completed(0, hash);
        // Each complete subtree at the end that is as large as what is added is its left half.
        for height in 1..=self.size.trailing_ones() {
            let Some(left) = self.roots.pop() else { break };
            hash = node(&left, &hash);
            completed(height, hash);
        }
        self.roots.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// The root of the whole tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let folded = self
            .roots
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node(&left, &right));
        folded.unwrap_or_else(Hash::of_nothing)
    }
}
