//! The tree as it grows, held against the tiles that are there.

use crate::audit::edge::Edge;
use crate::audit::shelf::Shelf;
use crate::audit::tree::{Hash, Tile};
use std::io;

/// A growing tree, and what was found in the tiles so far.
pub(super) struct Growing<'a> {
    shelf: &'a dyn Shelf,
    /// How many records the last checkpoint is of.
    of: u64,
    edge: Edge,
    /// The first record whose hash is another in the tiles.
    changed: Option<u64>,
    /// The first tile that is not the tree's.
    wrong: Option<Tile>,
    /// The hashes of the tile that was read last, and its index.
    held: Option<(u64, Vec<Hash>)>,
}

impl<'a> Growing<'a> {
    pub(super) fn new(shelf: &'a dyn Shelf, of: u64) -> Self {
        Self {
            shelf,
            of,
            edge: Edge::default(),
            changed: None,
            wrong: None,
            held: None,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.edge.frontier.size()
    }

    pub(super) fn root(&self) -> Hash {
        self.edge.frontier.root()
    }

    /// The first tile that is not the tree's.
    pub(super) fn wrong(&self) -> Option<Tile> {
        self.wrong
    }

    /// The first record so far whose hash is not the one that the tiles have.
    pub(super) fn changed(&self) -> Option<u64> {
        let begun = self.size() / u64::from(Tile::FULL);
        let row = self.edge.row(0, begun).unwrap_or_default();
        self.changed
            .or_else(|| differs(self.shelf, self.of, begun, row))
    }

    /// The hash of a record by its tile; none where that is not there. It could be made again from the record, so that alone
    /// is no finding.
    pub(super) fn hash_of(&mut self, record: u64) -> Option<Hash> {
        let tile = Tile::of_leaf(record, self.of);
        let held = self.held.take().filter(|(index, _)| *index == tile.index);
        let (_, hashes) = self.held.insert(match held {
            Some(held) => held,
            None => (tile.index, self.shelf.read(tile).ok()?),
        });
        let place = usize::try_from(record.checked_rem(u64::from(Tile::FULL))?).ok()?;
        hashes.get(place).copied()
    }

    /// Adds a record, and looks at each tile that this completes, or that the checkpoint ends.
    pub(super) fn push(&mut self, hash: Hash) -> io::Result<()> {
        let filled = self.edge.push(hash);
        if self.size() > self.of {
            return Ok(());
        }
        for (tile, hashes) in &filled {
            self.changed = match tile.level {
                0 => self
                    .changed
                    .or_else(|| differs(self.shelf, self.of, tile.index, hashes)),
                _ => self.changed,
            };
            self.wrong = match self.wrong {
                None => wrong(self.shelf, *tile, hashes)?,
                found => found,
            };
        }
        if self.size() == self.of && self.wrong.is_none() {
            for (tile, hashes) in self.edge.partial() {
                self.wrong = wrong(self.shelf, tile, hashes)?;
                if self.wrong.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The first record of a tile whose hash is not the one that readers are given.
fn differs(shelf: &dyn Shelf, of: u64, index: u64, hashes: &[Hash]) -> Option<u64> {
    let first = index.checked_mul(u64::from(Tile::FULL))?;
    let held = shelf.read(Tile::of_leaf(first, of)).ok()?;
    let pairs = hashes.iter().zip(&held);
    let place = pairs.into_iter().position(|(hash, held)| hash != held)?;
    first.checked_add(u64::try_from(place).ok()?)
}

/// A file of a tile that does not hold what it should. Those that are wider than the checkpoint are not looked at: a crash
/// leaves such behind, whole or not, before it is signed for.
fn wrong(shelf: &dyn Shelf, tile: Tile, hashes: &[Hash]) -> io::Result<Option<Tile>> {
    let mut forms = shelf.forms(tile)?;
    forms.retain(|form| form.width <= tile.width);
    // The one that serves for the others is named first.
    forms.sort_by_key(|form| std::cmp::Reverse(form.width));
    for form in forms {
        let right = hashes.get(..usize::from(form.width)).unwrap_or(hashes);
        let right = right.iter().flat_map(|hash| *hash.bytes());
        // It may have been dropped meanwhile, where a full one has taken its place.
        if let Some(held) = shelf.form(form)?
            && !held.into_iter().eq(right)
        {
            return Ok(Some(form));
        }
    }
    Ok(None)
}
