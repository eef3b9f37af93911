//! Offline verification: whether a log is whole, unchanged, and the one that its checkpoints were signed for.

mod revocations;

pub use revocations::{Late, Revocations};

use super::checkpoint::Checkpoint;
use super::device::Segments;
use super::index;
use super::note::NoteKey;
use super::read::{ReadError, damaged, durable_size, records};
use super::record::{ActKind, PRUNE};
use super::shelf::Shelf;
use super::tree::{Frontier, Hash, Tile, leaf};
use serde::Deserialize;
use std::io;
use std::sync::Arc;

/// A log in which nothing was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Records it is of, those included that are gone.
    pub records: u64,
    /// The first record that is there: those before it were removed, and the log says so.
    pub begins: u64,
    /// The root over all of them.
    pub root: Hash,
    /// Its last checkpoint; records after it are not vouched for by any.
    pub checkpoint: Checkpoint,
    /// An issue that follows a revocation, which may have been taken back before: see [`Revocations::doubt`].
    pub doubt: Option<Late>,
    /// Revocations that no issue was held against: see [`Revocations::left_out`].
    pub left_out: u64,
}

/// What is wrong with a log: the first thing that was found.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// A record cannot be read, or is missing between others.
    #[error("record {sequence}: {error}")]
    Unreadable {
        /// The record that should come.
        sequence: u64,
        /// Why it does not.
        error: ReadError,
    },
    /// A record is not the one that the tree was built over.
    #[error("record {0} is not the one that was logged: its hash is not the tree's")]
    Changed(u64),
    /// The records are right, but a tile is not.
    #[error(
        "the records are those of the checkpoint, but the tile that holds the hash of record {0} is not"
    )]
    Tile(u64),
    /// The log begins too late.
    #[error(
        "the log begins at record {begins}, and no record under its checkpoint says that those before it were removed"
    )]
    Cut {
        /// The first record that is there.
        begins: u64,
    },
    /// The hash of a record that was removed is not there.
    #[error("record {0} was removed, and the tile that holds its hash cannot be read")]
    Gone(u64),
    /// The log ends too early.
    #[error(
        "the log ends after {records} records, and its checkpoint is of {checkpoint}: those from record {records} on are missing"
    )]
    Missing {
        /// Records there are.
        records: u64,
        /// Records that the checkpoint is of.
        checkpoint: u64,
    },
    /// The records up to a checkpoint are not those that it was signed for.
    #[error("the first {0} records are not those that a checkpoint was signed for")]
    Forked(u64),
    /// There is no checkpoint, or it is not to be believed.
    #[error("the log's checkpoint: {0}")]
    Checkpoint(String),
    /// The records are right, but searches through this index may pass some over.
    #[error(
        "the records are those of the checkpoint, but the index of the segment that begins at record {0} is not of them: remove it, and it is made again"
    )]
    Index(u64),
    /// The records are right, and show what no log must.
    #[error("{0}")]
    Late(Late),
    /// Tiles or checkpoint cannot be read.
    #[error("the log cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads a whole log and computes its tree anew. `earlier` are checkpoints that were seen before, by whoever kept them: the
