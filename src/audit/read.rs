//! Reading a log back, in order, checking that nothing is missing.

use super::device::{Segments, Source};
use super::disk;
use super::segment::{Damage, Line, Lines};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

/// One record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its sequence.
    pub sequence: u64,
    /// The line without its newline: the bytes that the tree's leaf is made of.
    pub line: Vec<u8>,
}

/// Why the log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The device failed.
    #[error("the log cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A segment is not as it was written.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The file's name.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Records are missing between two segments, or before the first.
    #[error("the record {0} is not there")]
    Missing(u64),
    /// A record is not the JSON that it should be.
    #[error("the record {0} cannot be read")]
    Unreadable(u64),
}

/// Iterates over all records from `from` on, ending at the first error.
///
/// A line without its end in the last segment is one that is being written: the log ends before it. While a
/// writer runs, the last records may be of a commit that is still under way; what must be durable is read up
/// to a sequence that the writer has acknowledged.
///
/// # Errors
/// [`ReadError::Io`] when the segments cannot be listed.
pub fn records(device: Arc<dyn Segments>, from: u64) -> Result<Records, ReadError> {
    records_at(device, from, None)
}

/// As [`records`], from a place where an earlier reading stood, without reading its segment from the start again.
pub(super) fn records_at(
    device: Arc<dyn Segments>,
    from: u64,
    place: Option<Place>,
) -> Result<Records, ReadError> {
    let mut segments = device.segments()?;
    let skipped = segments.partition_point(|first| *first <= from);
    segments.drain(..skipped.saturating_sub(1));
    let start = segments.first().copied().unwrap_or(from);
    segments.reverse();
    Ok(Records {
        device,
        waiting: segments,
        open: None,
        from,
        next: start.min(from),
        place: place.filter(|place| place.next == from),
        done: false,
    })
}

/// Where a reading stands: the next record's segment and the byte it begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    first: u64,
    offset: u64,
    next: u64,
}

/// The iterator that [`records`] makes.
#[derive(Debug)]
pub struct Records {
    device: Arc<dyn Segments>,
    /// Segments not begun, the next one last.
    waiting: Vec<u64>,
    open: Option<Open>,
    from: u64,
    next: u64,
    place: Option<Place>,
    done: bool,
}

struct Open {
    first: u64,
    lines: Lines<io::Take<Box<dyn Source>>>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} at byte {}",
            disk::name(self.first),
            self.lines.offset
        )
    }
}

impl Iterator for Records {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            match self.step() {
                Ok(Some(entry)) if entry.sequence < self.from => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => self.done = self.open.is_none(),
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Records {
    /// Where it stands, within a segment.
    pub(super) fn place(&self) -> Option<Place> {
        self.open.as_ref().map(|open| Place {
            first: open.first,
            offset: open.lines.offset,
            next: open.lines.next,
        })
    }

    /// Reads one line, or goes on to the next segment, or finds the end.
    fn step(&mut self) -> Result<Option<Entry>, ReadError> {
        let Some(open) = &mut self.open else {
            return self.advance().map(|()| None);
        };
        let first = open.first;
        let offset = open.lines.offset;
        let mut line = Vec::new();
        match open.lines.pass(&mut line)? {
            Line::Record(sequence) => {
                self.next = open.lines.next;
                Ok(Some(Entry { sequence, line }))
            }
            Line::Broken(what) if !self.waiting.is_empty() || line.ends_with(b"\n") => {
                Err(damaged(first, Damage::At { offset, what }))
            }
            Line::End | Line::Broken(_) => {
                self.open = None;
                self.advance().map(|()| None)
            }
        }
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        let Some(first) = self.waiting.pop() else {
            return Ok(());
        };
        if first != self.next {
            return Err(ReadError::Missing(self.next));
        }
        let size = self.durable_size(first)?;
        let input = self.device.read(first)?.take(size);
        let mut lines = Lines::open(input, first).map_err(|damage| damaged(first, damage))?;
        if let Some(place) = self.place.take().filter(|place| place.first == first) {
            let mut input = self.device.read(first)?;
            input.seek(SeekFrom::Start(place.offset))?;
            let input = input.take(size.saturating_sub(place.offset));
            lines = Lines::at(lines.header, input, place.offset, place.next);
        }
        self.open = Some(Open { first, lines });
        Ok(())
    }

    /// What a closed segment holds beyond the size that the next one's header tells is no part of the log.
    fn durable_size(&self, first: u64) -> Result<u64, ReadError> {
        let Some(next) = self.waiting.last().copied() else {
            return Ok(u64::MAX);
        };
        let lines =
            Lines::open(self.device.read(next)?, next).map_err(|damage| damaged(next, damage))?;
        let previous = lines.header.previous.filter(|p| p.first == first);
        previous
            .map(|previous| previous.size)
            .ok_or(ReadError::Missing(self.next))
    }
}

fn damaged(first: u64, damage: Damage) -> ReadError {
    match damage {
        Damage::Io(error) => ReadError::Io(error),
        Damage::At { offset, what } => ReadError::Damaged {
            file: disk::name(first),
            offset,
            what,
        },
    }
}
