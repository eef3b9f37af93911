//! What others read of the published tree: tiles, records, proofs, and whether it is the one that was published before.

use super::{PublishError, Published, Publisher, signed};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::filter::Filter;
use crate::audit::proof::Proof;
use crate::audit::read::{ReadError, records};
use crate::audit::record::PRUNE;
use crate::audit::search::{Order, search};
use crate::audit::seen::Field;
use crate::audit::take_up::{begin, beyond};
use crate::audit::tree::{
    Hash, Tile, Tiles as _, consistency, inclusion, leaf, root, verify_consistency,
};
use crate::audit::verify::removed_by;
use crate::audit::view::View;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

impl Publisher {
    /// A tile as it is served; none where the last checkpoint does not cover it. Blocks: reads files.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged and cannot be made again.
    pub fn tile(&self, tile: Tile) -> io::Result<Option<Vec<u8>>> {
        if !self.covers(tile) {
            return Ok(None);
        }
        let hashes = self.view().read(tile)?;
        Ok(Some(hashes.iter().flat_map(|hash| *hash.bytes()).collect()))
    }

    /// The records whose hashes a tile of level 0 holds, as a bundle (C2SP tlog-tiles): each behind its length in two
    /// bytes. None where the last checkpoint does not cover them, or some of them were removed. Blocks: reads files.
    ///
    /// # Errors
    /// When they cannot be read, or are not those that the checkpoint was signed for.
    pub fn bundle(&self, leaves: Tile) -> Result<Option<Vec<u8>>, ReadError> {
        let first = leaves.index.saturating_mul(u64::from(Tile::FULL));
        if leaves.level != 0 || !self.covers(leaves) || first < begin(&self.device)? {
            return Ok(None);
        }
        self.view().bundle(leaves).map(Some)
    }

