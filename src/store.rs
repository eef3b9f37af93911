//! The store: an ordered log of changes over keys, behind one trait (DESIGN.md section 4).
//!
//! # The contract
//!
//! Every implementation keeps all of this, and `tests/it/store_conformance.rs` holds each to it.
//!
//! - **Keys and values.** A [`Key`] is 1 to [`limits::STORE_KEY`] bytes; a [`Value`] at most
//!   [`limits::STORE_VALUE`]. A [`Batch`] holds at most [`limits::STORE_BATCH`] operations and
//!   [`limits::STORE_BATCH_BYTES`]. The bounds are kept by the types: what is too large cannot be built.
//! - **Revisions.** A committed batch gets one [`Revision`], whose counter is one above the last.
//!   Counters are only comparable within one incarnation. A new incarnation begins when the data
//!   is not the continuation of what was served before (a backup was put back).
//! - **Commit.** All of a batch or nothing. Every [`Compare`] must hold at the moment of the commit. The
//!   outcome is *committed* (durable), *conflict* (a compare failed; nothing changed), *refused* (nothing
//!   changed, with the reason) or *unknown*: it may or may not have happened, now or later. A caller
//!   treats unknown as the worse of the two: a spend counts as spent.
//! - **Records.** A batch may carry one audit record. It is committed in the same transaction, kept in an
//!   outbox in the order of revisions, and taken out by [`Store::drained`] once it is durable in the log.
//! - **Lasting changes.** Revocations, spends and suspensions are marked ([`Batch::put_lasting`]) and travel with
//!   the record into the log, so that [`recovery`] can redo them on a store that was put back from a backup.
//!   A batch that has one and carries no record is refused.
//! - **Load.** Pages of one prefix in key order, all at one revision, which is returned with each page.
//! - **Watch.** From a revision: every later revision, whole, once, in order; then, while nothing
//!   changes, [`Event::Current`] at least every second with the instant at which the store confirmed
//!   that this revision is the newest. It may say [`Event::LoadAgain`] (history is gone, or a new
//!   incarnation): then the receiver loads everything again.
//! - **Reserve.** A batch marked [`Batch::reserved`] succeeds on a full disk as long as the reserve lasts.
//!   Where others are refused because too many wait, it waits for its place, at most [`limits::STORE_PLACE`].
//!   Only what takes something away (revocation, suspension), recovery, and what a start cannot do without use it.
//! - **Expiry** is a property of the value: nothing is deleted by time, and no change is emitted.

mod batch;
mod effect;
pub mod embedded;
pub mod mark;
pub mod recovery;
pub mod replica;
mod timed;

pub use batch::{Batch, Compare, Expect, Op};
pub use effect::{Effect, StoreMember};
pub use timed::Timed;

use crate::limits;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a store call returns: a future that any runtime thread may drive.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A key: a path such as `key/4kJ…`, at most [`limits::STORE_KEY`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// A key.
    ///
    /// # Errors
    /// [`TooLarge`] when empty or over its bound.
    pub fn new(text: &str) -> Result<Self, TooLarge> {
        if text.is_empty() || text.len() > limits::STORE_KEY {
            Err(TooLarge)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value of at most [`limits::STORE_VALUE`] bytes. `Debug` shows its length only: values hold hashes
/// and sealed keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// A value.
    ///
    /// # Errors
    /// [`TooLarge`] over the bound.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Result<Self, TooLarge> {
        let bytes = bytes.into();
        if bytes.len() > limits::STORE_VALUE {
            Err(TooLarge)
        } else {
            Ok(Self(bytes))
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

/// A key, value or batch is over its bound.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("over the store's bounds")]
pub struct TooLarge;

/// Which run of data a counter belongs to; random, chosen when the data is created or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u128);

/// A point in the store's history, opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// The run of data.
    pub incarnation: Incarnation,
    /// The position in it; 0 is the empty store.
    pub counter: u64,
}

impl Revision {
    /// Whether this revision includes everything that `other` does.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.incarnation == other.incarnation && self.counter >= other.counter
    }
}

impl FromStr for Revision {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Self, NotARevision> {
        let (incarnation, counter) = text.split_once('.').ok_or(NotARevision)?;
        if !counter.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(NotARevision);
        }
        Ok(Self {
            incarnation: hex128(incarnation).map(Incarnation).ok_or(NotARevision)?,
            counter: counter.parse().map_err(|_| NotARevision)?,
        })
    }
}

/// The text is not a revision as its `Display` writes it.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a revision of the store")]
pub struct NotARevision;

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}.{}", self.incarnation.0, self.counter)
    }
}

/// A stored key and value, and the counter of the revision that last wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    /// Counter of the last write; what [`Expect::Unmodified`] compares with.
    pub modified: u64,
}

/// Why a batch is not known to be committed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommitError {
    /// A precondition failed; nothing changed.
    #[error("a precondition does not hold")]
    Conflict,
    /// Nothing changed; the reason is for the operator.
    #[error("the store refused the change: {0}")]
    Refused(String),
    /// It may or may not have happened.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
}

/// A read failed; the reason is for the operator.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the store did not answer: {0}")]
pub struct StoreFault(pub String);

