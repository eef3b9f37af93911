//! Recovery: what a store that was put back from a backup lacks, and how the log gives it back.
//!
//! Store and log each hold the other's last position. Before anything is served, [`decide`] compares them. When the store
//! is behind, [`redo`] collects from the log the changes that must never be lost, and gives batches that make them again. They
//! are made in a new incarnation: counters of this one may have been served with other content, and that its data is not all
//! that there was stays known.
//!
//! Redoing is monotone: only changes of revisions that the store does not hold are made, of each key only the last, and
//! those values may stand for ever ([`Batch::put_lasting`]). A revoked thing stays revoked, and a use stays spent,
//! whatever is redone, and however often.

use super::{
    Batch, CommitError, Effect, Expect, Key, LogId, LogPosition, Op, Revision, Store, StoreFault,
    StoreMember, TooLarge, Value,
};
use crate::limits;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Where the store's data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The newest revision.
    pub revision: Revision,
    /// The revisions at which the data parted from earlier incarnations, oldest first.
    pub ancestors: Vec<Revision>,
    /// How far the log had taken over the outbox, as the store knows it.
    pub log: Option<LogPosition>,
}

impl Lineage {
    /// The last revision of `incarnation` that the data holds.
    #[must_use]
    pub fn last_of(&self, incarnation: super::Incarnation) -> Option<Revision> {
        std::iter::once(&self.revision)
            .chain(self.ancestors.iter().rev())
            .find(|held| held.incarnation == incarnation)
            .copied()
    }

    /// Whether the data holds the changes of `revision`.
    #[must_use]
    pub fn holds(&self, revision: &Revision) -> bool {
        self.last_of(revision.incarnation)
            .is_some_and(|last| last.covers(revision))
    }
}

/// The end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The log.
    pub log: LogId,
    /// Sequence of its last durable record.
    pub sequence: u64,
    /// Revision of the last record that came from the store's outbox. Entries of the outbox that
    /// it covers ([`Revision::covers`]) are in the log already and are not appended again.
    pub taken: Option<Revision>,
    /// Sequence of that record.
    pub taken_at: Option<u64>,
}

/// What is to be done before anything is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The store holds everything that the log knows of.
    InStep,
    /// It does, and is to be told so: a crash came between the log's commit and the store's. What waits in its outbox
    /// up to there is in the log.
    Untold(LogPosition),
    /// The store lost revisions that the log saw: redo them from this record on.
    StoreBehind {
        /// Sequence of the first record to be read.
        from_sequence: u64,
    },
    /// The log lost records that the store saw: nothing can be redone.
    LogBehind,
    /// The log is not this store's: nothing can be redone.
    Foreign,
}

/// Compares the store with the end of the log, which is `None` for a log without records.
#[must_use]
pub fn decide(store: &Lineage, log: Option<&LogEnd>) -> Recovery {
    let Some(log) = log else {
        return match store.log {
            None => Recovery::InStep,
            Some(_) => Recovery::LogBehind,
        };
    };
    let taken = log.taken.zip(log.taken_at);
    if let Some(known) = &store.log {
        if known.log != log.log {
            return Recovery::Foreign;
        }
        if known.sequence > log.sequence {
            return Recovery::LogBehind;
        }
        // Of the changes that the store makes by now it was told of each that the log took: one that it was not told of, and
        // that stands before the others, was not written by this broker.
        let is_told = |(revision, _): &(Revision, u64)| {
            revision.incarnation != store.revision.incarnation || revision.counter <= known.counter
        };
        if taken.is_some_and(|taken| taken.1 <= known.sequence && !is_told(&taken)) {
            return Recovery::Foreign;
        }
        // Nothing came from the store since it was told: what the log took before then it held, or has redone.
        if known.sequence == log.sequence || taken.is_some_and(|(_, at)| at <= known.sequence) {
            return Recovery::InStep;
        }
    }
    match (taken, &store.log) {
        (None, None) => Recovery::InStep,
        (None, Some(_)) => Recovery::Foreign,
        (Some((revision, sequence)), _) if store.holds(&revision) => {
            Recovery::Untold(LogPosition {
                log: log.log,
                sequence,
                counter: revision.counter,
            })
        }
        // From a position in this very log on, it has whatever was changed since, under whichever incarnation.
        (Some(_), Some(known)) => Recovery::StoreBehind {
            from_sequence: known.sequence.saturating_add(1),
        },
        (Some((revision, _)), None) if store.last_of(revision.incarnation).is_some() => {
            Recovery::StoreBehind { from_sequence: 0 }
        }
        (Some(_), None) => Recovery::Foreign,
    }
}

/// Why the log does not give back everything. The broker must not start without an operator's word.
#[derive(Debug, thiserror::Error)]
pub enum RedoError {
    /// A record could not be read, or is not what the broker wrote there; the reason is for the operator.
    #[error("{0}")]
    Log(String),
    /// The `store` member of a record is not what this program writes.
    #[error("record {sequence} has a store member that cannot be read: {error}")]
    Member {
        /// The record.
        sequence: u64,
        /// What is wrong.
        #[source]
        error: serde_json::Error,
    },
    /// Records are missing or in disorder.
    #[error("the log has a gap or is in disorder near record {0}")]
    Gap(u64),
    /// The store knows no position in the log, and the log may have been begun anew since.
    #[error(
        "record {0} accepts that changes were lost, and the backup is from before: the log does not have them"
    )]
    Lost(u64),
    /// More keys than [`limits::STORE_REDO`].
    #[error("too much to redo; put back a newer backup")]
    TooMuch,
}

/// The changes that the store lacks: of each key the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redo {
    changes: BTreeMap<Key, Op>,
    /// Counter of the last change of the store that the log has: what waits in the outbox up to there it has too, because
    /// an outbox is drained in order.
    pub held: u64,
}

