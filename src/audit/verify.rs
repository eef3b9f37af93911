//! Offline verification: whether a log is whole, unchanged, and the one that its checkpoints were signed for.
//!
//! The tree is grown anew over the records, and all that is beside them is held against it:
//!
//! | what | is held against |
//! |---|---|
//! | records up to the last checkpoint | its root, and the roots of checkpoints that were seen before |
//! | records after it | nothing: that they follow one another is all that can be said of them |
//! | tiles that a checkpoint is of, of every level and width | the tree |
//! | segments' headers | the records before them, the key's name, and what stands in the header before |
//! | what only a header says: when its segment was begun; which log it is, where no other segment says it; in the first one that is read, what was before | nothing but its form: clocks are set, records wait before they are written, and none says it. All that goes by when a segment was begun is when another follows it |
//! | indexes of closed segments | their segments |
//! | the file `acknowledged`, where there is one | which log it is, and how many records it holds |
//!
//! What is missing and can be made again is no finding: a tile, an index. Neither is what no checkpoint is of and nobody
//! believes: tiles wider than the last checkpoint, which a crash leaves behind and which come again; an index that does not
//! say that it is its segment's; a compressed segment beside the plain one; bytes of a closed segment behind the size that
//! the next one's header tells.

mod finding;
mod headers;
mod revocations;
mod tiles;
mod walk;

pub use finding::Finding;
pub use revocations::{Late, Revocations};

use super::acknowledged::{Acknowledged, Lack, lack};
use super::checkpoint::Checkpoint;
use super::device::Segments;
use super::filter::Filter;
use super::index;
use super::note::NoteKey;
use super::read::{ReadError, damaged};
use super::record::{ActKind, Head, PRUNE};
use super::search::{Order, search};
use super::seen::Field;
use super::shelf::Shelf;
use super::tree::{Hash, Tile, leaf};
use crate::store::LogId;
use headers::Headers;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;
use std::vec::IntoIter;
use tiles::Growing;
use walk::{Step, Walk};

/// A log in which nothing was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Records it is of, those included that are gone.
    pub records: u64,
    /// The first record that is there: those before it were removed, and the log says so.
    pub begins: u64,
    /// The first record that was read: of those before it there are the hashes, in the tiles.
    pub read_from: u64,
    /// Its last checkpoint; records after it are not vouched for by any.
    pub checkpoint: Checkpoint,
    /// Bytes after the last whole record: of a write that is under way, or was cut off. The next start drops them.
    pub torn: u64,
    /// An issue that follows a revocation, which may have been taken back before: see [`Revocations::doubt`].
    pub doubt: Option<Late>,
    /// Revocations that no issue was held against: see [`Revocations::left_out`].
    pub left_out: u64,
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Records whose hashes are in the tree.
    pub records: u64,
    /// Records that the last checkpoint is of; there may be a few more.
    pub of: u64,
}

/// Reads a whole log and computes its tree anew. `earlier` are checkpoints that were seen before, by whoever kept them: the
/// log must have grown from each. `seen` is told now and then how far it is.
///
/// A log whose first records were removed begins later: their hashes come from the tiles, and a record under the checkpoint
/// must say so.
///
/// That no issue follows a revocation that covers it is checked of all records that are read: see [`Revocations`].
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
    seen: impl FnMut(Reached),
) -> Result<Sound, Finding> {
    Verification::new(segments, shelf, key, earlier, None)?.run(seen)
}

/// As [`verify()`], of what came after a checkpoint that was verified before: no record that it is of is read again. Their
/// hashes come from the tiles, all of which are compared, and must have its root. Segments that begin before it are not
/// looked at beyond the records that come after it, nor are their indexes.
///
/// # Errors
/// [`Finding`].
pub fn verify_from(
    segments: Arc<dyn Segments>,
    shelf: &dyn Shelf,
    key: &NoteKey,
    from: &Checkpoint,
    earlier: &[Checkpoint],
    seen: impl FnMut(Reached),
) -> Result<Sound, Finding> {
    Verification::new(segments, shelf, key, earlier, Some(from))?.run(seen)
}

