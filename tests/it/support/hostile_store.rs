//! A store in memory that keeps the contract and uses every freedom it leaves: answers come late, outcomes are unknown (and
//! happened, did not, or will), history vanishes, watchers are dropped, incarnations change. Seeded, so a failure repeats.

use cambist::clock::Clock;
use cambist::limits;
use cambist::store::{
    Batch, CommitError, Cursor, Effect, Entry, Event, Expect, Incarnation, Key, LoadError,
    LogPosition, Op, OutboxEntry, Page, Reply, Revision, Store, StoreFault, Value,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tokio::sync::mpsc;

/// How hostile the store is: each in percent of the calls it can happen to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hostility {
    /// Answers that come after other tasks had their turn.
    pub(crate) delays: u8,
    /// Commits whose outcome is unknown: a third happened, a third did not, a third happen later.
    pub(crate) unknown: u8,
    /// Commits that are refused.
    pub(crate) refused: u8,
    /// Reads, loads and watches that fail or have to start again.
    pub(crate) faults: u8,
    /// Commits after which the history is gone.
    pub(crate) compaction: u8,
    /// Commits after which a watcher is dropped.
    pub(crate) drops: u8,
    /// Commits after which a new incarnation begins.
    pub(crate) renewal: u8,
}

impl Hostility {
    /// Delays only: everything that is asked for happens.
    pub(crate) const CALM: Self = Self {
        delays: 30,
        unknown: 0,
        refused: 0,
        faults: 0,
        compaction: 0,
        drops: 0,
        renewal: 0,
    };
    /// All of it.
    pub(crate) const FULL: Self = Self {
        delays: 60,
        unknown: 15,
        refused: 5,
        faults: 10,
        compaction: 5,
        drops: 10,
        renewal: 3,
    };
}

/// What the next commit is made to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Unknown, and it did not happen.
    UnknownLost,
    /// Unknown, and it happened.
    UnknownHappened,
    /// Unknown, and it happens with a later call.
    UnknownLater,
    /// Refused.
    Refused,
}

/// The store. Clones are the same store.
#[derive(Clone, Debug)]
pub(crate) struct HostileStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

/// Value and counter of the last write, by key.
type Entries = BTreeMap<Key, (Value, u64)>;

#[derive(Debug)]
struct State {
    hostility: Hostility,
    seed: u64,
    scripted: VecDeque<Fault>,
    head: Revision,
    floor: u64,
    entries: Entries,
    history: BTreeMap<u64, Arc<[Op]>>,
    outbox: BTreeMap<u64, OutboxEntry>,
    log: Option<LogPosition>,
    loads: VecDeque<(Revision, Entries)>,
    watchers: Vec<mpsc::Sender<Event>>,
    limbo: Vec<Batch>,
    beating: bool,
    /// Commits that a full disk takes from the reserve; `None` while there is room.
    reserve: Option<u32>,
}

impl HostileStore {
    /// A store without a will of its own: for tests whose subject is something else.
    pub(crate) fn calm(clock: Arc<dyn Clock>) -> Self {
        Self::new(7, Hostility::CALM, clock)
    }

