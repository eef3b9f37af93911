//! Proofs that a record is in the tree, and that one tree is the beginning of another (RFC 9162 section 2.1).

use super::hash::{Hash, node};
use super::tile::{Tile, Tiles};
use std::io;

/// Why a proof does not prove it.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProofError {
    /// The index is not below the size, or the sizes are not in order.
    #[error("the proof is about what the tree cannot hold")]
    OutOfRange,
    /// It has too few or too many hashes.
    #[error("the proof has the wrong length")]
    Length,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The root of the first `size` leaves.
///
/// # Errors
/// When a tile cannot be read.
pub fn root(tiles: &dyn Tiles, size: u64) -> io::Result<Hash> {
    match size {
        0 => Ok(Hash::of_nothing()),
        size => Range {
            start: 0,
            end: size,
        }
        .hash(tiles, size),
    }
}

/// The audit path of leaf `index` in a tree of `size`, from the leaf's side up.
///
/// # Errors
/// When a tile cannot be read, or the leaf is not in that tree.
pub fn inclusion(tiles: &dyn Tiles, index: u64, size: u64) -> io::Result<Vec<Hash>> {
    if index >= size {
        return Err(out_of_range());
    }
    let mut path = Vec::new();
    let mut range = Range {
        start: 0,
        end: size,
    };
    while let Some((left, right)) = range.halves() {
        let (with, without) = match index < right.start {
            true => (left, right),
            false => (right, left),
        };
        path.push(without.hash(tiles, size)?);
        range = with;
    }
    path.reverse();
    Ok(path)
}

/// The proof that a tree of `old` leaves is the beginning of one of `new`, from the old tree's side up.
///
/// # Errors
/// When a tile cannot be read, or the old tree is empty or the larger one.
pub fn consistency(tiles: &dyn Tiles, old: u64, new: u64) -> io::Result<Vec<Hash>> {
    if old == 0 || old > new {
        return Err(out_of_range());
    }
    let mut proof = Vec::new();
    let mut range = Range { start: 0, end: new };
    while range.end != old {
        let Some((left, right)) = range.halves() else {
            break;
        };
        let (with, without) = match old <= right.start {
            true => (left, right),
            false => (right, left),
        };
        proof.push(without.hash(tiles, new)?);
        range = with;
    }
    // A verifier has the hash of what begins at the first leaf: it is the old root.
    if range.start != 0 {
        proof.push(range.hash(tiles, new)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks an audit path.
///
/// # Errors
/// [`ProofError`].
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let mut range = Range {
        start: 0,
        end: size,
    };
    let mut turns = Vec::new();
    while let Some((left, right)) = range.halves() {
        let goes_right = index >= right.start;
        turns.push(goes_right);
        range = if goes_right { right } else { left };
    }
    if turns.len() != path.len() {
        return Err(ProofError::Length);
    }
    let found = turns
        .iter()
        .rev()
        .zip(path)
        .fold(leaf, |hash, step| match step {
            (true, left) => node(left, &hash),
            (false, right) => node(&hash, right),
        });
    (found == *root).then_some(()).ok_or(ProofError::Root)
}

/// Checks that the tree of `old` leaves with `old_root` is the beginning of that of `new` with `new_root`.
///
/// # Errors
/// [`ProofError`].
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange);
    }
    if old == 0 || old == new {
        // Nothing is the beginning of everything; and of two trees of one size there is one.
        let same = old == 0 || old_root == new_root;
        return match (proof.is_empty(), same) {
            (false, _) => Err(ProofError::Length),
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
        };
    }
    let mut range = Range { start: 0, end: new };
    let mut turns = Vec::new();
    while range.end != old {
        let Some((left, right)) = range.halves() else {
            break;
        };
        let goes_right = old > right.start;
        turns.push(goes_right);
        range = if goes_right { right } else { left };
    }
    let mut rest = proof.iter();
    let begin = match range.start {
        0 => *old_root,
        _ => *rest.next().ok_or(ProofError::Length)?,
    };
    if rest.len() != turns.len() {
        return Err(ProofError::Length);
    }
    let start = (begin, begin);
    let (was, is) = turns
        .iter()
        .rev()
        .zip(rest)
        .fold(start, |(was, is), step| match step {
            // What is on the left was there before.
            (true, left) => (node(left, &was), node(left, &is)),
            (false, right) => (was, node(&is, right)),
        });
    (was == *old_root && is == *new_root)
        .then_some(())
        .ok_or(ProofError::Root)
}

/// Leaves from `start` to before `end`, as the tree's recursion comes to them.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Its two subtrees: the left one as large a power of two as leaves something for the right one.
    fn halves(self) -> Option<(Self, Self)> {
        let last = self.len().checked_sub(1)?;
        let half = 1_u64.checked_shl(last.checked_ilog2()?)?;
        let middle = self.start.saturating_add(half);
        let left = Self {
            end: middle,
            ..self
        };
        let right = Self {
            start: middle,
            ..self
        };
        Some((left, right))
    }

    /// The hash of the subtree over it, in a tree of `size`.
    fn hash(self, tiles: &dyn Tiles, size: u64) -> io::Result<Hash> {
        if self.len().is_power_of_two() {
            return self.complete(tiles, size);
        }
        let (left, right) = self.halves().ok_or_else(out_of_range)?;
        Ok(node(&left.hash(tiles, size)?, &right.hash(tiles, size)?))
    }

    /// The hash of a complete subtree, from the tile that holds its hashes or those a few levels below.
    fn complete(self, tiles: &dyn Tiles, size: u64) -> io::Result<Hash> {
        let height = self.len().trailing_zeros();
        let level = height.checked_div(Tile::HEIGHT).unwrap_or_default();
        let leaves = level.saturating_mul(Tile::HEIGHT);
        let (first, count) = (self.start >> leaves, self.len() >> leaves);
        let full = u64::from(Tile::FULL);
        let index = first.checked_div(full).unwrap_or_default();
        let begin = index.saturating_mul(full);
        let there = (size >> leaves).saturating_sub(begin).min(full);
        let tile = Tile {
            level: u8::try_from(level).map_err(|_| out_of_range())?,
            index,
            width: u16::try_from(there).map_err(|_| out_of_range())?,
        };
        let hashes = tiles.read(tile)?;
        let skip = usize::try_from(first.saturating_sub(begin)).map_err(|_| out_of_range())?;
        let take = usize::try_from(count).map_err(|_| out_of_range())?;
        let mut row: Vec<Hash> = hashes.into_iter().skip(skip).take(take).collect();
        if row.len() != take {
            let message = format!("{tile} holds too few hashes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        while row.len() > 1 {
            row = row
                .chunks(2)
                .filter_map(|pair| match pair {
                    [left, right] => Some(node(left, right)),
                    _ => None,
                })
                .collect();
        }
        row.first().copied().ok_or_else(out_of_range)
    }
}

fn out_of_range() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, ProofError::OutOfRange)
}
