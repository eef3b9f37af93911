//! Removing what is old: whole segments, the oldest first.
//!
//! A segment ended when the first record after it was made: a leaf of the tree, which stays. Its time counts once its hash is
//! the tree's, and the act that tells of the removal says it. What a header says of when a segment was begun is nobody's word:
//! by that, whoever may write to the folder could have what is young removed, and the removal signed for.
//!
//! The hashes of what is removed are left in the tiles alone, and what they say of a record can be seen from nothing else. So a
//! segment is held against them first: a tile that is wrong is written anew while its records are there, and a segment whose
//! records are not the tree's stays, and is told of.
//!
//! Hash tiles stay for ever, so that every checkpoint and proof stays good. What a crash leaves behind:
//!
//! | crash after | the log |
//! |---|---|
//! | the act is durable | says that it begins later, and begins where it did |
//! | a checkpoint is of it | the same, signed |
//! | some of the segments are removed | begins no later than it says; the rest goes after the next start, with an act of its own |
//!
//! So nobody but who holds the log's key makes a log that begins later and verifies.

use super::archive::{Archive, Form};
use super::device::Segments;
use super::log::Log;
use super::publisher::Publisher;
use super::read::{ReadError, records};
use super::record::{Act, ActKind, PRUNE};
use super::seen::Seen;
use crate::limits;
use crate::refusal::Denial;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What must stay, whatever its age: records that somebody has not taken yet.
#[derive(Clone, Debug, Default)]
pub struct Holds(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    from: BTreeMap<u64, u64>,
}

/// One who has not taken all records yet. Nothing is held once this is dropped.
#[derive(Debug)]
pub struct Hold {
    holds: Holds,
    id: u64,
}

impl Holds {
    /// Keeps the record `from` and all after it.
    #[must_use]
    pub fn hold(&self, from: u64) -> Hold {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = held.next;
        held.next = id.saturating_add(1);
        held.from.insert(id, from);
        let holds = self.clone();
        Hold { holds, id }
    }

    /// The first record that must stay, if any must.
    #[must_use]
    pub fn least(&self) -> Option<u64> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.from.values().min().copied()
    }
}

impl Hold {
    /// From now on it is the records from `from` on.
    pub fn raise(&self, from: u64) {
        let mut held = self.holds.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.from.insert(self.id, from);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.from.remove(&self.id);
    }
}

/// Why nothing is removed.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// A segment's age cannot be told, or a record of it cannot be read or is not the one that was logged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file cannot be removed, or the tree not be read.
    #[error("a segment cannot be removed: {0}")]
    Io(#[from] io::Error),
    /// The removal is not on the record.
    #[error("the removal is not on the record: {0}")]
    Unrecorded(Denial),
}

/// Removes old segments.
#[derive(Debug)]
pub struct Pruner {
    archive: Arc<dyn Archive>,
    log: Log,
    publisher: Arc<Publisher>,
    holds: Holds,
    retention: Duration,
    /// The last act: the first record that remains by it, and its own sequence.
    told: Option<(u64, u64)>,
    is_held: bool,
    checked: Checked,
    at_once: u64,
}

/// What is known of the records that are old.
#[derive(Clone, Copy, Debug, Default)]
struct Checked {
    /// Those before this one were held against the tree.
    until: u64,
    /// One that was found not to be the tree's.
    changed: Option<u64>,
}

impl Pruner {
    /// Removes segments of `log`, which `publisher` publishes, from `archive`, once they are as old as `retention`.
    #[must_use]
    pub fn new(
        archive: Arc<dyn Archive>,
        log: Log,
        publisher: Arc<Publisher>,
        holds: Holds,
        retention: Duration,
    ) -> Self {
        Self {
            archive,
            log,
            publisher,
            holds,
            retention,
            told: None,
            is_held: false,
            checked: Checked::default(),
            at_once: limits::PRUNE_AT_ONCE,
        }
    }

