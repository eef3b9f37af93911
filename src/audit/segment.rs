//! A segment: a header line, then one record a line.

use super::record::{self, Head};
use super::recovery::Drained;
use crate::keys::MacKey;
use crate::limits;
use crate::store::LogId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read};

/// What the header's `cambist` field says.
const KIND: &str = "log";
const VERSION: u8 = 2;

/// What every version of the header begins with.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Format {
    /// `log`.
    #[serde(rename = "cambist")]
    format: String,
    version: u8,
}

/// A segment's first line. It is no record: the tree's leaves begin with the second line.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Header {
    #[serde(flatten)]
    format: Format,
    /// The log's origin.
    pub(super) origin: String,
    /// Which log of that origin; the segments before may be another's.
    pub(super) log: LogId,
    /// Sequence of the first record.
    pub(super) first: u64,
    /// When the segment was begun.
    pub(super) created: Timestamp,
    /// The store revision up to which the outbox was taken over before this segment.
    pub(super) drained: Option<String>,
    /// Sequence of the record that did.
    pub(super) drained_at: Option<u64>,
    /// The highest time given out for an issue before this segment.
    pub(super) mark: Option<Timestamp>,
    /// The segment before, and its durable size: what it holds beyond that was never acknowledged and is no
    /// part of the log.
    pub(super) previous: Option<Previous>,
    /// That the broker wrote all of the above: a header is no leaf of the tree, and no checkpoint is of it. One that an earlier
    /// version wrote has none ([`Headers`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

/// By what the broker knows the headers of a log as its own.
#[derive(Clone, Debug)]
pub struct Headers {
    pub(super) key: MacKey,
    /// From this record on all have a tag. Where that is not known, an earlier version may have written any.
    pub(super) signed_from: Option<u64>,
}

impl Headers {
    /// By this key, from this record on ([`crate::keys::LogKey::signed_from`]).
    #[must_use]
    pub const fn new(key: MacKey, signed_from: Option<u64>) -> Self {
        Self { key, signed_from }
    }

    /// Whether a header is as the broker wrote it, or can be of an earlier version.
    pub(super) fn own(&self, header: &Header) -> io::Result<bool> {
        let Some(tag) = &header.mac else {
            return Ok(self.signed_from.is_none_or(|from| header.first < from));
        };
        let said = Header {
            mac: None,
            ..header.clone()
        };
        Ok(self.key.is_tag(tag, &said.line()?))
    }
}

#[cfg(test)]
impl Headers {
    /// Of a log all of whose headers are signed.
    pub(crate) fn testing() -> Self {
        Self::new(MacKey::testing(), Some(0))
    }
}

/// What a header that is not is said to be.
pub(super) const NOT_OWN: &str = "the header is not as this broker wrote it";

/// The end of a closed segment.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Previous {
    pub(super) first: u64,
    pub(super) size: u64,
}

impl Header {
    pub(super) fn new(origin: &str, log: LogId, first: u64, created: Timestamp) -> Self {
        Self {
            format: Format {
                format: KIND.to_owned(),
                version: VERSION,
            },
            origin: origin.to_owned(),
            log,
            first,
            created,
            drained: None,
            drained_at: None,
            mark: None,
            previous: None,
            mac: None,
        }
    }

    pub(super) fn with_drained(mut self, drained: Option<Drained>) -> Self {
        self.drained = drained.map(|drained| drained.revision.to_string());
        self.drained_at = drained.map(|drained| drained.sequence);
        self
    }

    /// What [`Header::with_drained`] took.
    pub(super) fn drained(&self) -> Option<Drained> {
        Some(Drained {
            revision: self.drained.as_deref()?.parse().ok()?,
            sequence: self.drained_at?,
        })
    }

    /// With the tag of all that it says, by the key of [`record::Author`]: what that has of a record begins with the log's id,
    /// and is never the object that this is.
    pub(super) fn signed(mut self, key: &MacKey) -> io::Result<Self> {
        self.mac = None;
        self.mac = Some(key.tag(&self.line()?));
        Ok(self)
    }

    /// Whether it has a tag.
    pub(super) fn is_signed(&self) -> bool {
        self.mac.is_some()
    }

