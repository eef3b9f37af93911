//! The publisher: reads what the log has made durable, grows the tree, and signs checkpoints of it.
//!
//! It follows the log and is no part of a commit. What a crash leaves behind, step by step:
//!
//! | crash after | tiles | checkpoint |
//! |---|---|---|
//! | record durable | the old ones | the old one |
//! | tile written | some beyond the checkpoint: they are what comes again | the old one |
//! | checkpoint written | all that it needs | the new one |
//!
//! So a checkpoint is only ever signed for records that are durable, and of any two checkpoints one tree is the beginning
//! of the other: at start the tree is taken up where the last checkpoint was, and a log that ends before that, or has
//! another root there, is not gone on with.

use super::checkpoint::Checkpoint;
use super::device::Segments;
use super::note::{InvalidNoteKey, NoteKey};
use super::proof::Proof;
use super::read::{Place, ReadError, records, records_at};
use super::shelf::Shelf;
use super::tree::{Frontier, Hash, Tile, inclusion, leaf, node};
use crate::keys::LogKey;
use arc_swap::ArcSwapOption;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Publishes one log.
#[derive(Debug)]
pub struct Publisher {
    device: Arc<dyn Segments>,
    shelf: Arc<dyn Shelf>,
    key: LogKey,
    verifier: NoteKey,
    published: ArcSwapOption<Published>,
    edge: Mutex<Edge>,
}

/// A checkpoint and the note that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: String,
}

/// Why a log is not published, or not gone on with.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The origin cannot name a key.
    #[error("the log's origin cannot name its key: {0}")]
    Origin(#[from] InvalidNoteKey),
    /// Tiles or checkpoint cannot be read or written.
    #[error("the log's tree cannot be kept: {0}")]
    Io(#[from] io::Error),
    /// The records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The last checkpoint is not this log's.
    #[error("the checkpoint in the log's folder is not signed by this log's key: {0}")]
    Foreign(&'static str),
    /// There are tiles, and nothing says what they are of.
    #[error(
        "the log's checkpoint is gone, and its tiles are there: put it back, or move the tiles away as well"
    )]
    NoCheckpoint,
    /// The log ends before its last checkpoint.
    #[error(
        "the log ends at {log} records, and its last checkpoint was of {checkpoint}: put the missing records back, or move the folder away and accept the rollback"
    )]
    Behind {
        /// Records there are.
        log: u64,
        /// Records that the checkpoint was of.
        checkpoint: u64,
    },
    /// The records are not those that the last checkpoint was of.
    #[error(
        "the first {0} records are not those of the log's last checkpoint: run `cambist audit verify`"
    )]
    Forked(u64),
    /// The checkpoint could not be signed.
    #[error("the checkpoint could not be signed")]
    Signing,
}

impl Publisher {
    /// Takes the tree up where the last checkpoint left it. `durable` is how many records the log holds.
    ///
    /// # Errors
    /// [`PublishError`]; a log that is behind its checkpoint, or has another tree, must not be gone on with.
    pub fn open(
        device: Arc<dyn Segments>,
        shelf: Arc<dyn Shelf>,
        key: LogKey,
        origin: &str,
        durable: u64,
    ) -> Result<Self, PublishError> {
        let verifier = NoteKey::new(origin, key.public())?;
        let published = read_checkpoint(&*shelf, &verifier)?;
        shelf.put_key(&verifier.to_string())?;
        let edge = match &published {
            None if shelf.holds_tiles()? => return Err(PublishError::NoCheckpoint),
            None => Edge::default(),
            Some(Published { checkpoint, .. }) if checkpoint.size > durable => {
                return Err(PublishError::Behind {
                    log: durable,
                    checkpoint: checkpoint.size,
                });
            }
            Some(Published { checkpoint, .. }) => take_up(&device, &*shelf, checkpoint)?,
        };
        let is_new = published.is_none();
        let publisher = Self {
            device,
            shelf,
            key,
            verifier,
            published: ArcSwapOption::from_pointee(published),
            edge: Mutex::new(edge),
        };
        if is_new {
            // Before the first tile, so that tiles without a checkpoint are never what a crash leaves.
            publisher.publish(&Frontier::default())?;
        }
        Ok(publisher)
    }

    /// The key that checkpoints are verified with.
    #[must_use]
    pub fn verifier(&self) -> &NoteKey {
        &self.verifier
    }