    /// Puts it on the record that segments which are old by now go, and, once a checkpoint is of that record, removes them.
    /// Answers the first record that remains, if any were removed.
    ///
    /// # Errors
    /// [`PruneError`]; the next call tries again.
    pub async fn step(&mut self, now: Timestamp) -> Result<Option<u64>, PruneError> {
        let Ok(before) = now.checked_sub(self.retention) else {
            return Ok(None);
        };
        let mut look = Look {
            archive: Arc::clone(&self.archive),
            publisher: Arc::clone(&self.publisher),
            holds: self.holds.clone(),
            told: self.told.unwrap_or_default(),
            checked: self.checked,
            at_once: self.at_once,
        };
        let looked = tokio::task::spawn_blocking(move || (look.remove(before), look.checked));
        let (due, checked) = looked.await.map_err(io::Error::other)?;
        self.checked = checked;
        let due = due?;
        self.is_held = matches!(due, Due::Held);
        match due {
            Due::Nothing | Due::Held => Ok(None),
            Due::Removed(first) => Ok(Some(first)),
            Due::Telling(Remains { first, ended }) => {
                let retention = self.retention.as_secs();
                let change =
                    format!(r#"{{"first":{first},"ended":"{ended}","retention":{retention}}}"#);
                let act = Act {
                    change: Some(&change),
                    ..Act::new(ActKind::Retention, PRUNE)
                };
                let receipt = self.log.event(&act).await;
                let receipt = receipt.map_err(PruneError::Unrecorded)?;
                self.told = Some((first, receipt.index));
                Ok(None)
            }
        }
    }

    /// Whether the last step found that what is old stays, only because somebody has not taken it yet.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held
    }
}

/// What there was to do.
enum Due {
    Nothing,
    /// What is old must stay.
    Held,
    /// This is to be told.
    Telling(Remains),
    /// This is the first record that remains.
    Removed(u64),
}

/// The first record that is to remain, and when those before it ended, which is its time.
struct Remains {
    first: u64,
    ended: Timestamp,
}

/// A look at what there is, and what may go by what was told.
struct Look {
    archive: Arc<dyn Archive>,
    publisher: Arc<Publisher>,
    holds: Holds,
    told: (u64, u64),
    checked: Checked,
    at_once: u64,
}

impl Look {
    fn remove(&mut self, before: Timestamp) -> Result<Due, PruneError> {
        let due = self.due(before)?;
        let Due::Telling(remains) = &due else {
            return Ok(due);
        };
        let firsts = self.archive.segments()?;
        let (told, at) = self.told;
        let limit = told.min(remains.first);
        let gone: Vec<u64> = firsts.into_iter().filter(|first| *first < limit).collect();
        if gone.is_empty() {
            return Ok(due);
        }
        if at >= self.publisher.size() {
            return Ok(Due::Nothing);
        }
        for first in gone {
            self.archive.remove(first, Form::Index)?;
            self.archive.remove(first, Form::Packed)?;
        }
        Ok(Due::Removed(limit))
    }

    /// What would be to be told, had nothing been.
    fn due(&mut self, before: Timestamp) -> Result<Due, PruneError> {
        let held = self.holds.least().unwrap_or(u64::MAX);
        let firsts = self.archive.segments()?;
        let mut due = Due::Nothing;
        let mut checked = 0_u64;
        for (first, next) in firsts.iter().zip(firsts.iter().skip(1)) {
            if self.archive.has(*first, Form::Plain)? {
                break;
            }
            let Some(ended) = self.ended(*next)?.filter(|ended| *ended <= before) else {
                break;
            };
            if *next > held {
                return Ok(match due {
                    Due::Nothing => Due::Held,
                    due => due,
                });
            }
            if *next > self.checked.until {
                if checked >= self.at_once {
                    break;
                }
                match self.check(*first..*next) {
                    // Those before it may go all the same; it is told of once they have.
                    Err(_) if matches!(due, Due::Telling(_)) => break,
                    checked => checked?,
                }
                checked = checked.saturating_add(next.saturating_sub(*first));
            }
            let first = *next;
            due = Due::Telling(Remains { first, ended });
        }
        Ok(due)
    }

    /// Holds the records of a segment against the tree. One that was found changed comes first, so that they are not all read
    /// again each time.
    fn check(&mut self, records: Range<u64>) -> Result<(), PruneError> {
        let changed = self.checked.changed.filter(|at| records.contains(at));
        let changed = changed.map(|at| at..at.saturating_add(1));
        for some in changed.into_iter().chain([records.clone()]) {
            self.checked.changed = self.publisher.keep_hashes(some)?;
            if let Some(record) = self.checked.changed {
                return Err(ReadError::Changed(record).into());
            }
        }
        self.checked.until = records.end;
        Ok(())
    }

    /// When the segment before the record `next` ended; none where no checkpoint is of that record yet.
    fn ended(&self, next: u64) -> Result<Option<Timestamp>, PruneError> {
        let Some(hash) = self.publisher.hash_of(next)? else {
            return Ok(None);
        };
        let mut all = records(Arc::clone(&self.archive) as Arc<dyn Segments>, next)?;
        let entry = all.next().ok_or(ReadError::Missing(next))??;
        let entry = entry.held_to(hash)?;
        let seen = Seen::read(&entry.line).map_err(|_| ReadError::Unreadable(next))?;
        Ok(Some(seen.time))
    }
}

#[cfg(test)]
mod tests;