/// One look at a log.
struct Verification<'a> {
    segments: Arc<dyn Segments>,
    key: &'a NoteKey,
    checkpoint: Checkpoint,
    /// Checkpoints that the tree has not reached yet, the smallest first.
    due: Peekable<IntoIter<Checkpoint>>,
    tree: Growing<'a>,
    headers: Headers<'a>,
    /// The first record there is, and the first one that is read.
    begins: u64,
    read_from: u64,
    /// The first record that remains, as the records say.
    removed: u64,
    /// The first segment whose index is not its.
    index: Option<u64>,
    torn: u64,
    revocations: Revocations,
    /// What is said of how much was acknowledged, from before the records were read: a log that is written to may hold more by
    /// the time that they are, and no less.
    acknowledged: Option<Vec<u8>>,
    /// Which log it is, by the last segment so far.
    log: Option<LogId>,
}

impl<'a> Verification<'a> {
    fn new(
        segments: Arc<dyn Segments>,
        shelf: &'a dyn Shelf,
        key: &'a NoteKey,
        earlier: &[Checkpoint],
        from: Option<&Checkpoint>,
    ) -> Result<Self, Finding> {
        let acknowledged = segments.acknowledged()?;
        let checkpoint = last_checkpoint(shelf, key)?;
        let mut due: Vec<Checkpoint> = earlier.iter().chain(from).cloned().collect();
        due.push(checkpoint.clone());
        due.sort_by_key(|checkpoint| checkpoint.size);
        let begins = segments.segments()?.first().copied().unwrap_or(0);
        // There are no tiles of what the last checkpoint is not of.
        let from = from.map_or(0, |from| from.size.min(checkpoint.size));
        Ok(Self {
            segments,
            key,
            due: due.into_iter().peekable(),
            tree: Growing::new(shelf, checkpoint.size),
            headers: Headers::new(key.name()),
            begins,
            read_from: begins.max(from),
            removed: 0,
            index: None,
            torn: 0,
            revocations: Revocations::default(),
            acknowledged,
            log: None,
            checkpoint,
        })
    }

    fn run(mut self, mut seen: impl FnMut(Reached)) -> Result<Sound, Finding> {
        let mut walk = Walk::new(
            Arc::clone(&self.segments),
            self.read_from,
            self.checkpoint.size,
        )?;
        self.meet_checkpoints()?;
        while self.tree.size() < self.read_from.min(self.checkpoint.size) {
            let size = self.tree.size();
            let hash = self.tree.hash_of(size).ok_or(Finding::Gone(size))?;
            self.grow(hash, &mut seen)?;
        }
        while let Some(step) = walk.next().map_err(unreadable(self.tree.size()))? {
            match step {
                Step::Begin(begun) => {
                    self.log = Some(begun.header.log);
                    self.headers.begin(&begun);
                }
                Step::Record(record) => {
                    self.headers.record(&record);
                    self.revocations.read(&record.line);
                    let tells = record.head.as_ref().is_some_and(Head::tells_of_removal);
                    if tells && self.is_vouched_for() {
                        self.removed = self.removed.max(removed_by(&record.line));
                    }
                    self.grow(leaf(&record.line), &mut seen)?;
                }
                Step::Closed(closed) => {
                    self.headers.closed(&closed);
                    if closed.whole {
                        self.look_at_index(closed.first, closed.next, closed.size)?;
                    }
                }
                Step::Torn(bytes) => self.torn = bytes,
            }
        }
        if walk.reached() < self.read_from {
            return Err(Finding::Missing {
                records: walk.reached(),
                checkpoint: self.read_from,
            });
        }
        self.end()
    }

    /// Whether the record that comes next is under the checkpoint.
    fn is_vouched_for(&self) -> bool {
        self.tree.size() < self.checkpoint.size
    }

