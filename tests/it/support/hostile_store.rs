//! A store in memory that keeps the contract and uses every freedom it leaves: answers come late, outcomes are unknown (and
//! happened, did not, or will), history vanishes, watchers are dropped, incarnations change. Seeded, so a failure repeats.

mod state;

use cambist::clock::Clock;
use cambist::limits;
use cambist::store::{
    Batch, CommitError, Cursor, Entry, Event, Key, LoadError, LogPosition, OutboxEntry, Page,
    Reply, Revision, Store, StoreFault, Value,
};
use state::State;
use std::collections::BTreeMap;
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
    /// Changes that a watcher is not told of. This breaks the contract: whoever follows has to notice.
    pub(crate) gaps: u8,
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
        gaps: 0,
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
        gaps: 5,
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

impl HostileStore {
    /// A store without a will of its own: for tests whose subject is something else.
    pub(crate) fn calm(clock: Arc<dyn Clock>) -> Self {
        Self::new(7, Hostility::CALM, clock)
    }

    pub(crate) fn new(seed: u64, hostility: Hostility, clock: Arc<dyn Clock>) -> Self {
        let state = State::new(seed, hostility);
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
                && last.log == position.log
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
            Ok(self.state().log)
        })
    }
}
