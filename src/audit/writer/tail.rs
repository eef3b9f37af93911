//! The segment that records are appended to.

use crate::audit::acknowledged::{Acknowledged, Keeping};
use crate::audit::device::{CreateError, Device, Segment, Space};
use crate::audit::disk;
use crate::audit::record::{Place, Record};
use crate::audit::recovery::{Drained, Resume};
use crate::audit::segment::{Header, Previous};
use crate::keys::MacKey;
use crate::store::LogId;
use jiff::Timestamp;
use std::io;
use std::sync::Arc;

/// Where the log is: what has been made durable so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// Sequence of the next record.
    pub(super) next: u64,
    /// The highest `iat`.
    pub(super) mark: Option<Timestamp>,
    /// How far the store's outbox was taken over.
    pub(super) drained: Option<Drained>,
}

/// The open segment, if there is one, and what is needed to begin the next.
#[derive(Debug)]
pub(super) struct Tail {
    device: Arc<dyn Device>,
    origin: Arc<str>,
    /// Signs headers.
    key: MacKey,
    log: LogId,
    open: Option<Open>,
    /// A segment that was closed because something failed, as long as no other one follows it.
    closed: Option<Open>,
    /// The segment before the open one: the last that holds acknowledged records.
    previous: Option<Previous>,
    /// The closed segment was seen without all that was acknowledged.
    lacks: bool,
    keeping: Keeping,
}

#[derive(Debug)]
struct Open {
    segment: Box<dyn Segment>,
    first: u64,
    /// Its durable size: all that was acknowledged.
    size: u64,
    created: Timestamp,
    /// It was seen with less than that. Appending may have hidden it since.
    cut: bool,
}

impl Open {
    /// Checks that it has `size` bytes, as its name shows it.
    fn expect(&mut self, size: u64) -> io::Result<()> {
        let is = self.segment.size()?;
        self.cut |= is < size;
        if is == size {
            Ok(())
        } else {
            Err(io::Error::other("the segment was changed by somebody else"))
        }
    }

    /// Checks that what was acknowledged is there, whatever came after it.
    fn holds(&self) -> io::Result<()> {
        let (why, remedy) = match self.segment.size() {
            Ok(is) if is >= self.size && !self.cut => return Ok(()),
            // Nobody knows what it had in between: only a start reads it again.
            Ok(_) => (
                "it was cut".to_owned(),
                "put it back as it was, and restart",
            ),
            // A copy is another file. It may well hold the same, which only a start looks at.
            Err(error) => (
                error.to_string(),
                "move that very file back, or put a copy of it there and restart",
            ),
        };
        let name = disk::name(self.first);
        Err(io::Error::other(format!(
            "{name} does not hold what was acknowledged: {why}; {remedy}"
        )))
    }
}

impl Tail {
    /// Goes on where recovery stopped.
    pub(super) fn resume(
        device: Arc<dyn Device>,
        origin: Arc<str>,
        key: MacKey,
        resume: &Resume,
    ) -> io::Result<Self> {
        let mut open = Open {
            segment: device.open(resume.header.first)?,
            first: resume.header.first,
            size: resume.size,
            created: resume.header.created,
            cut: false,
        };
        open.expect(resume.size)?;
        Ok(Self {
            device,
            origin,
            key,
            log: resume.header.log,
            open: Some(open),
            closed: None,
            previous: resume.header.previous,
            lacks: false,
            keeping: Keeping::default(),
        })
    }

    /// Makes it another log from the next segment on.
    pub(super) fn become_log(&mut self, log: LogId) {
        self.log = log;
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Appends `bytes` and makes them durable in the file that everybody sees. After an error the
    /// segment must be closed.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let open = self.open.as_mut().ok_or_else(not_open)?;
        // Before as well: behind what was cut off, the new bytes would stand in the place of the old.
        open.expect(open.size)?;
        open.segment.append(bytes)?;
        open.segment.sync()?;
        let size = open.size.saturating_add(length(bytes));
        open.expect(size)?;
        open.size = size;
        Ok(())
    }

    /// Checks that the segment is as it was left. After an error it must be closed.
    pub(super) fn look(&mut self) -> io::Result<()> {
        self.open
            .as_mut()
            .map_or(Ok(()), |open| open.expect(open.size))
    }

    /// Gives the segment up for ever, at its last durable size. `next` is the sequence that was to come.
    pub(super) fn close(&mut self, next: u64) {
        self.previous = self.end(next);
        // One in which nothing counts is replaced, and needs not be there.
        if let Some(open) = self.open.take().filter(|open| next > open.first) {
            self.closed = Some(open);
        }
    }

    /// Whether the segment is old or large enough to be followed by another.
    pub(super) fn is_due(
        &self,
        next: u64,
        now: Timestamp,
        size: u64,
        age: std::time::Duration,
    ) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let lived = now.duration_since(open.created);
            let old = !lived.is_negative() && lived.unsigned_abs() >= age;
            next > open.first && (open.size >= size || old)
        })
    }

    /// Begins a segment; the one that was open stays open if that fails, but takes no more records where the new one
    /// may be there all the same. `gap` becomes its first record.
    ///
    /// After one that was closed none is begun as long as that does not hold what was acknowledged: a log that lost records
    /// is not gone on with.
    pub(super) fn begin(
        &mut self,
        position: Position,
        now: Timestamp,
        gap: Option<&Record>,
        space: Space,
    ) -> Result<(), CreateError> {
        let whole = self.closed.as_ref().map_or(Ok(()), Open::holds);
        self.lacks = whole.is_err();
        whole.map_err(CreateError::Absent)?;
        let previous = self.end(position.next);
        let mut header =
            Header::new(&self.origin, self.log, position.next, now).with_drained(position.drained);
        header.mark = position.mark;
        header.previous = previous;
        let header = header.signed(&self.key);
        let mut head = header
            .and_then(|header| header.line())
            .map_err(CreateError::Absent)?;
        if let Some(gap) = gap {
            let place = Place {
                sequence: position.next,
                batch: position.next,
            };
            gap.line(&mut head, place);
        }
        let mut open = Open {
            segment: self.device.create(position.next, &head, space)?,
            first: position.next,
            size: length(&head),
            created: now,
            cut: false,
        };
        open.expect(open.size).map_err(CreateError::Unsure)?;
        self.previous = previous;
        self.open = Some(open);
        self.closed = None;
        Ok(())
    }

    /// Has the device keep how much was acknowledged, where the last [`Tail::begin`] found that not all of it is there, or drop
    /// that, where it did not. `next` is the sequence that was to come.
    pub(super) fn note_lack(&mut self, next: u64) -> io::Result<()> {
        let device = Arc::clone(&self.device);
        if self.lacks {
            let (log, records) = (self.log, next);
            return self.keeping.keep(&*device, Acknowledged { log, records });
        }
        if self.is_open() {
            self.keeping.drop_it(&*device);
        }
        Ok(())
    }

    /// What the next segment's header says of the one before it: this one, unless nothing in it counts.
    fn end(&self, next: u64) -> Option<Previous> {
        match &self.open {
            Some(open) if next > open.first => Some(Previous {
                first: open.first,
                size: open.size,
            }),
            _ => self.previous,
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn not_open() -> io::Error {
    io::Error::other("no segment is open")
}