    /// How many records the last checkpoint is of.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.published().map_or(0, |last| last.checkpoint.size)
    }

    /// Checks that a record which the last checkpoint is of says that those before the first one there is were removed. Blocks:
    /// reads files, from the last on, until it is found; of closed segments only what their indexes do not rule out.
    ///
    /// # Errors
    /// [`PublishError::Cut`] where none does; otherwise when the log cannot be read.
    pub fn begins_as_told(&self) -> Result<(), PublishError> {
        let begins = begin(&self.device)?;
        if begins == 0 {
            return Ok(());
        }
        let prunes = Filter::default().within(Field::Action, BTreeSet::from([PRUNE.to_owned()]));
        let segments = Arc::clone(&self.device);
        let found = search(segments, prunes, begins..self.size(), Order::NewestFirst)?;
        // What cannot be read says nothing.
        for entry in found.flatten() {
            if removed_by(&entry.line) >= begins
                && self.hash_of(entry.sequence)? == Some(leaf(&entry.line))
            {
                return Ok(());
            }
        }
        Err(PublishError::Cut(begins))
    }

    /// Holds records, which the last checkpoint covers, against the tree, and sees that their hashes are in the tiles, durably:
    /// what is wrong there is written anew. Answers the first record that is not the tree's, if there is one. Blocks: reads and
    /// writes files.
    ///
    /// # Errors
    /// When records or tiles cannot be read, or a tile is damaged and cannot be made again.
    pub(in crate::audit) fn keep_hashes(
        &self,
        within: Range<u64>,
    ) -> Result<Option<u64>, ReadError> {
        let view = self.view();
        let size = view.edge.frontier.size();
        let mut all = records(Arc::clone(&self.device), within.start)?;
        let mut at = within.start;
        while at < within.end {
            let tile = Tile::of_leaf(at, size);
            let hashes = view.read(tile)?;
            let begin = tile.index.saturating_mul(u64::from(Tile::FULL));
            let held = (begin..within.end).zip(&hashes);
            for (sequence, hash) in held.filter(|(sequence, _)| *sequence >= within.start) {
                let entry = all.next().ok_or(ReadError::Missing(sequence))??;
                if leaf(&entry.line) != *hash {
                    return Ok(Some(sequence));
                }
            }
            // One that is not full was read from memory.
            if !tile.is_full() && self.shelf.read(tile).ok().as_ref() != Some(&hashes) {
                self.shelf.put(tile, &hashes)?;
            }
            at = begin.saturating_add(u64::from(Tile::FULL));
        }
        self.shelf.settle()?;
        Ok(None)
    }

    /// The hash of a record; none where the last checkpoint does not cover it yet. Blocks: reads files.
    ///
    /// # Errors
    /// When the tile that holds it cannot be read, or is damaged and cannot be made again.
    pub fn hash_of(&self, index: u64) -> io::Result<Option<Hash>> {
        // The last one of what a tile holds up to there.
        let place = Tile::of_leaf(index, index.saturating_add(1)).width;
        let before = usize::from(place).saturating_sub(1);
        Ok(self.neighbours(index)?.get(before).copied())
    }

    /// The hashes of all records in one tile with this one, up to the last checkpoint; none where that does not cover it
    /// yet. Blocks: reads files.
    ///
    /// # Errors
    /// As [`Publisher::hash_of`].
    pub(in crate::audit) fn neighbours(&self, index: u64) -> io::Result<Vec<Hash>> {
        match self.size() {
            size if index < size => self.view().read(Tile::of_leaf(index, size)),
            _ => Ok(Vec::new()),
        }
    }

    /// The hash of a record that this process wrote, until the last checkpoint covers it.
    pub(in crate::audit) fn written(&self, index: u64) -> Option<Hash> {
        self.device.leaves()?.hash_of(index)
    }

    fn covers(&self, tile: Tile) -> bool {
        let size = self.size();
        let leaves = u32::from(tile.level).saturating_mul(Tile::HEIGHT);
        let end = tile.index.saturating_mul(u64::from(Tile::FULL));
        let end = end.saturating_add(u64::from(tile.width));
        size.checked_shr(leaves).is_some_and(|there| end <= there)
    }

    fn view(&self) -> View<'_> {
        View {
            device: &self.device,
            shelf: &*self.shelf,
            edge: self.readable.load_full(),
        }
    }

    /// The proof that the tree of `old` records is the beginning of that of `new`, which the last checkpoint covers; empty
    /// where there is nothing to prove. Blocks: reads files.
    ///
    /// # Errors
    /// When the tiles cannot be read, or the sizes are not of this tree or not in order.
    pub fn consistency(&self, old: u64, new: u64) -> io::Result<Vec<Hash>> {
        match old == 0 || old == new {
            true => Ok(Vec::new()),
            false => consistency(&self.view(), old, new),
        }
    }

    /// The root of the first `old` records, where the proof that a checkpoint has grown from them verifies. Blocks: reads files.
    ///
    /// # Errors
    /// When the tiles cannot be read, or the proof that others are sent does not verify.
    pub(in crate::audit) fn grown_from(&self, old: u64, is: &Checkpoint) -> io::Result<Hash> {
        let was = root(&self.view(), old)?;
        let proof = self.consistency(old, is.size)?;
        let verified = verify_consistency(old, &was, is.size, &is.root, &proof);
        verified.map_err(|error| {
            let (size, wrong) = (is.size, io::ErrorKind::InvalidData);
            let message = format!(
                "the proof from {old} to {size} records is wrong: {error}: run `cambist audit verify`"
            );
            io::Error::new(wrong, message)
        })?;
        Ok(was)
    }

    /// Whether the log has grown from a checkpoint that it once published. `durable` is how many records it holds. Blocks:
    /// reads files.
    ///
    /// # Errors
    /// [`PublishError`]: what the checkpoint has against it.
    pub fn has_grown_from(&self, note: &[u8], durable: u64) -> Result<(), PublishError> {
        let checkpoint = signed(note, &self.verifier)?;
        if checkpoint.size > durable {
            return Err(PublishError::Behind {
                log: durable,
                checkpoint: checkpoint.size,
            });
        }
        let edge = self.readable.load_full();
        let there = match checkpoint.size.checked_sub(edge.frontier.size()) {
            // Published elsewhere, and not here: what was published here since is lost, and its records may be others.
            Some(1..) => beyond(&self.device, &edge, checkpoint.size)?,
            _ => root(&self.view(), checkpoint.size)?,
        };
        if there != checkpoint.root {
            return Err(PublishError::Forked(checkpoint.size));
        }
        Ok(())
    }

    /// The proof of a record, against the last checkpoint; none where that does not cover it yet. Blocks: reads files.
    ///
    /// # Errors
    /// When the tiles cannot be read.
    pub fn prove(&self, index: u64) -> io::Result<Option<Proof>> {
        let covers = |last: &Arc<Published>| index < last.checkpoint.size;
        let Some(last) = self.published().filter(covers) else {
            return Ok(None);
        };
        let path = inclusion(&self.view(), index, last.checkpoint.size)?;
        let note = last.note.clone();
        Ok(Some(Proof { index, path, note }))
    }
}