    /// The line, with its newline.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    fn parse(line: &[u8], first: u64) -> Result<Self, &'static str> {
        let unread = |_| "the header cannot be read";
        let format: Format = serde_json::from_slice(line).map_err(unread)?;
        if format.format != KIND {
            return Err("not a log segment");
        }
        if format.version != VERSION {
            return Err("a segment of another version of the format");
        }
        let header: Self = serde_json::from_slice(line).map_err(unread)?;
        if header.first != first {
            Err("the header does not fit the file's name")
        } else {
            Ok(header)
        }
    }
}

/// Why a segment's content is not a log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something is wrong at a byte offset.
    #[error("at byte {offset}: {what}")]
    At { offset: u64, what: &'static str },
}

/// A segment that holds less than the next one's header says.
pub(super) fn ends_early(offset: u64) -> Damage {
    let what = "the segment ends before its durable size";
    Damage::At { offset, what }
}

/// A line of a segment.
pub(super) enum Line<T = Head> {
    /// A record, and what was read of it.
    Record(T),
    /// Bytes that are no whole record, as far as they were read.
    Broken(&'static str),
    /// The segment ends here.
    End,
}

/// Reads a segment line by line, checking that sequences have no gap.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    pub(super) header: Header,
    /// Where the next line begins.
    pub(super) offset: u64,
    /// The sequence expected next.
    pub(super) next: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn open(input: R, first: u64) -> Result<Self, Damage> {
        let mut input = BufReader::with_capacity(64 * 1024, input);
        let mut line = Vec::new();
        let read = read_line(&mut input, &mut line)?;
        if line.pop() != Some(b'\n') {
            let what = "the header is not whole";
            return Err(Damage::At { offset: 0, what });
        }
        let header = Header::parse(&line, first).map_err(|what| Damage::At { offset: 0, what })?;
        Ok(Self {
            input,
            header,
            offset: read,
            next: first,
        })
    }

    /// Goes on at a byte offset, where the record `next` begins; `input` is there already.
    pub(super) fn at(header: Header, input: R, offset: u64, next: u64) -> Self {
        Self {
            input: BufReader::with_capacity(64 * 1024, input),
            header,
            offset,
            next,
        }
    }

    /// Reads the next line into `line`, without its newline if it is a record.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        self.take(line, Head::parse, Head::sequence)
    }

    /// As [`Lines::next`], where only the sequence matters: the rest of the record is not parsed.
    pub(super) fn pass(&mut self, line: &mut Vec<u8>) -> io::Result<Line<u64>> {
        self.take(line, sequence, |sequence| *sequence)
    }

    fn take<T>(
        &mut self,
        line: &mut Vec<u8>,
        parse: impl FnOnce(&[u8]) -> Option<T>,
        sequence: impl FnOnce(&T) -> u64,
    ) -> io::Result<Line<T>> {
        line.clear();
        let read = read_line(&mut self.input, line)?;
        if read == 0 {
            return Ok(Line::End);
        }
        let Some((b'\n', record)) = line.split_last() else {
            return Ok(Line::Broken("a line without its end"));
        };
        let Some(parsed) = parse(record) else {
            return Ok(Line::Broken("not a record"));
        };
        if sequence(&parsed) != self.next {
            return Ok(Line::Broken("a record out of sequence"));
        }
        line.pop();
        self.offset = self.offset.saturating_add(read);
        self.next = self.next.saturating_add(1);
        Ok(Line::Record(parsed))
    }

    /// Everything that follows, at most `limit` bytes of it, appended to `rest`.
    pub(super) fn rest(self, rest: &mut Vec<u8>, limit: u64) -> io::Result<()> {
        self.input.take(limit).read_to_end(rest)?;
        Ok(())
    }
}

/// The sequence in what every record begins with.
pub(super) fn sequence(record: &[u8]) -> Option<u64> {
    let rest = record.strip_prefix(record::BEGIN.as_bytes())?;
    let digits = rest.split(|byte| *byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads up to a newline, but never more than the largest record and its newline.
pub(super) fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let bound = u64::try_from(limits::RECORD).unwrap_or(u64::MAX);
    let read = input
        .take(bound.saturating_add(1))
        .read_until(b'\n', line)?;
    Ok(u64::try_from(read).unwrap_or(u64::MAX))
}
