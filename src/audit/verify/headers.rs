//! The segments' headers, which are no leaves of the tree: each must say what the records before it say, as a start that
//! reads both would find it.

use super::walk::{Begun, Closed, Record};
use crate::audit::record::{BEGIN, BEGUN_ANEW};
use crate::audit::recovery::Drained;
use crate::audit::segment::Header;
use crate::store::LogId;
use jiff::Timestamp;
use serde::Deserialize;

/// What the headers so far say, and the records behind the last of them.
pub(super) struct Headers<'a> {
    origin: &'a str,
    segment: Option<Segment>,
    mark: Mark,
    /// How far the outbox was taken over, where that is known.
    drained: Option<Option<Drained>>,
    /// The first header that is not right: its segment, and why.
    wrong: Option<(u64, &'static str)>,
}

/// The segment that is read.
struct Segment {
    first: u64,
    log: LogId,
    /// Whether it is of another log than the one before, where that is known, until its first record says so.
    is_anew: Option<bool>,
}

/// Within which times the mark is. A writer counts what it issued; a start also what became a refusal at the last moment,
/// which has a time as well.
#[derive(Clone, Copy, Default)]
struct Mark {
    least: Option<Timestamp>,
    most: Option<Timestamp>,
    /// Not all records since the last header were read, so that there is no most.
    is_open: bool,
}

impl<'a> Headers<'a> {
    pub(super) fn new(origin: &'a str) -> Self {
        Self {
            origin,
            segment: None,
            mark: Mark::default(),
            drained: None,
            wrong: None,
        }
    }

    /// A segment begins.
    pub(super) fn begin(&mut self, begun: &Begun) {
        self.begins_anew(false);
        let header = &begun.header;
        let before = self.segment.take();
        self.expect(header.first, self.fault(begun, before.as_ref()));
        self.segment = Some(Segment {
            first: header.first,
            log: header.log,
            is_anew: before
                .filter(|_| begun.whole)
                .map(|before| before.log != header.log),
        });
        self.drained = begun.whole.then(|| header.drained());
        self.mark = Mark {
            least: header.mark.filter(|_| begun.whole),
            most: header.mark,
            is_open: !begun.whole,
        };
    }

    /// A record of the segment.
    pub(super) fn record(&mut self, record: &Record) {
        let kind = kind(&record.line);
        if self.segment.as_ref().is_some_and(|s| s.is_anew.is_some()) {
            self.begins_anew(kind == Some(b"gap") && says_anew(&record.line));
        }
        let Some(head) = &record.head else { return };
        if head.confirms_clock() {
            self.mark = Mark::default();
        }
        let issued = head.issued_at();
        let issued = issued.and_then(|second| Timestamp::from_second(second).ok());
        self.mark.most = self.mark.most.max(issued);
        if kind == Some(b"issue") {
            self.mark.least = self.mark.least.max(issued);
        }
        if let Some(revision) = head.store() {
            let sequence = record.sequence;
            self.drained = Some(Some(Drained { revision, sequence }));
        }
    }

    /// A segment ends where its records do.
    pub(super) fn closed(&mut self, closed: &Closed) {
        let fault = (closed.end != closed.size).then_some("the size of the segment before it");
        self.expect(closed.next, fault);
    }

    /// All was read. The first header that is not right: its segment, and why.
    pub(super) fn end(&mut self) -> Option<(u64, &'static str)> {
        self.begins_anew(false);
        self.wrong
    }

    /// The first record of a segment, or that there is none, says whether another log begins.
    fn begins_anew(&mut self, said: bool) {
        let Some(segment) = &mut self.segment else {
            return;
        };
        let first = segment.first;
        let differs = segment
            .is_anew
            .take()
            .is_some_and(|is_anew| is_anew != said);
        self.expect(first, differs.then_some("which log it is of"));
    }

    fn expect(&mut self, first: u64, fault: Option<&'static str>) {
        self.wrong = self.wrong.or(fault.map(|what| (first, what)));
    }

    /// What is wrong with a header.
    fn fault(&self, begun: &Begun, before: Option<&Segment>) -> Option<&'static str> {
        let header = &begun.header;
        let previous = header.previous.map(|previous| previous.first);
        let expected = match header.first {
            // Nothing is before the first record.
            0 => Some(None),
            _ => before.and(self.drained),
        };
        let is_drained = |drained: Option<Drained>| {
            header.drained == drained.map(|drained| drained.revision.to_string())
                && header.drained_at == drained.map(|drained| drained.sequence)
        };
        let is_possible = header.drained.is_some() == header.drained_at.is_some()
            && header.drained().is_some() == header.drained.is_some()
            && header.drained_at.is_none_or(|at| at < header.first);
        let is_marked = match header.first {
            0 => header.mark.is_none(),
            _ => before.is_none() || self.mark.holds(header.mark),
        };
        let checks = [
            (header.line().ok().as_ref() == Some(&begun.line), "its form"),
            (header.origin == self.origin, "the log's origin"),
            (
                precedes(begun.before, previous, header),
                "the segment before it",
            ),
            (
                expected.map_or(is_possible, is_drained),
                "how far the store's outbox was taken over",
            ),
            (is_marked, "the highest time of an issue before it"),
        ];
        checks
            .iter()
            .find(|(right, _)| !right)
            .map(|(_, what)| *what)
    }
}

impl Mark {
    fn holds(&self, mark: Option<Timestamp>) -> bool {
        mark >= self.least && (self.is_open || mark <= self.most)
    }
}

/// Whether a header names the segment before its own: the one in the folder, or one that was removed.
fn precedes(before: Option<u64>, named: Option<u64>, header: &Header) -> bool {
    match (before, named) {
        (None, None) => header.first == 0,
        (None, Some(named)) => named < header.first,
        (Some(before), named) => named == Some(before),
    }
}

/// The kind of a record that the log made itself; none of one that came through the store.
fn kind(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(BEGIN.as_bytes())?;
    let begin = rest.iter().position(|byte| *byte == b',')?;
    let rest = rest.get(begin..)?.strip_prefix(br#","kind":""#)?;
    rest.split(|byte| *byte == b'"').next()
}

/// Whether a gap is that of a log that was begun anew.
fn says_anew(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Gap<'a> {
        detail: &'a str,
    }
    let gap: Option<Gap<'_>> = serde_json::from_slice(line).ok();
    gap.is_some_and(|gap| gap.detail == BEGUN_ANEW)
}
