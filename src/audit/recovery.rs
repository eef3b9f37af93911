//! Opening a log: reads the last segment, drops what no reply can have depended on, and refuses to
//! start on anything else that is not as it was written.

use super::acknowledged::{Acknowledged, Lack, lack};
use super::device::{Device, Space};
use super::disk;
use super::record::batch_of;
use super::segment::{Damage, Header, Headers, Line, Lines, NOT_OWN};
use crate::clock::{NoRandomness, Random, random};
use crate::limits;
use crate::store::{LogId, Revision};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use std::io;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: u64 = 512;

/// How far the store's outbox was taken over into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The store revision of the last record taken over.
    pub revision: Revision,
    /// That record's sequence in the log.
    pub sequence: u64,
}

/// What a log held when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Sequence of the next record; the number of records so far. A log behind
    /// [`crate::store::LogPosition::sequence`] has lost records.
    pub next: u64,
    /// The highest `iat` of any issue since an operator last confirmed the clock, as the log has it: who can write to its folder
    /// can have it say what they like.
    pub mark: Option<Timestamp>,
    /// How far the outbox was taken over.
    pub drained: Option<Drained>,
    /// Bytes of a torn tail that were dropped.
    pub torn: u64,
    /// What is known to be missing, where that was to be accepted. It stays known until
    /// [`Device::forget_acknowledged`].
    pub lack: Option<Lack>,
}