/// Collects what `store` lacks. `members` are sequence and JSON of the `store` member of every record that has
/// one, from [`Recovery::StoreBehind`]'s `from_sequence` to the log's end, in order.
///
/// # Errors
/// [`RedoError`], also when the records do not reach `taken`, the log's own last.
pub fn redo<E: fmt::Display>(
    store: &Lineage,
    taken: Revision,
    members: impl IntoIterator<Item = Result<(u64, String), E>>,
) -> Result<Redo, RedoError> {
    let mut redo = Redo {
        held: store.log.map_or(0, |known| known.counter),
        ..Redo::default()
    };
    let mut last: Option<(u64, Revision)> = None;
    for member in members {
        let (sequence, text) = member.map_err(|error| RedoError::Log(error.to_string()))?;
        let member: StoreMember =
            serde_json::from_str(&text).map_err(|error| RedoError::Member { sequence, error })?;
        // The outbox is drained in the order of revisions, so the log has them in that order.
        let ordered = last.is_none_or(|(before, revision)| {
            before < sequence
                && (revision.incarnation != member.rev.incarnation
                    || revision.counter < member.rev.counter)
        });
        if !ordered {
            return Err(RedoError::Gap(sequence));
        }
        last = Some((sequence, member.rev));
        if store.holds(&member.rev) {
            redo.held = redo.held.max(member.rev.counter);
            continue;
        }
        for Effect(op) in member.effect {
            if store.log.is_none() && op.key().as_str() == CUTOFF {
                return Err(RedoError::Lost(sequence));
            }
            redo.changes.insert(op.key().clone(), op);
        }
        if redo.changes.len() > limits::STORE_REDO {
            return Err(RedoError::TooMuch);
        }
    }
    match last {
        Some((_, revision)) if revision == taken => Ok(redo),
        Some((sequence, _)) => Err(RedoError::Gap(sequence)),
        None => Err(RedoError::Gap(0)),
    }
}

impl Redo {
    /// How many keys are to be changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes as batches that may use the reserve. Committing some of them, or all of them twice, does no harm;
    /// when all are committed the store is told the log's end, up to [`Redo::held`] ([`Store::drained`]).
    ///
    /// # Errors
    /// [`TooLarge`] never, as each change was in a batch before.
    pub fn batches(self) -> Result<Vec<Batch>, TooLarge> {
        let mut batches = Vec::new();
        let mut batch = Batch::new().reserved();
        for op in self.changes.into_values() {
            batch = match with(batch.clone(), op.clone()) {
                Ok(grown) => grown,
                Err(TooLarge) => {
                    batches.push(batch);
                    with(Batch::new().reserved(), op)?
                }
            };
        }
        if !batch.ops().is_empty() {
            batches.push(batch);
        }
        Ok(batches)
    }
}

fn with(batch: Batch, op: Op) -> Result<Batch, TooLarge> {
    match op {
        Op::Put(key, value) => batch.put(key, value),
        Op::Delete(key) => batch.delete(key),
    }
}

/// Key of the cut-off: tokens issued up to it are refused.
pub const CUTOFF: &str = "meta/cutoff";

/// The value at [`CUTOFF`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutOff {
    /// Format version of this value; 1.
    pub version: u8,
    /// No token issued at or before this instant is good.
    pub at: Timestamp,
}

/// Why a rollback could not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The store refused, or its answer is not known: ask again.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store did not answer.
    #[error(transparent)]
    Fault(#[from] StoreFault),
    /// The cut-off that is stored cannot be read or written.
    #[error("the cut-off cannot be read or written: {0}")]
    Value(String),
}

async fn stored_cut_off(store: &dyn Store) -> Result<Option<(CutOff, u64)>, RollbackError> {
    let bad = |error: &dyn fmt::Display| RollbackError::Value(error.to_string());
    let key = Key::new(CUTOFF).map_err(|error| bad(&error))?;
    let Some(entry) = store.read(&key).await? else {
        return Ok(None);
    };
    let cutoff = serde_json::from_slice(entry.value.as_bytes()).map_err(|error| bad(&error))?;
    Ok(Some((cutoff, entry.modified)))
}

/// Accepts that the store lost what the log cannot give back (`--accept-rollback`): commits `suspensions`, the
/// inventory's batches that suspend every use-limited key, and then the cut-off at `now` with its `record`, and answers
/// what is cut off by now: the cut-off never moves back. When it is there, the suspensions are.
///
/// # Errors
/// [`RollbackError`]; it can be called again.
pub async fn accept_rollback(
    store: &dyn Store,
    now: Timestamp,
    suspensions: Vec<Batch>,
    record: &[u8],
) -> Result<CutOff, RollbackError> {
    let bad = |error: &dyn fmt::Display| RollbackError::Value(error.to_string());
    for batch in suspensions {
        store.commit(batch.reserved()).await?;
    }
    let key = Key::new(CUTOFF).map_err(|error| bad(&error))?;
    let mut cutoff = CutOff {
        version: 1,
        at: now,
    };
    let mut expect = Expect::Absent;
    if let Some((before, modified)) = stored_cut_off(store).await? {
        cutoff.at = cutoff.at.max(before.at);
        expect = Expect::Unmodified(modified);
    }
    let value = serde_json::to_vec(&cutoff).map_err(|error| bad(&error))?;
    let batch = Value::new(value)
        .and_then(|value| {
            Batch::new()
                .expect(key.clone(), expect)?
                .put_lasting(key, value)
        })
        .and_then(|batch| batch.record(record))
        .map_err(|error| bad(&error))?;
    store.commit(batch.reserved()).await?;
    Ok(cutoff)
}
