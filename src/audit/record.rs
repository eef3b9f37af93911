//! Records: one JSON object a line (DESIGN.md section 8).
//!
//! The caller encodes the object without its place; the writer puts that around it while it copies the bytes:
//! `{"v":1,"seq":7,`, then the object without its braces, then `,"batch":5}`.
//!
//! Whose a record is decides who sees it: those who read for some owners see the records with one of these in `owner`.
//!
//! | kind | of what | `owner` |
//! |---|---|---|
//! | `issue`, `refuse` | a verified caller: an API key, or a token that descends from one | the key's |
//! | | the same of a certificate | none: certificates have no owner |
//! | `refuse` | a registered key, or a token of one, before it is verified | the key's |
//! | | an id that no key has, and who was not named at all | none |
//! | | a peer that a call of administration, reading or watching tells no, by its method | none |
//! | `refusals` | what was only counted | none: they are of many |
//! | `admin` `key.*` | a key: made, rotated, suspended, resumed, revoked, found leaked and revoked | the key's |
//! | `admin` `marker.*` | a token that was shown, the tokens of a key, or its subject | the key's |
//! | | anything else that is revoked by itself, and a token of which only the id is known | none |
//! | `admin` `audience.*` | an audience | the audience's |
//! | `admin` `policy.*`, `store.backup`, `clock.confirm` | what all have in common | none |
//! | `recovery` `key.suspend` | a key, where a rollback is accepted | the key's |
//! | `spend` | a use of a key | the key's |
//! | `admin` `policy.reload`, `trust.reload` | files that were read again | none |
//! | `keys`, `start`, `stop`, `recovery`, `retention`, `checkpoint`, `gap` | the broker itself | none |
//!
//! What a credential did as the actor of another's is the other's; where the actor's key itself is refused, that is its own
//! owner's.

mod act;
mod encode;
mod fields;
mod refusal;

use crate::keys::MacKey;
use crate::limits;
use crate::marker::Part;
use crate::refusal::{Code, Refusal};
use crate::store::{LogId, OutboxEntry, Revision, StoreMember};
use serde::{Deserialize, Serialize};
use std::io::Write as _;

pub use act::{
    Act, ActKind, CHECKPOINT, CLOCK_CONFIRMED, MARKER_REINSTATED, MARKER_SET, PRUNE,
    ROLLBACK_ACCEPTED, SIGNING_KEY_COMPROMISED,
};
pub use encode::Encoder;
pub(super) use refusal::Group;

/// Version of the record format.
const VERSION: u8 = 1;
/// Room for what the writer adds: version, place and either a store revision with its tag or the marker that
/// turned an issue into a refusal (a key id of [`limits::KEY_ID`] bytes, each escaped).
const LEAD: usize = 1024;
/// Every kind of record.
pub const KINDS: [&str; 12] = [
    "issue",
    "refuse",
    "refusals",
    ActKind::Admin.name(),
    ActKind::Spend.name(),
    ActKind::Keys.name(),
    ActKind::Start.name(),
    ActKind::Stop.name(),
    ActKind::Recovery.name(),
    ActKind::Retention.name(),
    ActKind::Checkpoint.name(),
    "gap",
];
/// What the gap record says with which another log begins in the place of the one so far: what the store held, revocations among
/// it, may be forgotten.
pub(super) const BEGUN_ANEW: &str = "a rollback was accepted";
/// How every line begins, before its sequence.
pub(super) const BEGIN: &str = r#"{"v":1,"seq":"#;
/// Largest encoded object.
const BODY: usize = limits::RECORD - LEAD;
/// How an issue begins, so that the writer can turn it into a refusal.
const ISSUE: &[u8] = br#"{"kind":"issue","#;

/// An encoded record that has no place in the log yet: one JSON object on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record(Vec<u8>);

