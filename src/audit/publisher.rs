//! The publisher: reads what the log has made durable, grows the tree, and signs checkpoints of it.
//!
//! It follows the log and is no part of a commit. The tree is grown over what the writer made durable (`leaves.rs`); only what an
//! earlier process wrote is read back. What a crash leaves behind, step by step:
//!
//! | crash after | tiles | checkpoint |
//! |---|---|---|
//! | record durable | the old ones | the old one |
//! | tile written | some beyond the checkpoint, perhaps not whole: they come again, or are swept away before a checkpoint is of them | the old one |
//! | checkpoint written | all that it needs | the new one |
//!
//! So a checkpoint is only ever signed for records that are durable, and of any two checkpoints one tree is the beginning
//! of the other: at start the tree is taken up where the last checkpoint was, and a log that ends before that, or has
//! another root there, is not gone on with.
//!
//! A witness's cosignature comes later, or never. It is put under the checkpoint that it is of while that is the last one; a
//! crash before leaves the checkpoint without it, and nothing ever brings an earlier checkpoint back.

mod reading;

use super::checkpoint::Checkpoint;
use super::device::Segments;
use super::edge::Edge;
use super::note::{InvalidNoteKey, NoteKey};
use super::read::{ReadError, records_at};
use super::shelf::Shelf;
use super::take_up::{begin, take_up};
use super::tree::{Frontier, Hash, Tile, leaf};
use crate::keys::LogKey;
use arc_swap::ArcSwap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Publishes one log.
#[derive(Debug)]
pub struct Publisher {
    device: Arc<dyn Segments>,
    shelf: Arc<dyn Shelf>,
    key: LogKey,
    verifier: NoteKey,
    published: watch::Sender<Option<Arc<Published>>>,
    /// Of the tree that is being grown; whoever publishes has it.
    edge: Mutex<Edge>,
    /// Of the tree that is read.
    readable: ArcSwap<Edge>,
}

/// A checkpoint and the note that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The note that the log signed, and the witnesses that have cosigned it.
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
    /// A checkpoint is not this log's.
    #[error("the checkpoint is not one of this log by its key: {0}")]
    Foreign(&'static str),
    /// What is in the checkpoint's file is not.
    #[error(
        "the log's checkpoint is not one of this log by its key: {0}; put the file `checkpoint` back as it was: each copy has its text"
    )]
    Spoiled(&'static str),
    /// There are tiles, and nothing says what they are of.
    #[error(
        "the log's checkpoint is gone, and its tiles are there: put it back, or move the tiles away as well"
    )]
    NoCheckpoint,
    /// The same of a log whose first records were removed: their hashes are in those tiles alone.
    #[error(
        "the log begins at record {0}, and its checkpoint is gone: put it back; the tiles have the hashes of the records before, and nothing else has"
    )]
    Unsigned(u64),
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
    /// The log's first records are gone, and not because they were old.
    #[error(
        "the log begins at record {0}, and no record says that those before it were removed: put the segments before it back, or move the folder away and accept the rollback"
    )]
    Cut(u64),
    /// The log's first records were removed, and so was what is left of them.
    #[error(
        "the log begins at record {0}, and its checkpoint and tiles, which have the hashes of those before it, are gone: put them back, or move the folder away and accept the rollback"
    )]
    Treeless(u64),
    /// The key that the log's checkpoints were signed with is not there.
    #[error(
        "the key of the log's checkpoints is gone: put {} back, or move checkpoint and tile away from beside it",
        .0.display()
    )]
    Keyless(PathBuf),
    /// The checkpoint could not be signed.
    #[error("the checkpoint could not be signed")]
    Signing,
}