    /// The last checkpoint.
    #[must_use]
    pub fn published(&self) -> Option<Arc<Published>> {
        self.published.load_full()
    }

    /// The tiles.
    #[must_use]
    pub fn shelf(&self) -> &Arc<dyn Shelf> {
        &self.shelf
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
        let path = inclusion(&*self.shelf, index, last.checkpoint.size)?;
        let note = last.note.clone();
        Ok(Some(Proof { index, path, note }))
    }

    /// Grows the tree to `durable` records, which the log has acknowledged, and publishes a checkpoint of it. Blocks: reads
    /// and writes files. Nothing happens where there is nothing new.
    ///
    /// # Errors
    /// [`PublishError`]; the last checkpoint stands, and the next call tries again.
    pub fn advance(&self, durable: u64) -> Result<(), PublishError> {
        let mut edge = self.edge.lock().unwrap_or_else(PoisonError::into_inner);
        let before = edge.frontier.size();
        if before >= durable {
            return Ok(());
        }
        // What fails half-way is begun again from where it stood.
        let mut next = edge.clone();
        let mut written = Vec::new();
        let mut put = |tile, hashes: &[Hash]| {
            written.push(tile);
            self.shelf.put(tile, hashes)
        };
        // Where the last call stood; not where it failed, in case the place itself is what is wrong.
        let mut all = records_at(Arc::clone(&self.device), before, edge.place.take())?;
        while next.frontier.size() < durable {
            let Some(entry) = all.next() else { break };
            let entry = entry?;
            for (tile, hashes) in next.push(leaf(&entry.line)) {
                put(tile, &hashes)?;
            }
        }
        for (tile, hashes) in next.partial() {
            if !Tile::last_of(before).any(|had| had == tile) {
                put(tile, hashes)?;
            }
        }
        self.shelf.settle()?;
        self.publish(&next.frontier)?;
        next.place = all.place();
        *edge = next;
        // Only a full tile serves for its narrower forms: each checkpoint that somebody may have needs its own until then.
        // One that stays does no harm.
        for tile in written.into_iter().filter(|tile| tile.is_full()) {
            let _ = self.shelf.prune(tile);
        }
        Ok(())
    }

    fn publish(&self, frontier: &Frontier) -> Result<(), PublishError> {
        let checkpoint = Checkpoint {
            origin: self.verifier.name().to_owned(),
            size: frontier.size(),
            root: frontier.root(),
        };
        let text = checkpoint.to_string();
        let signature = self.key.sign(&text).map_err(|_| PublishError::Signing)?;
        let note = self.verifier.note(&text, &signature);
        // Checked by our own verifier before anybody else is shown it.
        self.verifier
            .open(note.as_bytes())
            .map_err(|_| PublishError::Signing)?;
        self.shelf.put_checkpoint(note.as_bytes())?;
        let published = Published { checkpoint, note };
        self.published.store(Some(Arc::new(published)));
        Ok(())
    }
}

/// The last checkpoint on a shelf, if the key signed it.
fn read_checkpoint(
    shelf: &dyn Shelf,
    verifier: &NoteKey,
) -> Result<Option<Published>, PublishError> {
    let Some(note) = shelf.checkpoint()? else {
        return Ok(None);
    };
    let foreign = PublishError::Foreign;
    let text = verifier.open(&note).map_err(|_| foreign("its signature"))?;
    let checkpoint: Checkpoint = text.parse().map_err(|_| foreign("its text"))?;
    if checkpoint.origin != verifier.name() {
        return Err(foreign("its origin"));
    }
    let note = String::from_utf8(note).map_err(|_| foreign("its text"))?;
    Ok(Some(Published { checkpoint, note }))
}

/// The tree's edge at a checkpoint: from the tiles, or, where they are damaged, from all the records.
fn take_up(
    device: &Arc<dyn Segments>,
    shelf: &dyn Shelf,
    checkpoint: &Checkpoint,
) -> Result<Edge, PublishError> {
    let is_right = |edge: &Edge| edge.frontier.root() == checkpoint.root;
    let edge = Edge::from_tiles(shelf, checkpoint.size).ok();
    if let Some(edge) = edge.filter(is_right)
        && ends_alike(device, shelf, checkpoint.size)?
    {
        return Ok(edge);
    }
    tracing::warn!("the log's tiles are not those of its records: the tree is computed anew");
    // Looked at as a whole before anything is written: if it is the records that were changed, the tiles say which.
    let edge = regrow(device, shelf, checkpoint.size, |_, _| Ok(()))?;
    if !is_right(&edge) {
        return Err(PublishError::Forked(checkpoint.size));
    }
    let edge = regrow(device, shelf, checkpoint.size, |tile, hashes| {
        shelf.put(tile, hashes)
    })?;
    shelf.settle()?;
    Ok(edge)
}

