//! The proofs that passed, for as long as they could pass again.

use super::error::ProofError;
use crate::limits;
use jiff::Timestamp;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A key, by the first bytes of its thumbprint: whoever has one that begins alike shares its room, and nothing else.
pub(super) type Key = [u8; 8];

/// A proof, by its key and what that calls it. Short, since many are remembered: two that are taken for one are one refusal
/// too many, and never one too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) key: Key,
    /// The first bytes of a SHA-256, of the key's whole thumbprint and the proof's `jti`.
    pub(super) name: [u8; 8],
}

/// How many are forgotten, at most, when one is added: more than one, so that it always gets ahead of what comes in.
const FORGOTTEN: usize = 16;

/// What is remembered, up to so many, and up to a share of them of one key. Nothing makes room but time.
pub(super) struct Seen {
    most: usize,
    share: usize,
    held: Mutex<Held>,
}

struct Held {
    ids: HashSet<Id>,
    /// The same by the second that they were made in.
    by_second: BTreeMap<i64, Vec<Id>>,
    /// How many of each key; none has none.
    by_key: HashMap<Key, usize>,
    /// The last second of which something was forgotten. Whatever is as old does not pass, even when the clock is set back.
    forgotten: i64,
}

impl Seen {
    /// Remembers so many; one at least, since otherwise nothing ever passed.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        let held = Held {
            ids: HashSet::new(),
            by_second: BTreeMap::new(),
            by_key: HashMap::new(),
            forgotten: i64::MIN,
        };
        Self {
            most,
            share: most.div_ceil(limits::DPOP_SEEN_SHARE),
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
        let of_key = held.by_key.get(&id.key).copied().unwrap_or_default();
        if held.ids.len() >= self.most || of_key >= self.share {
            return Err(ProofError::Full);
        }
        held.by_key.insert(id.key, of_key.saturating_add(1));
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

    /// How many of each key are counted.
    #[cfg(test)]
    pub(super) fn of_keys(&self) -> Vec<usize> {
        self.held().by_key.values().copied().collect()
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
                    let of_key = self
                        .by_key
                        .entry(id.key)
                        .and_modify(|count| *count = count.saturating_sub(1));
                    if let Entry::Occupied(count) = of_key
                        && *count.get() == 0
                    {
                        count.remove();
                    }
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