/// Why a log cannot be opened. The broker does not issue without one.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The device failed.
    #[error("the log cannot be opened: {0}")]
    Io(#[from] io::Error),
    /// A segment is not as it was written, and not in a way that a crash leaves behind.
    #[error(
        "{file} is damaged at byte {offset}: {what}; put the file back as it was, or move the log away"
    )]
    Damaged {
        /// The file's name.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The last segment is not of this broker, or not as it left it.
    #[error(
        "{0}: {what}; move the file away if somebody put it there, or put back the one that was", what = NOT_OWN
    )]
    NotOwn(String),
    /// Acknowledged records are known to be missing.
    #[error(
        "{0}: put the log's folder back as it was, or start with --accept-rollback, which suspends all use-limited keys \
         and cuts off all tokens so far"
    )]
    Lacks(Lack),
    /// The log belongs to another issuer or node.
    #[error("the log's origin is {found}, not {expected}")]
    Origin {
        /// What the log says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// A new log gets no id.
    #[error(transparent)]
    Id(#[from] NoRandomness),
    /// The writer's thread cannot be started.
    #[error("the log writer cannot be started: {0}")]
    Thread(io::Error),
}

/// Where the writer goes on.
#[derive(Debug)]
pub(super) struct Resume {
    pub(super) header: Header,
    pub(super) size: u64,
    pub(super) recovered: Recovered,
}

impl Resume {
    /// From which record on headers are signed, as far as the last one tells.
    pub(super) fn signed_from(&self) -> Option<u64> {
        let header = Some(&self.header).filter(|header| header.is_signed());
        header.map(|header| header.first)
    }
}

/// Reads and repairs the last segment, or creates the first; neither where records are known to be missing, unless that is
/// accepted.
pub(super) fn recover(
    device: &dyn Device,
    origin: &str,
    now: Timestamp,
    source: &dyn Random,
    headers: &Headers,
    accept_lack: bool,
) -> Result<Resume, OpenError> {
    let kept = device.acknowledged()?;
    let lacking = |there: Option<Acknowledged>| {
        let lack = kept.as_deref().and_then(|kept| lack(kept, there));
        match lack.filter(|_| !accept_lack) {
            Some(lack) => Err(OpenError::Lacks(lack)),
            None => Ok(lack),
        }
    };
    let Some(first) = device.segments()?.pop() else {
        let lack = lacking(None)?;
        let mut resume = create_first(device, origin, now, source, headers)?;
        resume.recovered.lack = lack;
        return Ok(resume);
    };
    let damaged = |damage| match damage {
        Damage::Io(error) => failed(first, "cannot be read", &error),
        Damage::At { offset, what } => OpenError::Damaged {
            file: disk::name(first),
            offset,
            what,
        },
    };
    let source = device.read(first);
    let source = source.map_err(|error| failed(first, "cannot be read", &error))?;
    let lines = Lines::open(source, first).map_err(damaged)?;
    if lines.header.origin != origin {
        return Err(OpenError::Origin {
            found: lines.header.origin,
            expected: origin.to_owned(),
        });
    }
    if !headers.own(&lines.header)? {
        return Err(OpenError::NotOwn(disk::name(first)));
    }
    let (mut resume, headed) = scan(lines).map_err(damaged)?;
    resume.recovered.lack = lacking(Some(Acknowledged {
        log: resume.header.log,
        records: resume.recovered.next,
    }))?;
    // Only the last batch can be unsure: the one before it was acknowledged, or the segment was closed.
    let unsure = resume.size.saturating_sub(bytes(limits::LOG_BATCH_BYTES));
    device
        .repair(first, unsure.max(headed), resume.size)
        .map_err(|error| failed(first, "cannot be made durable up to its end", &error))?;
    if kept.is_some() && resume.recovered.lack.is_none() {
        // Everything is back. A file that stays says nothing that the log does not hold.
        let _ = device.forget_acknowledged();
    }
    Ok(resume)
}

/// A segment that the device fails on, which an operator has to look at.
fn failed(first: u64, how: &str, error: &io::Error) -> OpenError {
    let told = format!("{} {how}: {error}", disk::name(first));
    OpenError::Io(io::Error::new(error.kind(), told))
}

fn create_first(
    device: &dyn Device,
    origin: &str,
    now: Timestamp,
    source: &dyn Random,
    headers: &Headers,
) -> Result<Resume, OpenError> {
    let id = LogId(u128::from_be_bytes(random(source)?));
    let header = Header::new(origin, id, 0, now).signed(&headers.key)?;
    let line = header.line()?;
    device
        .create(0, &line, Space::Free)
        .map_err(io::Error::from)?;
    Ok(Resume {
        header,
        size: bytes(line.len()),
        recovered: Recovered {
            next: 0,
            mark: None,
            drained: None,
            torn: 0,
            lack: None,
        },
    })
}

/// Reads all of a segment. Answers where its header ends, too.
fn scan<R: io::Read>(mut lines: Lines<R>) -> Result<(Resume, u64), Damage> {
    let headed = lines.offset;
    let header = lines.header.clone();
    let mut mark = header.mark;
    let mut drained = header.drained();
    let mut line = Vec::new();
    let what = loop {
        match lines.next(&mut line)? {
            Line::Record(head) => {
                if head.confirms_clock() {
                    mark = None;
                }
                let issued = head
                    .issued_at()
                    .and_then(|s| Timestamp::from_second(s).ok());
                mark = mark.max(issued);
                if let Some(revision) = head.store() {
                    let sequence = head.sequence();
                    drained = Some(Drained { revision, sequence });
                }
            }
            Line::End => break None,
            Line::Broken(what) => break Some(what),
        }
    };
    let (next, offset) = (lines.next, lines.offset);
    let torn = match what {
        Some(what) => {
            lines.rest(&mut line, bytes(limits::LOG_BATCH_BYTES).saturating_add(1))?;
            if !is_torn(&line, offset, next) {
                return Err(Damage::At { offset, what });
            }
            bytes(line.len())
        }
        None => 0,
    };
    let recovered = Recovered {
        next,
        mark,
        drained,
        torn,
        lack: None,
    };
    let size = offset;
    Ok((
        Resume {
            header,
            size,
            recovered,
        },
        headed,
    ))
}

/// Whether a crash can have left `rest` behind the last whole record: what there is of a batch that was never made
/// durable, so that no reply depended on it. `next` is the sequence of the record that stood there.
///
/// A batch is written only after the one before it is durable: where there is anything of a later one, what is broken was
/// durable, and may have been acknowledged.
pub(super) fn is_torn(rest: &[u8], offset: u64, next: u64) -> bool {
    let mut ends = rest
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\n"));
    let later = ends.any(|end| batch_of(end).is_some_and(|batch| batch > next));
    rest.len() <= limits::LOG_BATCH_BYTES && !later && (is_cut(rest) || has_hole(rest, offset))
}

/// A line that was not written to its end. A whole object with something behind it that is no newline was.
fn is_cut(rest: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
    let whole = matches!(values.next(), Some(Ok(_))) && values.byte_offset() < rest.len();
    !rest.contains(&b'\n') && !whole
}

/// Sectors that were never written read as zeros, which no record holds. Of the first one, the part before the batch
/// was; of the last one, there may be no more than the file's end.
fn has_hole(rest: &[u8], offset: u64) -> bool {
    let is_edge = |at: usize| {
        at == 0 || at == rest.len() || offset.saturating_add(bytes(at)).is_multiple_of(SECTOR)
    };
    let mut begin = 0_usize;
    rest.chunk_by(|a, b| (*a == 0) == (*b == 0)).any(|run| {
        let end = begin.saturating_add(run.len());
        let hole = run.first() == Some(&0) && is_edge(begin) && is_edge(end);
        begin = end;
        hole
    })
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