impl PublishError {
    /// Whether the log is not what was published of it, as far as that is there; otherwise that is not known.
    #[must_use]
    pub const fn contradicts(&self) -> bool {
        match self {
            Self::Origin(_) | Self::Io(_) | Self::Read(_) | Self::Signing => false,
            Self::Foreign(_)
            | Self::Spoiled(_)
            | Self::Unsigned(_)
            | Self::NoCheckpoint
            | Self::Behind { .. }
            | Self::Forked(_)
            | Self::Cut(_)
            | Self::Treeless(_)
            | Self::Keyless(_) => true,
        }
    }
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
            None => match (begin(&device)?, shelf.holds_tiles()?) {
                (0, false) => Edge::default(),
                (0, true) => return Err(PublishError::NoCheckpoint),
                (begins, false) => return Err(PublishError::Treeless(begins)),
                (begins, true) => return Err(PublishError::Unsigned(begins)),
            },
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
            published: watch::Sender::new(published.map(Arc::new)),
            readable: ArcSwap::from_pointee(edge.clone()),
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
        self.published.borrow().clone()
    }

    /// Tells of each checkpoint that is published.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.published.subscribe()
    }

    /// Puts a witness's cosignature under a checkpoint, in the place of an earlier one by the same key. Nothing happens, and
    /// the answer is no, where that checkpoint is no longer the last one. Blocks: writes a file.
    ///
    /// # Errors
    /// When it is none of this checkpoint by this key, or cannot be kept.
    pub fn cosigned(
        &self,
        of: &Checkpoint,
        by: &NoteKey,
        line: &str,
    ) -> Result<bool, PublishError> {
        // Nothing is published meanwhile.
        let _edge = self.edge.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = self.published().filter(|last| last.checkpoint == *of) else {
            return Ok(false);
        };
        let note = by.added(&last.note, line);
        for key in [&self.verifier, by] {
            let opened = key.open(note.as_bytes());
            opened.map_err(|_| PublishError::Foreign("a cosignature"))?;
        }
        self.shelf.put_checkpoint(note.as_bytes())?;
        let checkpoint = last.checkpoint.clone();
        self.published
            .send_replace(Some(Arc::new(Published { checkpoint, note })));
        Ok(true)
    }

    /// Grows the tree to `durable` records, which the log has acknowledged, and publishes a checkpoint of it. Blocks: reads
    /// and writes files. Nothing happens where there is nothing new.
    ///
    /// # Errors
    /// [`PublishError`], also where the log ends before `durable`; the last checkpoint stands, and the next call tries again.
    pub fn advance(&self, durable: u64) -> Result<(), PublishError> {
        let mut edge = self.edge.lock().unwrap_or_else(PoisonError::into_inner);
        let before = edge.frontier.size();
        if before >= durable {
            return Ok(());
        }
        // Where the last call stood; not where it failed, in case the place itself is what is wrong.
        let place = edge.place.take();
        // What fails half-way is begun again from where it stood.
        let mut next = edge.clone();
        let mut written = Vec::new();
        let mut put = |tile: Tile, hashes: &[Hash]| {
            written.push(tile);
            // Between the two checkpoints there was none: what is there of that is of a call that a crash ended.
            let is_same = |had: &Tile| (had.level, had.index) == (tile.level, tile.index);
            let had = Tile::last_of(before).find(is_same);
            self.shelf.sweep(tile, had.map_or(0, |had| had.width))?;
            self.shelf.put(tile, hashes)
        };
        let leaves = self.device.leaves();
        let kept = leaves.map(|leaves| leaves.up_to(durable, before));
        let kept = kept.unwrap_or_default();
        let first = durable.saturating_sub(u64::try_from(kept.len()).unwrap_or(u64::MAX));
        if first > before {
            let mut all = records_at(Arc::clone(&self.device), before, place)?;
            while next.frontier.size() < first {
                // What was acknowledged and is not there is lost, and no checkpoint says otherwise.
                let missing = ReadError::Missing(next.frontier.size());
                let entry = all.next().ok_or(missing)??;
                for (tile, hashes) in next.push(leaf(&entry.line)) {
                    put(tile, &hashes)?;
                }
            }
            next.place = all.place();
        }
        for hash in kept {
            for (tile, hashes) in next.push(hash) {
                put(tile, &hashes)?;
            }
        }
        for (tile, hashes) in next.partial() {
            if !Tile::last_of(before).any(|had| had == tile) {
                put(tile, hashes)?;
            }
        }
        self.shelf.settle()?;
        self.readable.store(Arc::new(next.clone()));
        self.publish(&next.frontier)?;
        *edge = next;
        if let Some(leaves) = leaves {
            leaves.forget(durable);
        }
        // Only a full tile serves for its narrower forms: each checkpoint that somebody may have needs its own until then.
        // One that stays does no harm.
        for tile in written.into_iter().filter(|tile| tile.is_full()) {
            let _ = self.shelf.prune(tile);
        }
        Ok(())
    }

    /// The checkpoint of `durable` records that [`Publisher::advance`] could not publish, for somebody else to keep; none where
    /// not all of them are known but from the disk, which is what fails.
    #[must_use]
    pub fn unkept(&self, durable: u64) -> Option<Arc<Published>> {
        let edge = self.edge.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = edge.clone();
        for hash in self.device.leaves()?.up_to(durable, next.frontier.size()) {
            next.push(hash);
        }
        let frontier = &next.frontier;
        (frontier.size() == durable).then(|| self.sign(frontier).ok().map(Arc::new))?
    }

    fn publish(&self, frontier: &Frontier) -> Result<(), PublishError> {
        let published = self.sign(frontier)?;
        self.shelf.put_checkpoint(published.note.as_bytes())?;
        self.published.send_replace(Some(Arc::new(published)));
        Ok(())
    }

    fn sign(&self, frontier: &Frontier) -> Result<Published, PublishError> {
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
        Ok(Published { checkpoint, note })
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
    let checkpoint = signed(&note, verifier).map_err(|error| match error {
        PublishError::Foreign(what) => PublishError::Spoiled(what),
        error => error,
    })?;
    let note = String::from_utf8(note).map_err(|_| PublishError::Spoiled("its text"))?;
    Ok(Some(Published { checkpoint, note }))
}

/// What a note says, if it is a checkpoint that the key signed.
fn signed(note: &[u8], verifier: &NoteKey) -> Result<Checkpoint, PublishError> {
    let foreign = PublishError::Foreign;
    let text = verifier.open(note).map_err(|_| foreign("its signature"))?;
    let checkpoint: Checkpoint = text.parse().map_err(|_| foreign("its text"))?;
    if checkpoint.origin != verifier.name() {
        return Err(foreign("its origin"));
    }
    Ok(checkpoint)
}
