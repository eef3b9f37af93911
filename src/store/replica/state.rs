//! What a replica knows about itself.

use crate::clock::Clock;
use crate::limits;
use crate::store::{Key, Revision};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// No confirmation yet.
const NEVER: i64 = i64::MIN;

#[derive(Debug)]
pub(super) struct State {
    revision: watch::Sender<Revision>,
    clock: Arc<dyn Clock>,
    /// Unix time in milliseconds of the last confirmation.
    as_of: AtomicI64,
    /// False while something in `rejected` stands; read without a lock.
    sound: AtomicBool,
    ended: AtomicBool,
    rejected: Mutex<BTreeMap<Place, String>>,
    /// What the keys of each part start with.
    prefixes: Vec<String>,
}

/// What was refused: one value, or the whole load of a part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Load(usize),
    Value(usize, Key),
}

impl State {
    pub(super) fn new(revision: Revision, clock: Arc<dyn Clock>, prefixes: Vec<String>) -> Self {
        Self {
            revision: watch::Sender::new(revision),
            clock,
            as_of: AtomicI64::new(NEVER),
            sound: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            rejected: Mutex::default(),
            prefixes,
        }
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(super) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    pub(super) fn set_revision(&self, revision: Revision) {
        self.revision.send_replace(revision);
    }

    /// Nothing will be applied any more; whoever waits is woken.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.revision.send_modify(|_| {});
    }

    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn as_of(&self) -> Option<Timestamp> {
        match self.as_of.load(Ordering::Acquire) {
            NEVER => None,
            millisecond => Timestamp::from_millisecond(millisecond).ok(),
        }
    }

    pub(super) fn confirm(&self, as_of: Timestamp) {
        self.as_of.store(as_of.as_millisecond(), Ordering::Release);
    }

    /// A confirmation from the future is no better than one from as far back: the clock cannot be right about both.
    pub(super) fn is_fresh(&self, now: Timestamp, budget: Duration) -> bool {
        let as_of = self.as_of.load(Ordering::Acquire);
        as_of != NEVER
            && self.sound.load(Ordering::Acquire)
            && u128::from(now.as_millisecond().abs_diff(as_of)) <= budget.as_millis()
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Place, String>> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a part refused something. When there is no room for another name, the first ones stand
    /// for all: what is not named is not forgotten, because it can only be mended by a load.
    pub(super) fn reject(&self, place: Place, reason: String) {
        let mut places = self.places();
        let place = match place {
            Place::Value(part, _) if places.len() >= limits::REPLICA_FAULTS => Place::Load(part),
            place => place,
        };
        places.insert(place, reason);
        self.sound.store(false, Ordering::Release);
    }

    /// Notes that a value was mended.
    pub(super) fn mend(&self, part: usize, key: &Key) {
        if self.sound.load(Ordering::Acquire) {
            return;
        }
        let mut places = self.places();
        places.remove(&Place::Value(part, key.clone()));
        self.sound.store(places.is_empty(), Ordering::Release);
    }

    /// Notes that a part took a whole load.
    pub(super) fn mend_all(&self, part: usize) {
        let mut places = self.places();
        places.retain(
            |place, _| !matches!(place, Place::Load(of) | Place::Value(of, _) if *of == part),
        );
        self.sound.store(places.is_empty(), Ordering::Release);
    }

    /// Whether a part's state cannot be brought forward by single changes.
    pub(super) fn needs_load(&self, part: usize) -> bool {
        !self.sound.load(Ordering::Acquire) && self.places().contains_key(&Place::Load(part))
    }

    /// Whether no part of this prefix has refused anything.
    pub(super) fn is_sound(&self, prefix: &str) -> bool {
        if self.sound.load(Ordering::Acquire) {
            return true;
        }
        let is_of = |place: &Place| {
            let (Place::Load(part) | Place::Value(part, _)) = place;
            self.prefixes.get(*part).is_some_and(|its| its == prefix)
        };
        !self.places().keys().any(is_of)
    }

    pub(super) fn rejected(&self) -> Vec<String> {
        if self.sound.load(Ordering::Acquire) {
            Vec::new()
        } else {
            self.places().values().cloned().collect()
        }
    }
}
