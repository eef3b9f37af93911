//! What the hostile store holds, and how it decides to be hostile.

use super::{Fault, Hostility};
use cambist::limits;
use cambist::store::{
    Batch, CommitError, Cursor, Entry, Event, Expect, Incarnation, Key, LoadError, LogPosition, Op,
    OutboxEntry, Page, Revision, Value,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Value and counter of the last write, by key.
type Entries = BTreeMap<Key, (Value, u64)>;

#[derive(Debug)]
pub(super) struct State {
    pub(super) hostility: Hostility,
    pub(super) seed: u64,
    pub(super) scripted: VecDeque<Fault>,
    pub(super) head: Revision,
    pub(super) floor: u64,
    pub(super) entries: Entries,
    pub(super) history: BTreeMap<u64, Arc<[Op]>>,
    pub(super) outbox: BTreeMap<u64, OutboxEntry>,
    pub(super) log: Option<LogPosition>,
    pub(super) loads: VecDeque<(Revision, Entries)>,
    pub(super) watchers: Vec<mpsc::Sender<Event>>,
    pub(super) limbo: Vec<Batch>,
    pub(super) beating: bool,
    /// Commits that a full disk takes from the reserve; `None` while there is room.
    pub(super) reserve: Option<u32>,
}

impl State {
    pub(super) fn new(seed: u64, hostility: Hostility) -> Self {
        let mut state = State {
            hostility,
            seed,
            scripted: VecDeque::new(),
            head: Revision {
                incarnation: Incarnation(1),
                counter: 0,
            },
            floor: 0,
            entries: BTreeMap::new(),
            history: BTreeMap::new(),
            outbox: BTreeMap::new(),
            log: None,
            loads: VecDeque::new(),
            watchers: Vec::new(),
            limbo: Vec::new(),
            beating: false,
            reserve: None,
        };
        state.head.incarnation = Incarnation(u128::from(state.random()));
        state
    }

    /// Splitmix64: small, seeded, good enough to be hostile.
    pub(super) fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn happens(&mut self, percent: u8) -> bool {
        self.random() % 100 < u64::from(percent)
    }

    pub(super) fn commit(&mut self, batch: Batch) -> Result<Revision, CommitError> {
        if let Some(reserve) = &mut self.reserve {
            if !batch.is_reserved() || *reserve == 0 {
                return Err(CommitError::Refused("the disk is full".to_owned()));
            }
            *reserve -= 1;
        }
        if !self.limbo.is_empty() && self.happens(50) {
            let late = self.limbo.remove(0);
            self.happen(late).ok();
        }
        let unknown = || CommitError::Unknown("hostile".to_owned());
        match self.fault() {
            None => self.happen(batch),
            Some(Fault::Refused) => Err(CommitError::Refused("hostile".to_owned())),
            Some(Fault::UnknownLost) => Err(unknown()),
            Some(Fault::UnknownHappened) => {
                self.happen(batch).ok();
                Err(unknown())
            }
            Some(Fault::UnknownLater) => {
                self.limbo.push(batch);
                Err(unknown())
            }
        }
    }

    pub(super) fn fault(&mut self) -> Option<Fault> {
        if let Some(fault) = self.scripted.pop_front() {
            return Some(fault);
        }
        if self.happens(self.hostility.refused) {
            return Some(Fault::Refused);
        }
        let unknown = [
            Fault::UnknownLost,
            Fault::UnknownHappened,
            Fault::UnknownLater,
        ];
        let kind = self.random() % 3;
        self.happens(self.hostility.unknown)
            .then(|| unknown[usize::try_from(kind).unwrap()])
    }

    pub(super) fn happen(&mut self, batch: Batch) -> Result<Revision, CommitError> {
        if batch.lacks_record() {
            return Err(CommitError::Refused("no record".to_owned()));
        }
        let holds = |(key, expect): (&Key, Expect)| match (expect, self.entries.get(key)) {
            (Expect::Absent, found) => found.is_none(),
            (Expect::Unmodified(at), found) => found.is_some_and(|(_, modified)| *modified == at),
        };
        let mut compares = batch.compares().iter().map(|c| (&c.key, c.expect));
        if !compares.all(holds) {
            return Err(CommitError::Conflict);
        }
        self.head.counter += 1;
        let revision = self.head;
        for op in batch.ops() {
            match op {
                Op::Put(key, value) => {
                    self.entries
                        .insert(key.clone(), (value.clone(), revision.counter));
                }
                Op::Delete(key) => {
                    self.entries.remove(key);
                }
            }
        }
        if let Some(record) = batch.audit_record() {
            let entry = OutboxEntry {
                revision,
                record: Arc::clone(record),
                effects: batch.effects(),
            };
            self.outbox.insert(revision.counter, entry);
        }
        let ops: Arc<[Op]> = batch.ops().into();
        self.history.insert(revision.counter, Arc::clone(&ops));
        let floor = revision.counter.saturating_sub(limits::STORE_HISTORY);
        if floor > self.floor {
            self.floor = floor;
            self.history = self.history.split_off(&(floor + 1));
        }
        let mut watchers = std::mem::take(&mut self.watchers);
        watchers.retain(|watcher| {
            let ops = Arc::clone(&ops);
            self.happens(self.hostility.gaps)
                || watcher.try_send(Event::Changed { revision, ops }).is_ok()
        });
        self.watchers = watchers;
        self.upset();
        Ok(revision)
    }

    pub(super) fn upset(&mut self) {
        if self.happens(self.hostility.drops) && !self.watchers.is_empty() {
            let watcher = self.watchers.swap_remove(0);
            if self.happens(50) {
                watcher.try_send(Event::LoadAgain).ok();
            }
        }
        if self.happens(self.hostility.compaction) {
            self.floor = self.head.counter;
            self.history.clear();
            self.loads.clear();
        }
        if self.happens(self.hostility.renewal) {
            self.renew();
        }
    }

    pub(super) fn renew(&mut self) {
        self.head.incarnation = Incarnation(u128::from(self.random()));
        self.floor = self.head.counter;
        self.history.clear();
        self.loads.clear();
        for watcher in self.watchers.drain(..) {
            watcher.try_send(Event::LoadAgain).ok();
        }
    }

    pub(super) fn page(&mut self, prefix: &str, from: Option<Cursor>) -> Result<Page, LoadError> {
        let (revision, entries, after) = match from {
            None => (self.head, self.entries.clone(), None),
            Some(cursor) => {
                let known = self
                    .loads
                    .iter()
                    .position(|(revision, _)| *revision == cursor.revision);
                let (revision, entries) =
                    self.loads.remove(known.ok_or(LoadError::Restart)?).unwrap();
                (revision, entries, Some(cursor.after))
            }
        };
        // Pages of any length: nobody may count on a full one.
        let most = match self.hostility.faults {
            0 => limits::STORE_PAGE,
            _ => 1 + usize::try_from(self.random() % 5).unwrap(),
        };
        let mut rest = entries
            .iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix) && Some(*key) > after.as_ref())
            .map(|(key, (value, modified))| Entry {
                key: key.clone(),
                value: value.clone(),
                modified: *modified,
            });
        let page: Vec<_> = rest.by_ref().take(most).collect();
        let more = rest.next().is_some();
        drop(rest);
        let next = page.last().filter(|_| more).map(|last| Cursor {
            after: last.key.clone(),
            revision,
        });
        if next.is_some() {
            self.loads.push_back((revision, entries));
            if self.loads.len() > limits::STORE_SNAPSHOTS {
                self.loads.pop_front();
            }
        }
        Ok(Page {
            entries: page,
            revision,
            next,
        })
    }

    pub(super) fn watch(&mut self, from: Revision, as_of: Timestamp) -> mpsc::Receiver<Event> {
        let missed = self.head.counter.saturating_sub(from.counter);
        let (sender, receiver) =
            mpsc::channel(usize::try_from(missed).unwrap() + 1 + limits::STORE_WATCH_QUEUE);
        if !self.head.covers(&from) || from.counter < self.floor {
            sender.try_send(Event::LoadAgain).unwrap();
            return receiver;
        }
        for (counter, ops) in self.history.range(from.counter + 1..) {
            let revision = Revision {
                counter: *counter,
                ..self.head
            };
            let ops = Arc::clone(ops);
            sender.try_send(Event::Changed { revision, ops }).unwrap();
        }
        let revision = self.head;
        sender.try_send(Event::Current { revision, as_of }).unwrap();
        self.watchers.push(sender);
        receiver
    }
}
