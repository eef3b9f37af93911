//! Removing what is old: whole segments, the oldest first.
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
use super::read::{ReadError, damaged};
use super::record::{Act, ActKind, PRUNE};
use super::segment::Lines;
use crate::refusal::Denial;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// A segment's age cannot be told.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file cannot be removed.
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
    holds: Holds,
    /// The last act: the first record that remains by it, and its own sequence.
    told: Option<(u64, u64)>,
}

impl Pruner {
    /// Removes segments of `log` from `archive`.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>, log: Log, holds: Holds) -> Self {
        Self {
            archive,
            log,
            holds,
            told: None,
        }
    }

    /// Puts it on the record that segments with nothing from `before` or later go, and, once a checkpoint is of that record,
    /// removes them. `published` is how many records the last checkpoint is of. Answers the first record that remains, if any
    /// were removed.
    ///
    /// # Errors
    /// [`PruneError`]; the next call tries again.
    pub async fn step(
        &mut self,
        before: Timestamp,
        published: u64,
    ) -> Result<Option<u64>, PruneError> {
        let look = Look {
            archive: Arc::clone(&self.archive),
            holds: self.holds.clone(),
            told: self.told.unwrap_or_default(),
        };
        let looked = tokio::task::spawn_blocking(move || look.remove(before, published));
        match looked.await.map_err(io::Error::other)?? {
            Due::Nothing => Ok(None),
            Due::Removed(first) => Ok(Some(first)),
            Due::Telling(remains) => {
                let change = format!(r#"{{"first":{remains}}}"#);
                let act = Act {
                    change: Some(&change),
                    ..Act::new(ActKind::Retention, PRUNE)
                };
                let receipt = self.log.event(&act).await;
                let receipt = receipt.map_err(PruneError::Unrecorded)?;
                self.told = Some((remains, receipt.index));
                Ok(None)
            }
        }
    }
}

/// What there was to do.
enum Due {
    Nothing,
    /// This is to be told as the first record that remains.
    Telling(u64),
    /// This is the first record that remains.
    Removed(u64),
}

/// A look at what there is, and what may go by what was told.
struct Look {
    archive: Arc<dyn Archive>,
    holds: Holds,
    told: (u64, u64),
}

impl Look {
    fn remove(&self, before: Timestamp, published: u64) -> Result<Due, PruneError> {
        let Some(remains) = self.remains(before, published)? else {
            return Ok(Due::Nothing);
        };
        let firsts = self.archive.segments()?;
        let (told, at) = self.told;
        let limit = told.min(remains);
        let gone: Vec<u64> = firsts.into_iter().filter(|first| *first < limit).collect();
        if gone.is_empty() {
            return Ok(Due::Telling(remains));
        }
        if at >= published {
            return Ok(Due::Nothing);
        }
        for first in gone {
            self.archive.remove(first, Form::Index)?;
            self.archive.remove(first, Form::Packed)?;
        }
        Ok(Due::Removed(limit))
    }

    /// The first record that is to remain; none where that is the first one there is.
    fn remains(&self, before: Timestamp, published: u64) -> Result<Option<u64>, PruneError> {
        let held = self.holds.least().unwrap_or(u64::MAX);
        let firsts = self.archive.segments()?;
        let mut remains = None;
        for (first, next) in firsts.iter().zip(firsts.iter().skip(1)) {
            // What it holds was written before the next one was begun.
            let old = *next <= held.min(published)
                && !self.archive.has(*first, Form::Plain)?
                && created(&*self.archive, *next)? <= before;
            if !old {
                break;
            }
            remains = Some(*next);
        }
        Ok(remains)
    }
}

/// When a segment was begun.
fn created(segments: &dyn Segments, first: u64) -> Result<Timestamp, ReadError> {
    let lines = Lines::open(segments.read(first)?, first);
    let lines = lines.map_err(|damage| damaged(first, damage))?;
    Ok(lines.header.created)
}

#[cfg(test)]
mod tests;
