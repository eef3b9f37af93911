//! The published tree as it is read by others: nothing leaves here that does not lead to the checkpoint's root.
//!
//! The tiles that are not full yet are in memory, as the checkpoint was signed for them. Each full tile is read from the
//! shelf, and is what the tile above it says, up to one that is in memory: a few tiles at most, whatever the log's size.
//! One that is damaged is made again from what is below it, and never served.

use super::device::Segments;
use super::edge::{Edge, complete};
use super::read::{ReadError, records};
use super::shelf::Shelf;
use super::take_up::begin;
use super::tree::{Hash, Tile, Tiles, leaf};
use std::io;
use std::sync::Arc;

/// The tree of one checkpoint. Also that of each earlier one, since it has grown from it.
#[derive(Debug)]
pub(super) struct View<'p> {
    pub(super) device: &'p Arc<dyn Segments>,
    pub(super) shelf: &'p dyn Shelf,
    pub(super) edge: Arc<Edge>,
}

impl Tiles for View<'_> {
    fn read(&self, tile: Tile) -> io::Result<Vec<Hash>> {
        let mut hashes = self.whole(tile.level, tile.index)?;
        if hashes.len() < usize::from(tile.width) {
            return Err(absent(tile));
        }
        hashes.truncate(usize::from(tile.width));
        Ok(hashes)
    }
}

impl View<'_> {
    /// Records as a bundle (C2SP tlog-tiles): each behind its length. `leaves` names the tile that holds their hashes, and
    /// none that has another is in it.
    pub(super) fn bundle(&self, leaves: Tile) -> Result<Vec<u8>, ReadError> {
        let hashes = self.read(leaves)?;
        let first = leaves.index.saturating_mul(u64::from(Tile::FULL));
        let mut all = records(Arc::clone(self.device), first)?;
        let mut bundle = Vec::new();
        for (sequence, hash) in (first..).zip(hashes) {
            let entry = all.next().ok_or(ReadError::Missing(sequence))??;
            let entry = entry.held_to(hash)?;
            let length = u16::try_from(entry.line.len());
            let length = length.map_err(|_| ReadError::Unreadable(sequence))?;
            bundle.extend(length.to_be_bytes());
            bundle.extend(entry.line);
        }
        Ok(bundle)
    }

    /// All hashes that a tile has by now.
    fn whole(&self, level: u8, index: u64) -> io::Result<Vec<Hash>> {
        if let Some(row) = self.edge.row(level, index) {
            return Ok(row.to_vec());
        }
        let tile = Tile {
            level,
            index,
            width: Tile::FULL,
        };
        let above = level.saturating_add(1);
        if above >= Tile::LEVELS {
            return Err(absent(tile));
        }
        let full = u64::from(Tile::FULL);
        let parent = self.whole(above, index.checked_div(full).unwrap_or_default())?;
        let place = usize::try_from(index.checked_rem(full).unwrap_or_default());
        let expected = place.ok().and_then(|place| parent.get(place));
        let expected = expected.ok_or_else(|| absent(tile))?;
        let is_right = |hashes: &Vec<Hash>| complete(hashes).is_ok_and(|root| root == *expected);
        if let Some(held) = self.shelf.read(tile).ok().filter(is_right) {
            return Ok(held);
        }
        let made = Some(self.made(tile)?).filter(is_right);
        let made = made.ok_or_else(|| damaged(tile))?;
        tracing::warn!(%tile, "a tile of the log was damaged, and is made again");
        self.shelf.put(tile, &made)?;
        Ok(made)
    }

    /// A full tile, from the records or tiles below it as they are.
    fn made(&self, tile: Tile) -> io::Result<Vec<Hash>> {
        let full = u64::from(Tile::FULL);
        let first = tile.index.saturating_mul(full);
        let Some(level) = tile.level.checked_sub(1) else {
            // What was removed has left its hashes.
            let begins = begin(self.device)?.max(first);
            let gone = usize::try_from(begins.saturating_sub(first)).unwrap_or(usize::MAX);
            let left = match gone {
                0 => Vec::new(),
                _ => self.shelf.read(tile)?,
            };
            let all = records(Arc::clone(self.device), begins).map_err(io::Error::other)?;
            let made = all.map(|entry| Ok(leaf(&entry.map_err(io::Error::other)?.line)));
            let left = left.into_iter().take(gone).map(Ok);
            return left.chain(made).take(usize::from(Tile::FULL)).collect();
        };
        (first..first.saturating_add(full))
            .map(|index| {
                let width = Tile::FULL;
                let below = Tile {
                    level,
                    index,
                    width,
                };
                complete(&self.shelf.read(below).or_else(|_| self.made(below))?)
            })
            .collect()
    }
}

fn absent(tile: Tile) -> io::Error {
    let message = format!("{tile} is not of this tree");
    io::Error::new(io::ErrorKind::NotFound, message)
}

fn damaged(tile: Tile) -> io::Error {
    let message = format!(
        "{tile} is damaged, and what it is made of does not lead to the checkpoint: run `cambist audit verify`"
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}