    pub(crate) fn new(seed: u64, hostility: Hostility, clock: Arc<dyn Clock>) -> Self {
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
        let state = Mutex::new(state);
        Self(Arc::new(Inner { state, clock }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// From now on this hostile. What waits in limbo happens.
    pub(crate) fn become_as(&self, hostility: Hostility) {
        let mut state = self.state();
        state.hostility = hostility;
        for batch in std::mem::take(&mut state.limbo) {
            state.happen(batch).ok();
        }
    }

    /// What the next commits answer, one each.
    pub(crate) fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().scripted.extend(faults);
    }

    /// The history is gone, and with it every load in progress.
    pub(crate) fn compact(&self) {
        let mut state = self.state();
        state.floor = state.head.counter;
        state.history.clear();
        state.loads.clear();
    }

    /// A new incarnation begins.
    pub(crate) fn renew(&self) {
        self.state().renew();
    }

    /// Every watcher is dropped without a word.
    pub(crate) fn drop_watchers(&self) {
        self.state().watchers.clear();
    }

    /// The disk is full, except for a reserve of so many commits. `None`: there is room again.
    pub(crate) fn fill(&self, reserve: Option<u32>) {
        self.state().reserve = reserve;
    }

    /// Confirms the newest revision to the watchers, as otherwise happens each second.
    pub(crate) fn beat(&self) {
        let as_of = self.0.clock.now();
        let mut state = self.state();
        let revision = state.head;
        state.watchers.retain(|watcher| {
            watcher.try_send(Event::Current { revision, as_of }).is_ok() || !watcher.is_closed()
        });
    }

    /// Everything that is stored.
    pub(crate) fn content(&self) -> BTreeMap<Key, Value> {
        let state = self.state();
        let plain = |(key, (value, _)): (&Key, &(Value, u64))| (key.clone(), value.clone());
        state.entries.iter().map(plain).collect()
    }

    async fn delay(&self) {
        let mut turns = 0;
        {
            let mut state = self.state();
            let percent = state.hostility.delays;
            while turns < 8 && state.happens(percent) {
                turns += 1;
            }
        }
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    fn fault(&self) -> Result<(), StoreFault> {
        let mut state = self.state();
        let percent = state.hostility.faults;
        if state.happens(percent) {
            Err(StoreFault("hostile".to_owned()))
        } else {
            Ok(())
        }
    }
}

impl State {
    /// Splitmix64: small, seeded, good enough to be hostile.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn happens(&mut self, percent: u8) -> bool {
        self.random() % 100 < u64::from(percent)
    }

    fn commit(&mut self, batch: Batch) -> Result<Revision, CommitError> {
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

    fn fault(&mut self) -> Option<Fault> {
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

    fn happen(&mut self, batch: Batch) -> Result<Revision, CommitError> {
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
                effects: batch.effects() as Vec<Effect>,
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
        self.watchers.retain(|watcher| {
            let ops = Arc::clone(&ops);
            watcher.try_send(Event::Changed { revision, ops }).is_ok()
        });
        self.upset();
        Ok(revision)
    }

    fn upset(&mut self) {
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

    fn renew(&mut self) {
        self.head.incarnation = Incarnation(u128::from(self.random()));
        self.floor = self.head.counter;
        self.history.clear();
        self.loads.clear();
        for watcher in self.watchers.drain(..) {
            watcher.try_send(Event::LoadAgain).ok();
        }
    }

    fn page(&mut self, prefix: &str, from: Option<Cursor>) -> Result<Page, LoadError> {
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

    fn watch(&mut self, from: Revision, as_of: Timestamp) -> mpsc::Receiver<Event> {
        let (sender, receiver) =
            mpsc::channel(usize::try_from(self.head.counter).unwrap() + limits::STORE_WATCH_QUEUE);
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

async fn heart(store: Weak<Inner>) {
    let mut seconds = tokio::time::interval(limits::STORE_HEARTBEAT);
    loop {
        seconds.tick().await;
        match store.upgrade() {
            Some(inner) => HostileStore(inner).beat(),
            None => return,
        }
    }
}

impl Store for HostileStore {
    fn revision(&self) -> Reply<'_, Result<Revision, StoreFault>> {
        Box::pin(async {
            self.delay().await;
            self.fault()?;
            Ok(self.state().head)
        })
    }

    fn read<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreFault>> {
        Box::pin(async move {
            self.delay().await;
            self.fault()?;
            let state = self.state();
            Ok(state.entries.get(key).map(|(value, modified)| Entry {
                key: key.clone(),
                value: value.clone(),
                modified: *modified,
            }))
        })
    }

    fn load<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<Cursor>,
    ) -> Reply<'a, Result<Page, LoadError>> {
        Box::pin(async move {
            self.delay().await;
            self.fault().map_err(|_| LoadError::Restart)?;
            self.state().page(prefix, from)
        })
    }

    fn commit(&self, batch: Batch) -> Reply<'_, Result<Revision, CommitError>> {
        Box::pin(async {
            self.delay().await;
            let outcome = self.state().commit(batch);
            self.delay().await;
            outcome
        })
    }

    fn watch(&self, from: Revision) -> Reply<'_, Result<mpsc::Receiver<Event>, StoreFault>> {
        Box::pin(async move {
            self.delay().await;
            self.fault()?;
            let as_of = self.0.clock.now();
            let mut state = self.state();
            state.watchers.retain(|watcher| !watcher.is_closed());
            if state.watchers.len() >= limits::STORE_WATCHERS {
                return Err(StoreFault("too many watchers".to_owned()));
            }
            if !std::mem::replace(&mut state.beating, true) {
                tokio::spawn(heart(Arc::downgrade(&self.0)));
            }
            Ok(state.watch(from, as_of))
        })
    }

    fn outbox(&self, limit: usize) -> Reply<'_, Result<Vec<OutboxEntry>, StoreFault>> {
        Box::pin(async move {
            self.delay().await;
            self.fault()?;
            let state = self.state();
            Ok(state.outbox.values().take(limit).cloned().collect())
        })
    }

    fn drained(&self, position: LogPosition) -> Reply<'_, Result<(), StoreFault>> {
        Box::pin(async move {
            self.delay().await;
            self.fault()?;
            let mut state = self.state();
            let refuse = |why: &str| Err(StoreFault(why.to_owned()));
            if position.counter > state.head.counter {
                return refuse("ahead of the store");
            }
            if let Some(last) = &state.log
                && last.origin == position.origin
                && (last.sequence > position.sequence || last.counter > position.counter)
            {
                return refuse("behind the one known");
            }
            state.outbox.retain(|at, _| *at > position.counter);
            state.log = Some(position);
            Ok(())
        })
    }

    fn log_position(&self) -> Reply<'_, Result<Option<LogPosition>, StoreFault>> {
        Box::pin(async {
            self.delay().await;
            self.fault()?;
            Ok(self.state().log.clone())
        })
    }
}