/// log must have grown from each. `seen` is told of the number of records now and then.
///
/// A log whose first records were removed begins later: their hashes come from the tiles, and a record under the checkpoint
/// must say so.
///
/// That no issue follows a revocation that covers it is checked of all records that are there: see [`Revocations`].
///
/// Records after the last checkpoint are read, and their sequences checked; nothing signed says more of them.
///
/// # Errors
/// [`Finding`].
pub fn verify(
    segments: Arc<dyn Segments>,
    shelf: &dyn Shelf,
    key: &NoteKey,
    earlier: &[Checkpoint],
    mut seen: impl FnMut(u64),
) -> Result<Sound, Finding> {
    let checkpoint = last_checkpoint(shelf, key)?;
    let mut expected: Vec<&Checkpoint> = earlier.iter().chain([&checkpoint]).collect();
    expected.sort_by_key(|checkpoint| checkpoint.size);
    let mut expected = expected.into_iter().peekable();
    let mut frontier = Frontier::default();
    let mut row = Row::default();
    let mut changed = None;
    let mut revocations = Revocations::default();
    let begins = segments.segments()?.first().copied().unwrap_or(0);
    // As the records say.
    let mut removed = 0;
    let mut all = records(Arc::clone(&segments), begins).map_err(unreadable(begins))?;
    loop {
        let size = frontier.size();
        while let Some(due) = expected.next_if(|due| due.size == size) {
            if due.origin != key.name() || due.root != frontier.root() {
                return Err(changed.map_or(Finding::Forked(size), Finding::Changed));
            }
        }
        if size < begins.min(checkpoint.size) {
            let hash = row.at(shelf, size, checkpoint.size);
            frontier.push(hash.ok_or(Finding::Gone(size))?, |_, _| ());
            continue;
        }
        let Some(entry) = all.next() else { break };
        let entry = entry.map_err(unreadable(size))?;
        if size < checkpoint.size {
            removed = removed.max(removed_by(&entry.line));
        }
        revocations.read(&entry.line);
        let hash = leaf(&entry.line);
        // Which of the two is wrong, the record or the tile, is for the signed root to say.
        let held = row.at(shelf, size, checkpoint.size);
        if changed.is_none() && size < checkpoint.size && held.is_some_and(|held| held != hash) {
            changed = Some(size);
        }
        frontier.push(hash, |_, _| ());
        if size.is_multiple_of(u64::from(Tile::FULL)) {
            seen(size);
        }
    }
    if removed < begins {
        return Err(Finding::Cut { begins });
    }
    match (expected.next(), changed) {
        (Some(due), _) => Err(Finding::Missing {
            records: frontier.size(),
            checkpoint: due.size,
        }),
        (None, Some(record)) => Err(Finding::Tile(record)),
        (None, None) => {
            indexes(&*segments)?;
            revocations
                .late()
                .map_or(Ok(()), |late| Err(Finding::Late(late)))?;
            Ok(Sound {
                records: frontier.size(),
                begins,
                root: frontier.root(),
                checkpoint,
                doubt: revocations.doubt(),
                left_out: revocations.left_out(),
            })
        }
    }
}

/// Makes the index of each closed segment anew, and compares.
fn indexes(segments: &dyn Segments) -> Result<(), Finding> {
    let firsts = segments.segments()?;
    for (first, next) in firsts.iter().copied().zip(firsts.iter().copied().skip(1)) {
        let right = durable_size(segments, first, next).and_then(|size| {
            let right = index::is_right(segments, first, next, size);
            right.map_err(|damage| damaged(first, damage))
        });
        if !right.map_err(unreadable(first))? {
            return Err(Finding::Index(first));
        }
    }
    Ok(())
}

fn unreadable(sequence: u64) -> impl Fn(ReadError) -> Finding {
    move |error| match error {
        ReadError::Io(error) => Finding::Io(error),
        error => Finding::Unreadable { sequence, error },
    }
}

/// The first record that remains by what this one says.
fn removed_by(line: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Prune<'a> {
        kind: &'a str,
        action: &'a str,
        change: Remains,
    }
    #[derive(Deserialize)]
    struct Remains {
        first: u64,
    }
    let prune = serde_json::from_slice(line).ok();
    let prune = prune.filter(|prune: &Prune<'_>| {
        prune.kind == ActKind::Retention.name() && prune.action == PRUNE
    });
    prune.map_or(0, |prune| prune.change.first)
}

fn last_checkpoint(shelf: &dyn Shelf, key: &NoteKey) -> Result<Checkpoint, Finding> {
    let no = |why: &dyn ToString| Finding::Checkpoint(why.to_string());
    let note = shelf.checkpoint()?.ok_or_else(|| no(&"there is none"))?;
    let text = key.open(&note).map_err(|error| no(&error))?;
    text.parse().map_err(|error| no(&error))
}

/// The leaf hashes that the tree holds, a tile at a time.
#[derive(Debug, Default)]
struct Row {
    index: Option<u64>,
    hashes: Vec<Hash>,
}

impl Row {
    /// The hash of a leaf; none where its tile is not there. It could be made again, so that alone is no finding.
    fn at(&mut self, shelf: &dyn Shelf, leaf: u64, size: u64) -> Option<Hash> {
        let tile = Tile::of_leaf(leaf, size);
        if self.index != Some(tile.index) {
            self.hashes = shelf.read(tile).unwrap_or_default();
            self.index = Some(tile.index);
        }
        let place = usize::try_from(leaf.checked_rem(u64::from(Tile::FULL))?).ok()?;
        self.hashes.get(place).copied()
    }
}