/// Why there is no record. Nothing may be issued without one.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Over its bound.
    #[error("the record has {0} bytes, which is over the bound")]
    Oversize(usize),
    /// The policy input, a change or an outbox entry is not JSON as it should be.
    #[error("part of the record is not the JSON it should be: {0}")]
    Json(#[from] serde_json::Error),
    /// No salt could be made.
    #[error(transparent)]
    Salt(#[from] crate::clock::NoRandomness),
    /// An outbox entry is not a record that may come from there.
    #[error("not a record of an act on one line")]
    Foreign,
}

impl Record {
    fn encode(value: &impl Serialize) -> Result<Self, RecordError> {
        let mut bytes = Vec::with_capacity(2048);
        serde_json::to_writer(&mut bytes, value)?;
        Self::bounded(bytes)
    }

    fn bounded(bytes: Vec<u8>) -> Result<Self, RecordError> {
        if bytes.len() > BODY {
            Err(RecordError::Oversize(bytes.len()))
        } else {
            Ok(Self(bytes))
        }
    }

    /// Reads a record back that an [`Encoder`] made and the store's outbox kept.
    ///
    /// # Errors
    /// [`RecordError`] when it is none, or not one of an act: issues do not come from the outbox.
    pub fn from_outbox(bytes: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Shape {
            #[serde(rename = "kind")]
            _kind: ActKind,
        }
        if bytes.contains(&b'\n') || !bytes.starts_with(br#"{"kind":""#) || !bytes.ends_with(b"}") {
            return Err(RecordError::Foreign);
        }
        let _: Shape = serde_json::from_slice(bytes)?;
        Self::bounded(bytes.to_vec())
    }

    /// The encoded object.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What it takes in a batch at most, the writer's part included.
    pub(super) fn room(&self) -> usize {
        self.0.len().saturating_add(LEAD)
    }

    /// Appends the record's line to `out`.
    pub(super) fn line(&self, out: &mut Vec<u8>, place: Place) {
        start(out, place);
        finish(out, self.0.strip_prefix(b"{"), place);
    }

    /// Appends an issue's line as the refusal that a marker made of it at the last moment.
    pub(super) fn line_as_refused(&self, out: &mut Vec<u8>, place: Place, refusal: &Refusal) {
        start(out, place);
        let code = refusal.code().code();
        let _ = write!(out, r#""kind":"refuse","code":"{code}","detail":"#);
        let _ = serde_json::to_writer(&mut *out, refusal.detail());
        out.push(b',');
        finish(out, self.0.strip_prefix(ISSUE), place);
    }
}

/// Where a record stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its sequence.
    pub(super) sequence: u64,
    /// The sequence of the first record that was made durable together with it.
    pub(super) batch: u64,
}

/// The action that stands in for a record of the store's outbox that cannot be read.
pub(super) const UNREADABLE: &str = "outbox.unreadable";

/// A record that was committed in the store, with what the log must hold of that commit: its revision and
/// the changes that must never be lost.
#[derive(Clone, Debug)]
pub(super) struct StoreRecord {
    revision: Revision,
    member: Vec<u8>,
    record: Record,
    author: Author,
}

/// Who writes a log's records of the store's changes, and knows them again: what is done once more from the log, when the
/// store was put back from a backup, is what this broker had committed there, and nothing that somebody else wrote into the
/// log's folder.
#[derive(Clone, Debug)]
pub struct Author {
    key: MacKey,
    log: LogId,
}

impl Author {
    /// What the key is derived for ([`crate::keys::Kek::mac_key`]).
    pub const PURPOSE: &'static str = "cambist store changes in the log";

    pub(super) fn new(key: MacKey, log: LogId) -> Self {
        Self { key, log }
    }

    /// Whether a record's `store` member, as it stands there, was written by this broker in this place, next to that of the
    /// record `after`.
    #[must_use]
    pub fn wrote(&self, sequence: u64, after: Option<u64>, member: &str, tag: &str) -> bool {
        let text = self.text(sequence, after, member.as_bytes());
        self.key.is_tag(tag, &text)
    }

    /// A change is one of its place: it does not count in another, nor without the one before it.
    fn text(&self, sequence: u64, after: Option<u64>, member: &[u8]) -> Vec<u8> {
        let after = after.map_or_else(String::new, |after| after.to_string());
        let place = format!("{}\n{sequence}\n{after}\n", String::from(self.log));
        [place.as_bytes(), member].concat()
    }
}

impl StoreRecord {
    /// Joins an outbox entry and its record, read back.
    ///
    /// # Errors
    /// [`RecordError::Oversize`], which the bounds of a batch exclude.
    pub(super) fn new(
        entry: &OutboxEntry,
        record: Record,
        author: Author,
    ) -> Result<Self, RecordError> {
        let member = serde_json::to_vec(&StoreMember::from(entry))?;
        let joined = Self {
            revision: entry.revision,
            member,
            record,
            author,
        };
        match joined.room() {
            room if room > limits::RECORD => Err(RecordError::Oversize(room)),
            _ => Ok(joined),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// As [`Record::room`].
    pub(super) fn room(&self) -> usize {
        self.record.room().saturating_add(self.member.len())
    }

    /// Appends the record's line to `out`; `after` is the last one that came from the store before.
    pub(super) fn line(&self, out: &mut Vec<u8>, place: Place, after: Option<u64>) {
        start(out, place);
        out.extend_from_slice(br#""store":"#);
        out.extend_from_slice(&self.member);
        if let Some(after) = after {
            let _ = write!(out, r#","store_after":{after}"#);
        }
        let text = self.author.text(place.sequence, after, &self.member);
        let tag = self.author.key.tag(&text);
        let _ = write!(out, r#","store_mac":"{tag}","#);
        finish(out, self.record.0.strip_prefix(b"{"), place);
    }
}

impl From<Record> for std::sync::Arc<[u8]> {
    fn from(record: Record) -> Self {
        record.0.into()
    }
}

/// What a marker that came into force between decision and record makes of an issue. One that is too early is not revoked for
/// good: the next one, of a later second, is issued.
pub(super) fn fenced(part: &Part, is_too_early: bool) -> Refusal {
    let (kind, id) = (part.kind.name(), part.id);
    match is_too_early {
        true => Refusal::new(
            Code::TooBusy,
            format!("issued in the last second of the cut-off of the {kind} marker {id}"),
        ),
        false => Refusal::new(
            Code::Revoked,
            format!("revoked before it was recorded, by the {kind} marker {id}"),
        ),
    }
}

fn start(out: &mut Vec<u8>, place: Place) {
    let _ = write!(out, "{BEGIN}{},", place.sequence);
}

/// The batch comes last, where the smallest rest of a line still tells it.
fn finish(out: &mut Vec<u8>, rest: Option<&[u8]>, place: Place) {
    if let Some(members) = rest.and_then(|rest| rest.strip_suffix(b"}")) {
        out.extend_from_slice(members);
        out.push(b',');
    }
    let _ = writeln!(out, r#""batch":{}}}"#, place.batch);
}

/// The batch that a line was of, where `end` is what is left of it in front of its newline. No other member of a record
/// looks like it there: in a string the quotes would be escaped, and after an inner object a further brace would follow.
pub(super) fn batch_of(end: &[u8]) -> Option<u64> {
    let member = end.strip_suffix(b"}")?;
    let digits = member.rsplit(|byte| *byte == b':').next()?;
    let name = member.strip_suffix(digits)?;
    let number = std::str::from_utf8(digits).ok()?;
    name.ends_with(br#","batch":"#)
        .then(|| number.parse().ok())
        .flatten()
}

/// What recovery needs of the `store` member: the lasting changes are skipped.
#[derive(Debug, Deserialize)]
struct Position {
    rev: String,
}

/// What recovery and readers need of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    v: u8,
    seq: u64,
    #[serde(rename = "batch")]
    _batch: u64,
    #[serde(default)]
    store: Option<Position>,
    /// Time of an issue in seconds: what the time guard gave out.
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    action: Option<String>,
}

impl Head {
    /// Reads a whole line, without its newline.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let head: Self = serde_json::from_slice(line).ok()?;
        (head.v == VERSION).then_some(head)
    }

    pub(super) fn sequence(&self) -> u64 {
        self.seq
    }

    pub(super) fn store(&self) -> Option<Revision> {
        self.store
            .as_ref()
            .and_then(|position| position.rev.parse().ok())
    }

    pub(super) fn issued_at(&self) -> Option<i64> {
        self.iat
    }

    pub(super) fn confirms_clock(&self) -> bool {
        self.action.as_deref() == Some(CLOCK_CONFIRMED)
    }

    pub(super) fn tells_of_removal(&self) -> bool {
        self.action.as_deref() == Some(PRUNE)
    }
}
