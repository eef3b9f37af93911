//! Closed segments: whether all of them are there, one behind the other, each as long as the one after it says.
//!
//! Nobody writes to them any more but who compresses and removes them. What somebody else takes away is noticed though nothing
//! reads it. A look asks the file system what there is, and opens only what is not the file that the look before has seen.
//! What the broker does itself meanwhile is no loss:
//!
//! | it | a look |
//! |---|---|
//! | compresses a segment | asks for the plain form first: that goes last |
//! | removes an old one | which is said before it goes, and asked after it is missed |
//! | does either while the folder is listed, so that a name is left out | asks for the one that the next header names |

use super::archive::Form;
use super::device::Segments;
use super::disk::{self, DiskReader};
use super::segment::{Damage, Headers, Lines, NOT_OWN};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What of a log's records is lost.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The folder cannot be listed.
    #[error("the log's folder cannot be read: {0}")]
    Folder(io::Error),
    /// The process or the host has no more of what a look takes: nothing is known of them, lost or not.
    #[error("the log's segments cannot be looked at: {0}")]
    Unseen(io::Error),
    /// A segment is there, and cannot be read.
    #[error("{} cannot be read: {error}", disk::name(*.first))]
    Unread {
        /// Its first record.
        first: u64,
        /// What keeps it from being read.
        error: io::Error,
    },
    /// A segment is gone.
    #[error("{} is gone, and so is its compressed form: put it back", disk::name(*.0))]
    Gone(u64),
    /// What was added is not held to any checkpoint.
    #[error("no checkpoint of the log could be published for a minute, since {0}")]
    Unsigned(String),
    /// A segment is not what it was.
    #[error("{} is not as it was closed, since {why}: put it back as it was", disk::name(*.first))]
    Changed {
        /// Its first record.
        first: u64,
        /// What shows it.
        why: String,
    },
}

impl Lost {
    fn changed(first: u64, why: impl ToString) -> Self {
        let why = why.to_string();
        Self::Changed { first, why }
    }

    fn unread(first: u64, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone(first),
            _ => Self::of(error, |error| match error.raw_os_error() {
                Some(_) => Self::Unread { first, error },
                None => Self::changed(first, error),
            }),
        }
    }

    fn of(error: io::Error, loss: impl FnOnce(io::Error) -> Self) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Self::Unseen(error),
            _ => loss(error),
        }
    }
}

/// Checks that the segment of the record `next` follows the one of `first`, and that this holds what it held then: as their headers
/// say, which are the broker's. Reads no more than those.
///
/// # Errors
/// [`Lost`].
pub(super) fn joins(
    segments: &dyn Segments,
    headers: &Headers,
    first: u64,
    next: u64,
) -> Result<(), Lost> {
    let open = |of| {
        let unread = |error| Lost::unread(of, error);
        let mut input = segments.read(of).map_err(unread)?;
        let lines = Lines::open(input.by_ref(), of);
        let header = lines
            .map(|lines| lines.header)
            .map_err(|error| match error {
                Damage::Io(error) => unread(error),
                damage @ Damage::At { .. } => Lost::changed(of, damage),
            })?;
        match headers.own(&header).map_err(unread)? {
            true => Ok((header, input)),
            false => Err(Lost::changed(of, NOT_OWN)),
        }
    };
    let size = match open(next)?.0.previous {
        Some(previous) if previous.first == first => previous.size,
        Some(previous) if previous.first > first => return Err(Lost::Gone(previous.first)),
        _ => return Err(Lost::changed(next, "it does not follow the one before it")),
    };
    let end = open(first)?.1.seek(SeekFrom::End(0));
    match end.map_err(|error| Lost::unread(first, error))? < size {
        true => Err(Lost::changed(first, "it was cut")),
        false => Ok(()),
    }
}

/// What no other file, and no other content of the same one, has. The time is that of the last change of anything about it,
/// which nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) form: Form,
    pub(super) identity: (u64, u64),
    pub(super) size: u64,
    pub(super) changed: (i64, i64),
}

/// The closed segments of a log that this process writes.
#[derive(Clone, Debug)]
pub struct Closed {
    reader: DiskReader,
    headers: Headers,
    /// Those before this record are removed, or about to be.
    removed: Arc<AtomicU64>,
    /// The one that is written to begins with this record: it is not closed, whatever somebody has put behind it.
    written: Arc<AtomicU64>,
    /// All that are the log's: each that was written to, or that was seen whole; with the one after it, and the file, when it was
    /// seen whole last.
    known: BTreeMap<u64, Option<(u64, Stamp)>>,
}

impl Closed {
    pub(super) fn new(
        reader: DiskReader,
        headers: Headers,
        removed: Arc<AtomicU64>,
        written: Arc<AtomicU64>,
    ) -> Self {
        let known = BTreeMap::new();
        Self {
            reader,
            headers,
            removed,
            written,
            known,
        }
    }

    /// Looks whether those that were there at the last look, and those that were closed since, are there and whole. Blocks:
    /// reads files.
    ///
    /// # Errors
    /// [`Lost`]: the first of them that is not.
    pub fn look(&mut self) -> Result<(), Lost> {
        // Before they are listed: the one after it may have been begun when they are.
        let written = self.written.load(Ordering::Acquire);
        let firsts = self.reader.segments();
        let firsts = firsts.map_err(|error| Lost::of(error, Lost::Folder))?;
        if written != u64::MAX {
            self.known.entry(written).or_default();
        }
        let is_written_there = firsts.contains(&written);
        let listed = firsts.into_iter().filter(|first| *first <= written);
        let mut all: BTreeSet<u64> = self.known.keys().copied().chain(listed).collect();
        // That the open one is away is the writer's to notice.
        if !is_written_there {
            all.remove(&written);
        }
        for (first, next) in all.iter().copied().zip(all.iter().skip(1).copied()) {
            let looked = self.look_at(first, next);
            if first < self.removed.load(Ordering::Acquire) {
                self.known.remove(&first);
                continue;
            }
            looked?;
        }
        Ok(())
    }

    fn look_at(&mut self, first: u64, next: u64) -> Result<(), Lost> {
        let is = self.reader.stamp(first);
        let seen = Some((next, is.map_err(|error| Lost::unread(first, error))?));
        if self.known.get(&first) == Some(&seen) {
            return Ok(());
        }
        match joins(&self.reader, &self.headers, first, next) {
            // It was only not listed.
            Err(Lost::Gone(gone)) if self.reader.stamp(gone).is_ok() => Ok(()),
            joined => {
                joined?;
                self.known.insert(first, seen);
                Ok(())
            }
        }
    }
}
