//! Reading a log as a verifier does: every line of it, the headers included, and what is behind the last one.

use crate::audit::device::{Segments, Source};
use crate::audit::read::{Place, ReadError, damaged, durable_size, nearest};
use crate::audit::record::Head;
use crate::audit::recovery::is_torn;
use crate::audit::segment::{Damage, Header, Line, Lines};
use crate::limits;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

/// What comes next.
pub(super) enum Step {
    /// A segment.
    Begin(Begun),
    /// A record of it.
    Record(Record),
    /// The end of one that another follows.
    Closed(Closed),
    /// So many bytes behind the last record, which a start would drop.
    Torn(u64),
}

/// A segment that is read.
pub(super) struct Begun {
    pub(super) header: Header,
    /// The header's line, with its newline.
    pub(super) line: Vec<u8>,
    /// The segment before it.
    pub(super) before: Option<u64>,
    /// Whether it is read from its first record on.
    pub(super) whole: bool,
}

/// A record as it stands in the log.
pub(super) struct Record {
    pub(super) sequence: u64,
    /// The line without its newline.
    pub(super) line: Vec<u8>,
    /// What a start reads of it; none where it cannot be read.
    pub(super) head: Option<Head>,
}

/// A segment that was read.
#[derive(Clone, Copy)]
pub(super) struct Closed {
    pub(super) first: u64,
    /// The segment after it, and the size that this one has by that one's header.
    pub(super) next: u64,
    pub(super) size: u64,
    /// Where its records end.
    pub(super) end: u64,
    /// Whether it was read from its first record on.
    pub(super) whole: bool,
}

/// Reads one segment after the other.
pub(super) struct Walk {
    segments: Arc<dyn Segments>,
    /// Segments not begun, the next one last.
    waiting: Vec<u64>,
    open: Option<Open>,
    /// The segment that was begun last, or the one before the first that is read.
    last: Option<u64>,
    from: u64,
    /// Records that are durable whatever a crash left behind.
    durable: u64,
    next: u64,
}

struct Open {
    first: u64,
    whole: bool,
    /// The segment after it, and the size that this one has by that one's header.
    closed: Option<(u64, u64)>,
    lines: Lines<io::Take<Box<dyn Source>>>,
}

impl Walk {
    /// The records from `from` on, which is not before the first there is. A checkpoint is of the first `durable`.
    pub(super) fn new(segments: Arc<dyn Segments>, from: u64, durable: u64) -> io::Result<Self> {
        let mut waiting = segments.segments()?;
        let begun = waiting.partition_point(|first| *first <= from);
        let last = waiting.drain(..begun.saturating_sub(1)).next_back();
        waiting.reverse();
        Ok(Self {
            next: waiting.last().copied().unwrap_or(0),
            segments,
            waiting,
            open: None,
            last,
            from,
            durable,
        })
    }

    /// The record that comes next: where the log ends, once it has.
    pub(super) fn reached(&self) -> u64 {
        self.next
    }

    /// Goes on, until the log ends.
    pub(super) fn next(&mut self) -> Result<Option<Step>, ReadError> {
        loop {
            let Some(mut open) = self.open.take() else {
                let waiting = self.waiting.pop();
                return waiting.map(|first| self.begin(first)).transpose();
            };
            let first = open.first;
            let offset = open.lines.offset;
            let mut line = Vec::new();
            let passed = open.lines.pass(&mut line);
            match passed.map_err(|error| damaged(first, error.into()))? {
                Line::Record(sequence) => {
                    let head = Head::parse(&line);
                    if head.is_none() && open.closed.is_none() && sequence >= self.durable {
                        line.push(b'\n');
                        let what = "not a record";
                        return tail(open, line, offset, sequence, what).map(Some);
                    }
                    self.next = open.lines.next;
                    self.open = Some(open);
                    if sequence >= self.from {
                        let record = Record {
                            sequence,
                            line,
                            head,
                        };
                        return Ok(Some(Step::Record(record)));
                    }
                }
                Line::End => {
                    if let Some((next, size)) = open.closed {
                        return Ok(Some(Step::Closed(Closed {
                            first,
                            next,
                            size,
                            end: offset,
                            whole: open.whole,
                        })));
                    }
                }
                Line::Broken(what) if open.closed.is_some() => {
                    return Err(damaged(first, Damage::At { offset, what }));
                }
                Line::Broken(what) => {
                    let next = open.lines.next;
                    return tail(open, line, offset, next, what).map(Some);
                }
            }
        }
    }

    fn begin(&mut self, first: u64) -> Result<Step, ReadError> {
        if first != self.next {
            return Err(ReadError::Missing(self.next));
        }
        let next = self.waiting.last().copied();
        let size = next.map(|next| durable_size(&*self.segments, first, next));
        let size = size.transpose()?.flatten();
        let io = |error: io::Error| damaged(first, error.into());
        let mut input = self.segments.read(first).map_err(io)?;
        // What is written to it from now on is not looked at: half of a line now, and the rest of it later, is no line.
        let end = input.seek(SeekFrom::End(0)).map_err(io)?;
        let end = size.map_or(end, |size| size.min(end));
        input.seek(SeekFrom::Start(0)).map_err(io)?;
        let lines = Lines::open(input.by_ref().take(end), first);
        let lines = lines.map_err(|damage| damaged(first, damage))?;
        let (header, headed) = (lines.header, lines.offset);
        let mut line = Vec::new();
        input.seek(SeekFrom::Start(0)).map_err(io)?;
        let read = input.by_ref().take(headed).read_to_end(&mut line);
        read.map_err(io)?;
        let place = Place::new(first, headed, first);
        let place = nearest(&mut *input, place, end, self.from).map_err(io)?;
        input.seek(SeekFrom::Start(place.offset())).map_err(io)?;
        let input = input.take(end.saturating_sub(place.offset()));
        self.next = place.next();
        let whole = self.from <= first;
        self.open = Some(Open {
            first,
            whole,
            closed: next.zip(size),
            lines: Lines::at(header.clone(), input, place.offset(), place.next()),
        });
        Ok(Step::Begin(Begun {
            header,
            line,
            before: self.last.replace(first),
            whole,
        }))
    }
}

/// What is left of the last segment from a byte on, where the record `next` should begin: what a start drops, or damage.
fn tail(
    open: Open,
    mut line: Vec<u8>,
    offset: u64,
    next: u64,
    what: &'static str,
) -> Result<Step, ReadError> {
    let most = u64::try_from(limits::LOG_BATCH_BYTES).unwrap_or(u64::MAX);
    let first = open.first;
    open.lines
        .rest(&mut line, most.saturating_add(1))
        .map_err(|error| damaged(first, error.into()))?;
    match is_torn(&line, offset, next) {
        true => Ok(Step::Torn(u64::try_from(line.len()).unwrap_or(u64::MAX))),
        false => Err(damaged(first, Damage::At { offset, what })),
    }
}