/// The first record there is.
fn begin(device: &Arc<dyn Segments>) -> io::Result<u64> {
    Ok(device.segments()?.first().copied().unwrap_or(0))
}

/// The tree over the first `size` records; `put` is given all of its tiles.
fn regrow(
    device: &Arc<dyn Segments>,
    shelf: &dyn Shelf,
    size: u64,
    put: impl Fn(Tile, &[Hash]) -> io::Result<()>,
) -> Result<Edge, PublishError> {
    let mut edge = Edge::default();
    let begins = begin(device)?.min(size);
    let mut all = records(Arc::clone(device), begins)?;
    while edge.frontier.size() < size {
        let at = edge.frontier.size();
        let mut leaves = Vec::new();
        if at < begins {
            // What was removed has left its hashes.
            let tile = Tile::of_leaf(at, size);
            let here = begins.saturating_sub(at).min(u64::from(tile.width));
            let here = usize::try_from(here).unwrap_or(usize::MAX);
            leaves.extend(shelf.read(tile)?.into_iter().take(here));
        } else {
            let Some(entry) = all.next() else { break };
            leaves.push(leaf(&entry?.line));
        }
        for (tile, hashes) in leaves.into_iter().flat_map(|leaf| edge.push(leaf)) {
            put(tile, &hashes)?;
        }
    }
    for (tile, hashes) in edge.partial() {
        put(tile, hashes)?;
    }
    Ok(edge)
}

/// Whether the last records that a checkpoint is of are those of its last tile. That is where another log, or an older copy,
/// differs; the rest is [`super::verify()`]'s, since it takes as long as the log is.
fn ends_alike(
    device: &Arc<dyn Segments>,
    shelf: &dyn Shelf,
    size: u64,
) -> Result<bool, PublishError> {
    let Some(last) = Tile::last_of(size).next() else {
        return Ok(true);
    };
    let tile = last.index.saturating_mul(u64::from(Tile::FULL));
    let begin = tile.max(begin(device)?);
    let gone = usize::try_from(begin.saturating_sub(tile)).unwrap_or(usize::MAX);
    let hashes = shelf.read(last)?;
    let mut all = records(Arc::clone(device), begin)?;
    for hash in hashes.into_iter().skip(gone) {
        let Some(entry) = all.next() else {
            return Ok(false);
        };
        if leaf(&entry?.line) != hash {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A growing tree's right edge, with the hashes of the tiles that are not full yet.
#[derive(Clone, Debug)]
struct Edge {
    frontier: Frontier,
    /// By level.
    rows: [Vec<Hash>; Tile::LEVELS as usize],
    /// Where the records after it begin, if that is known.
    place: Option<Place>,
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
    fn push(&mut self, leaf: Hash) -> Vec<(Tile, Vec<Hash>)> {
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
    fn partial(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        let tiles = Tile::last_of(self.frontier.size()).zip(&self.rows);
        tiles
            .filter(|(tile, _)| !tile.is_full())
            .map(|(tile, row)| (tile, row.as_slice()))
    }

    /// Reads the edge of a tree of `size` back.
    fn from_tiles(shelf: &dyn Shelf, size: u64) -> io::Result<Self> {
        let mut edge = Self::default();
        let mut roots = Vec::new();
        for (tile, row) in Tile::last_of(size).zip(&mut edge.rows) {
            if tile.is_full() {
                continue;
            }
            *row = shelf.read(tile)?;
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
fn complete(row: &[Hash]) -> io::Result<Hash> {
    match row {
        [] => Err(io::ErrorKind::InvalidData.into()),
        [hash] => Ok(*hash),
        _ => {
            let (left, right) = row.split_at(row.len().checked_div(2).unwrap_or_default());
            Ok(node(&complete(left)?, &complete(right)?))
        }
    }
}