/// A page of entries.
#[derive(Clone, Debug)]
pub struct Page {
    /// Entries in key order.
    pub entries: Vec<Entry>,
    /// The revision that all pages of this load are at.
    pub revision: Revision,
    /// Pass this to [`Store::load`] for the next page; `None` when this was the last.
    pub next: Option<Cursor>,
}

/// Where a load goes on.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The last key served.
    pub after: Key,
    /// The revision of the first page.
    pub revision: Revision,
}

/// What a watch delivers.
#[derive(Clone, Debug)]
pub enum Event {
    /// One revision, whole.
    Changed {
        /// Its revision.
        revision: Revision,
        /// Its changes, in order.
        ops: Arc<[Op]>,
    },
    /// The store confirmed at `as_of` that `revision` is the newest.
    Current {
        /// The newest revision.
        revision: Revision,
        /// The instant of the confirmation.
        as_of: Timestamp,
    },
    /// The history asked for is gone, or the incarnation is new: load again.
    LoadAgain,
}

/// An audit record that waits in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The revision it was committed with.
    pub revision: Revision,
    /// The record as [`Batch::record`] took it.
    pub record: Arc<[u8]>,
    /// The batch's lasting changes, in order; the log keeps them with the record, as [`StoreMember`] shows.
    pub effects: Vec<Effect>,
}

/// Which log a position is in; random, chosen when the log is begun. A log that is begun anew has the origin of the one
/// that was lost, and in time its sequences too; one that was put back from an older copy has them at once, and gets a new
/// id when the rollback is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogId(pub u128);

impl From<LogId> for String {
    fn from(id: LogId) -> Self {
        format!("{:032x}", id.0)
    }
}

impl TryFrom<String> for LogId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        hex128(&text).map(Self).ok_or("not the id of a log")
    }
}

/// 128 bits as 32 hexadecimal digits.
fn hex128(text: &str) -> Option<u128> {
    let plain = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// How far the log had taken over the outbox: the log's last durable position, as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The log.
    pub log: LogId,
    /// Sequence of the log record that holds the last outbox entry taken over.
    pub sequence: u64,
    /// Counter of the store revision up to which the outbox is drained.
    pub counter: u64,
}

/// A store. See the module's documentation for the contract.
pub trait Store: fmt::Debug + Send + Sync {
    /// The newest revision.
    fn revision(&self) -> Reply<'_, Result<Revision, StoreFault>>;
    /// One entry as of now.
    fn read<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreFault>>;
    /// Several entries, each as of now, in the order of `keys`.
    fn read_each<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> Reply<'a, Result<Vec<Option<Entry>>, StoreFault>> {
        Box::pin(async move {
            let mut entries = Vec::with_capacity(keys.len());
            for key in keys {
                entries.push(self.read(key).await?);
            }
            Ok(entries)
        })
    }
    /// A page of the entries whose key starts with `prefix` (all entries when empty).
    fn load<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<Cursor>,
    ) -> Reply<'a, Result<Page, LoadError>>;
    /// Commits a batch.
    fn commit(&self, batch: Batch) -> Reply<'_, Result<Revision, CommitError>>;
    /// Every revision after `from`, through a bounded channel; the store drops a receiver that does not keep up
    /// after sending [`Event::LoadAgain`] or by closing the channel, which means the same.
    fn watch(&self, from: Revision) -> Reply<'_, Result<mpsc::Receiver<Event>, StoreFault>>;
    /// The oldest entries of the outbox, at most `limit`, in order of revision.
    fn outbox(&self, limit: usize) -> Reply<'_, Result<Vec<OutboxEntry>, StoreFault>>;
    /// Takes entries up to `position.counter` out of the outbox: they are durable in the log. A position
    /// behind the last one, or ahead of the store, is refused.
    fn drained(&self, position: LogPosition) -> Reply<'_, Result<(), StoreFault>>;
    /// What [`Store::drained`] was last told.
    fn log_position(&self) -> Reply<'_, Result<Option<LogPosition>, StoreFault>>;
}

/// Why a page cannot be had.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoadError {
    /// The revision of the first page is gone: start the load again.
    #[error("the revision of this load is gone")]
    Restart,
    /// The store did not answer.
    #[error(transparent)]
    Fault(#[from] StoreFault),
}

/// Every entry whose key starts with `prefix`, at one revision.
///
/// # Errors
/// [`StoreFault`], also when the load had to begin anew too often.
pub async fn load_all(store: &dyn Store, prefix: &str) -> Result<Vec<Entry>, StoreFault> {
    const ATTEMPTS: usize = 8;
    'restart: for _ in 0..ATTEMPTS {
        let (mut entries, mut cursor) = (Vec::new(), None);
        loop {
            let page = match store.load(prefix, cursor).await {
                Ok(page) => page,
                Err(LoadError::Restart) => continue 'restart,
                Err(LoadError::Fault(fault)) => return Err(fault),
            };
            entries.extend(page.entries);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(entries);
            }
        }
    }
    Err(StoreFault(
        "the store kept changing under a load".to_owned(),
    ))
}
