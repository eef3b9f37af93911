//! The proofs that passed, for as long as they could pass again.

use super::error::ProofError;
use crate::limits;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Half of a SHA-256, of a key's thumbprint and what it calls the proof.
pub(super) type Id = [u8; 16];

/// How many are forgotten, at most, when one is added: more than one, so that it always gets ahead of what comes in.
const FORGOTTEN: usize = 16;

/// What is remembered, up to so many. Nothing makes room but time.
pub(super) struct Seen {
    most: usize,
    held: Mutex<Held>,
}

struct Held {
    ids: HashSet<Id>,
    /// The same by the second that they were made in.
    by_second: BTreeMap<i64, Vec<Id>>,
    /// The last second of which something was forgotten. Whatever is as old does not pass, even when the clock is set back.
    forgotten: i64,
}

impl Seen {
    pub(super) fn new(most: usize) -> Self {
        let held = Held {
            ids: HashSet::new(),
            by_second: BTreeMap::new(),
            forgotten: i64::MIN,
        };
        Self {
            most,
            held: Mutex::new(held),
        }
    }

    /// Takes one in that was made in this second, unless it is there.
    pub(super) fn spend(&self, id: Id, made: i64, now: Timestamp) -> Result<(), ProofError> {
        let mut held = self.held();
        held.forget(now);
        if made <= held.forgotten {
            return Err(ProofError::Old);
        }
        if held.ids.contains(&id) {
            return Err(ProofError::Replayed);
        }
        if held.ids.len() >= self.most {
            return Err(ProofError::Full);
        }
        held.ids.insert(id);
        held.by_second.entry(made).or_default().push(id);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.held().ids.len()
    }

    #[cfg(test)]
    pub(super) fn most(&self) -> usize {
        self.most
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn forget(&mut self, now: Timestamp) {
        for _ in 0..FORGOTTEN {
            let Some(mut oldest) = self.by_second.first_entry() else {
                return;
            };
            let made = *oldest.key();
            if !is_too_old(made, now) {
                return;
            }
            self.forgotten = self.forgotten.max(made);
            match oldest.get_mut().pop() {
                Some(id) => {
                    self.ids.remove(&id);
                }
                None => {
                    oldest.remove();
                }
            }
        }
    }
}

/// Whether what was made in this second passes no more.
pub(super) fn is_too_old(made: i64, now: Timestamp) -> bool {
    let age = now.as_second().saturating_sub(made);
    u64::try_from(age).is_ok_and(|age| age > limits::DPOP_AGE.as_secs())
}
