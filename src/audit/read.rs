//! Reading a log back, in order, checking that nothing is missing.

use super::archive::Form;
use super::device::{Segments, Source};
use super::disk;
use super::segment::{self, Damage, Line, Lines};
use super::tree::{Hash, leaf};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

/// How near to a record a reading begins, in bytes: a tile's worth of records or so, which is a frame where they are
/// compressed.
const NEAR: u64 = 256 * 1024;
/// What is read at a time to find one: a few records.
const PROBE: usize = 8 * 1024;

/// One record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its sequence.
    pub sequence: u64,
    /// The line without its newline: the bytes that the tree's leaf is made of.
    pub line: Vec<u8>,
}

impl Entry {
    /// Itself, if the tree's leaf for it has this hash.
    pub(super) fn held_to(self, hash: Hash) -> Result<Self, ReadError> {
        match leaf(&self.line) == hash {
            true => Ok(self),
            false => Err(ReadError::Changed(self.sequence)),
        }
    }
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
    #[error("record {0} is not there")]
    Missing(u64),
    /// A record is not the JSON that it should be.
    #[error("record {0} cannot be read")]
    Unreadable(u64),
    /// A record is not the one that the tree has.
    #[error("record {0} is not the one that was logged: run `cambist audit verify`")]
    Changed(u64),
}

/// Iterates over all records from `from` on, ending at the first error. What stands before `from` is not read.
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
    segments.reverse();
    let place = place.filter(|place| place.next == from);
    Ok(Records::new(device, segments, from, place))
}

/// Where a reading stands: the next record's segment and the byte it begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    first: u64,
    offset: u64,
    next: u64,
}

impl Place {
    pub(super) fn new(first: u64, offset: u64, next: u64) -> Self {
        Self {
            first,
            offset,
            next,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }
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
    /// Whether the next one's header tells its size.
    closed: bool,
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
    /// Reads these segments, the last one first. `place` is of the first one that is read, at or before `from`.
    pub(super) fn new(
        device: Arc<dyn Segments>,
        waiting: Vec<u64>,
        from: u64,
        place: Option<Place>,
    ) -> Self {
        let start = waiting.last().copied().unwrap_or(from);
        Self {
            device,
            waiting,
            open: None,
            from,
            next: start.min(from),
            place,
            done: false,
        }
    }

    /// The record that comes next, or one before it that is passed over.
    pub(super) fn reached(&self) -> u64 {
        self.next
    }

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
        let passed = open.lines.pass(&mut line);
        match passed.map_err(|error| damaged(first, error.into()))? {
            Line::Record(sequence) => {
                self.next = open.lines.next;
                Ok(Some(Entry { sequence, line }))
            }
            Line::Broken(what) if open.closed || line.ends_with(b"\n") => {
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
        let next = self.waiting.last();
        let size = next.map(|next| durable_size(&*self.device, first, *next));
        let size = size.transpose()?.flatten();
        let (closed, size) = (size.is_some(), size.unwrap_or(u64::MAX));
        let input = self.device.read(first);
        let mut input = input.map_err(|error| damaged(first, error.into()))?;
        let lines = Lines::open(input.by_ref().take(size), first);
        let lines = lines.map_err(|damage| damaged(first, damage))?;
        let begin = Place {
            first,
            offset: lines.offset,
            next: first,
        };
        let header = lines.header;
        let known = self.place.take().filter(|place| place.first == first);
        let place = match known {
            Some(place) => place,
            None => nearest(&mut *input, begin, size, self.from)
                .map_err(|error| damaged(first, error.into()))?,
        };
        input.seek(SeekFrom::Start(place.offset))?;
        let input = input.take(size.saturating_sub(place.offset));
        let lines = Lines::at(header, input, place.offset, place.next);
        self.next = place.next;
        self.open = Some(Open {
            first,
            closed,
            lines,
        });
        Ok(())
    }
}

/// What a closed segment holds beyond the size that the next one's header tells is no part of the log. That of another segment
/// tells none: one that was between them is away, and what there is of this one ends as the last one does.
pub(super) fn durable_size(
    device: &dyn Segments,
    first: u64,
    next: u64,
) -> Result<Option<u64>, ReadError> {
    let input = device.read(next).map_err(Damage::from);
    let lines = input.and_then(|input| Lines::open(input, next));
    let lines = lines.map_err(|damage| damaged(next, damage))?;
    let previous = lines.header.previous.filter(|p| p.first == first);
    Ok(previous.map(|previous| previous.size))
}

/// A place at or before the record `wanted`, and near it: found by halving what lies between, so that a segment is not read
/// from its begin on. Where anything on the way is not a record, the place lies before that.
pub(super) fn nearest(
    input: &mut dyn Source,
    begin: Place,
    size: u64,
    wanted: u64,
) -> io::Result<Place> {
    let mut place = begin;
    if wanted <= begin.next {
        return Ok(place);
    }
    let mut end = size.min(input.seek(SeekFrom::End(0))?);
    while end.saturating_sub(place.offset) > NEAR {
        let middle = place.offset.midpoint(end);
        match record_after(input, middle)? {
            Some((offset, next)) if offset < end && next <= wanted => {
                place = Place {
                    offset,
                    next,
                    ..place
                };
            }
            _ => end = middle,
        }
    }
    Ok(place)
}

/// The first record that begins after a byte: where, and its sequence.
fn record_after(input: &mut dyn Source, at: u64) -> io::Result<Option<(u64, u64)>> {
    input.seek(SeekFrom::Start(at))?;
    let mut input = BufReader::with_capacity(PROBE, input);
    let mut line = Vec::new();
    let passed = segment::read_line(&mut input, &mut line)?;
    if line.pop() != Some(b'\n') {
        return Ok(None);
    }
    line.clear();
    segment::read_line(&mut input, &mut line)?;
    let next = segment::sequence(&line);
    Ok(next.map(|next| (at.saturating_add(passed), next)))
}

pub(super) fn damaged(first: u64, damage: Damage) -> ReadError {
    match damage {
        // What the disk gave is not what was compressed.
        Damage::Io(error) if error.kind() == io::ErrorKind::InvalidData => ReadError::Damaged {
            file: disk::form_name(first, Form::Packed),
            offset: 0,
            what: "a compressed frame is not as it was written",
        },
        Damage::Io(error) => ReadError::Io(error),
        Damage::At { offset, what } => ReadError::Damaged {
            file: disk::name(first),
            offset,
            what,
        },
    }
}