    fn grow(&mut self, hash: Hash, seen: &mut impl FnMut(Reached)) -> Result<(), Finding> {
        let records = self.tree.size();
        if records.is_multiple_of(u64::from(Tile::FULL)) {
            let of = self.checkpoint.size;
            seen(Reached { records, of });
        }
        self.tree.push(hash)?;
        self.meet_checkpoints()
    }

    /// The tree has as many records as some checkpoints are of: it must be theirs.
    fn meet_checkpoints(&mut self) -> Result<(), Finding> {
        let size = self.tree.size();
        while let Some(due) = self.due.next_if(|due| due.size == size) {
            if due.origin != self.key.name() || due.root != self.tree.root() {
                // Which of the two is wrong, a record or its tile, is for the signed root to say.
                let changed = self.tree.changed();
                return Err(changed.map_or(Finding::Forked(size), Finding::Changed));
            }
        }
        Ok(())
    }

    /// Makes the index of a closed segment anew, and compares.
    fn look_at_index(&mut self, first: u64, next: u64, size: u64) -> Result<(), Finding> {
        if self.index.is_none() {
            let right = index::is_right(&*self.segments, first, next, size);
            let right = right.map_err(|damage| unreadable(first)(damaged(first, damage)))?;
            self.index = (!right).then_some(first);
        }
        Ok(())
    }

    /// All was read. What is beside the records comes last: where those are not right, it need not be either.
    fn end(mut self) -> Result<Sound, Finding> {
        if self.removed < self.begins && !self.is_removal_said_before()? {
            let begins = self.begins;
            return Err(Finding::Cut { begins });
        }
        if let Some(due) = self.due.next() {
            return Err(Finding::Missing {
                records: self.tree.size(),
                checkpoint: due.size,
            });
        }
        if let Some(lack) = self.lack()? {
            return Err(Finding::Lacks(lack));
        }
        if let Some(tile) = self.tree.wrong() {
            return Err(Finding::Tile(tile));
        }
        if let Some((first, what)) = self.headers.end() {
            return Err(Finding::Header { first, what });
        }
        match (self.revocations.late(), self.index) {
            (Some(late), _) => Err(Finding::Late(late)),
            (None, Some(first)) => Err(Finding::Index(first)),
            (None, None) => Ok(Sound {
                records: self.tree.size(),
                begins: self.begins,
                read_from: self.read_from,
                checkpoint: self.checkpoint,
                torn: self.torn,
                doubt: self.revocations.doubt(),
                left_out: self.revocations.left_out(),
            }),
        }
    }

    /// What is known to be missing, as a start finds it.
    fn lack(&self) -> Result<Option<Lack>, Finding> {
        let records = self.tree.size();
        let there = self.log.map(|log| Acknowledged { log, records });
        let lacks = |kept: Option<&[u8]>| kept.and_then(|kept| lack(kept, there));
        if lacks(self.acknowledged.as_deref()).is_none() {
            return Ok(None);
        }
        // It may have been put back, or answered for, meanwhile.
        Ok(lacks(self.segments.acknowledged()?.as_deref()))
    }

    /// Whether a record that was not read, and is the tree's, says what was removed.
    fn is_removal_said_before(&mut self) -> Result<bool, Finding> {
        let unread: Range<u64> = self.begins..self.read_from.min(self.checkpoint.size);
        if unread.is_empty() {
            return Ok(false);
        }
        let prunes = Filter::default().within(Field::Action, BTreeSet::from([PRUNE.to_owned()]));
        let segments = Arc::clone(&self.segments);
        let found = search(segments, prunes, unread, Order::NewestFirst);
        for entry in found.map_err(unreadable(self.begins))?.flatten() {
            let is_trees = self.tree.hash_of(entry.sequence) == Some(leaf(&entry.line));
            if is_trees && removed_by(&entry.line) >= self.begins {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn unreadable(sequence: u64) -> impl Fn(ReadError) -> Finding {
    move |error| match error {
        ReadError::Io(error) => Finding::Io(error),
        error => Finding::Unreadable { sequence, error },
    }
}

/// The first record that remains by what this one says.
pub(super) fn removed_by(line: &[u8]) -> u64 {
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

#[cfg(test)]
mod tests;
