//! The right edge of the published tree: what it takes to grow it, and the tiles that are not full yet.

use super::read::Place;
use super::tree::{Frontier, Hash, Tile, Tiles, node};
use std::io;

/// A growing tree's right edge, with the hashes of the tiles that are not full yet.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) frontier: Frontier,
    /// By level.
    rows: [Vec<Hash>; Tile::LEVELS as usize],
    /// Where the records after it begin, if that is known.
    pub(super) place: Option<Place>,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            frontier: Frontier::default(),
            rows: std::array::from_fn(|_| Vec::new()),
            place: None,
        }
    }
}

impl Edge {
    /// Adds a leaf. Returns the tiles that it fills.
    pub(super) fn push(&mut self, leaf: Hash) -> Vec<(Tile, Vec<Hash>)> {
        let mut levels = self.rows.iter_mut();
        self.frontier.push(leaf, |height, hash| {
            if height.is_multiple_of(Tile::HEIGHT)
                && let Some(row) = levels.next()
            {
                row.push(hash);
            }
        });
        let tiles = Tile::last_of(self.frontier.size()).zip(&mut self.rows);
        tiles
            .filter(|(_, row)| row.len() == usize::from(Tile::FULL))
            .map(|(tile, row)| (tile, std::mem::take(row)))
            .collect()
    }

    /// The tiles that are not full.
    pub(super) fn partial(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        let tiles = Tile::last_of(self.frontier.size()).zip(&self.rows);
        tiles
            .filter(|(tile, _)| !tile.is_full())
            .map(|(tile, row)| (tile, row.as_slice()))
    }

    /// The hashes of a tile that is not full yet; none of any other.
    pub(super) fn row(&self, level: u8, index: u64) -> Option<&[Hash]> {
        let leaves = u32::from(level).saturating_mul(Tile::HEIGHT);
        let count = self.frontier.size().checked_shr(leaves)?;
        let is_last = count.checked_div(u64::from(Tile::FULL)) == Some(index);
        let row = self.rows.get(usize::from(level)).filter(|_| is_last)?;
        Some(row.as_slice())
    }

    /// Reads the edge of a tree of `size` back.
    pub(super) fn from_tiles(tiles: &dyn Tiles, size: u64) -> io::Result<Self> {
        let mut edge = Self::default();
        let mut roots = Vec::new();
        for (tile, row) in Tile::last_of(size).zip(&mut edge.rows) {
            if tile.is_full() {
                continue;
            }
            *row = tiles.read(tile)?;
            // The complete subtrees in this row, the smallest first: from the right, one for each bit of its width.
            let mut rest = row.as_slice();
            while !rest.is_empty() {
                let width = 1_usize << rest.len().trailing_zeros();
                let (before, subtree) = rest.split_at(rest.len().saturating_sub(width));
                roots.push(complete(subtree)?);
                rest = before;
            }
        }
        roots.reverse();
        edge.frontier = Frontier::new(size, roots).ok_or(io::ErrorKind::InvalidData)?;
        Ok(edge)
    }
}

/// The root over a row of as many hashes as a power of two.
pub(super) fn complete(row: &[Hash]) -> io::Result<Hash> {
    match row {
        [] => Err(io::ErrorKind::InvalidData.into()),
        [hash] => Ok(*hash),
        _ => {
            let (left, right) = row.split_at(row.len().checked_div(2).unwrap_or_default());
            Ok(node(&complete(left)?, &complete(right)?))
        }
    }
}
