//! Following: load, watch, and load again.

use super::Apply;
use super::state::{Place, State};
use crate::limits;
use crate::store::{Entry, Event, LoadError, Op, Revision, Store, StoreFault};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The parts with what they refused when they were loaded.
type Refusals = Vec<Option<String>>;

pub(super) struct Follower {
    store: Arc<dyn Store>,
    parts: Arc<[Arc<dyn Apply>]>,
    pause: Pause,
}

/// Why the watch ended.
enum Left {
    /// The history may still be there: watch again.
    Closed,
    /// Everything has to be loaded again.
    LoadAgain,
}

impl Follower {
    /// A follower that has loaded once. Fails when a part refuses what is stored.
    pub(super) async fn loaded(
        store: Arc<dyn Store>,
        parts: Arc<[Arc<dyn Apply>]>,
    ) -> Result<(Self, Revision), String> {
        let mut follower = Self {
            store,
            parts,
            pause: Pause::default(),
        };
        let (revision, refused) = follower.load().await;
        match refused.into_iter().flatten().next() {
            None => Ok((follower, revision)),
            Some(reason) => Err(reason),
        }
    }

    /// Follows for ever.
    pub(super) async fn follow(&mut self, state: &State) {
        loop {
            let left = match self.store.watch(state.revision()).await {
                Ok(mut events) => self.watch(&mut events, state).await,
                Err(StoreFault(_)) => Left::Closed,
            };
            self.pause.wait().await;
            if matches!(left, Left::LoadAgain) {
                let (revision, refused) = self.load().await;
                for (part, refused) in refused.into_iter().enumerate() {
                    match refused {
                        None => state.mend_all(part),
                        Some(reason) => state.reject(Place::Load(part), reason),
                    }
                }
                state.set_revision(revision);
            }
        }
    }

    async fn watch(&mut self, events: &mut mpsc::Receiver<Event>, state: &State) -> Left {
        while let Some(event) = events.recv().await {
            let applied = state.revision();
            match event {
                Event::LoadAgain => return Left::LoadAgain,
                Event::Current { revision, as_of } if revision == applied => {
                    self.pause = Pause::default();
                    state.confirm(as_of);
                }
                Event::Changed { revision, ops } if next(applied) == revision => {
                    if !self.apply(&ops, revision, state) {
                        return Left::LoadAgain;
                    }
                    state.set_revision(revision);
                }
                // What the load had already, or a confirmation from before it.
                Event::Changed { revision, .. } | Event::Current { revision, .. }
                    if applied.covers(&revision) => {}
                // A gap, or another incarnation: what came between is not known.
                Event::Changed { .. } | Event::Current { .. } => return Left::LoadAgain,
            }
        }
        Left::Closed
    }

    /// Applies one revision; false when a part can only go on from a load.
    fn apply(&self, ops: &[Op], revision: Revision, state: &State) -> bool {
        for (number, part) in self.parts.iter().enumerate() {
            let prefix = part.prefix();
            for op in ops
                .iter()
                .filter(|op| op.key().as_str().starts_with(prefix))
            {
                if state.needs_load(number) {
                    return false;
                }
                match part.apply(op, revision) {
                    Ok(()) => state.mend(number, op.key()),
                    Err(reason) => {
                        let reason = format!("{} at {revision}: {reason}", op.key());
                        state.reject(Place::Value(number, op.key().clone()), reason);
                    }
                }
            }
        }
        true
    }

    /// Loads until a load is complete, and hands it to the parts.
    async fn load(&mut self) -> (Revision, Refusals) {
        loop {
            match self.read_all().await {
                Ok((loaded, revision)) => {
                    let parts = Arc::clone(&self.parts);
                    // Building the state of many entries must not hold up a runtime thread.
                    let built =
                        tokio::task::spawn_blocking(move || reset(&parts, loaded, revision));
                    if let Ok(refused) = built.await {
                        return (revision, refused);
                    }
                }
                Err(LoadError::Restart | LoadError::Fault(_)) => {}
            }
            self.pause.wait().await;
        }
    }

    /// Every entry of each part, all at one revision.
    async fn read_all(&self) -> Result<(Vec<Loaded>, Revision), LoadError> {
        let prefix = common_prefix(&self.parts);
        let mut loaded: Vec<_> = self.parts.iter().map(|_| Loaded::default()).collect();
        let mut page = self.store.load(&prefix, None).await?;
        let revision = page.revision;
        let mut last = None;
        loop {
            if page.revision != revision {
                return Err(LoadError::Restart);
            }
            for entry in page.entries {
                if last.as_ref().is_some_and(|last| *last >= entry.key) {
                    return Err(StoreFault("a load is out of order".to_owned()).into());
                }
                last = Some(entry.key.clone());
                for (part, loaded) in self.parts.iter().zip(&mut loaded) {
                    if entry.key.as_str().starts_with(part.prefix()) {
                        loaded.add(&**part, &entry);
                    }
                }
            }
            let Some(next) = page.next else {
                return Ok((loaded, revision));
            };
            if last.as_ref() != Some(&next.after) || next.revision != revision {
                return Err(StoreFault("a load does not go on where it stopped".to_owned()).into());
            }
            page = self.store.load(&prefix, Some(next)).await?;
        }
    }
}

fn next(revision: Revision) -> Revision {
    Revision {
        counter: revision.counter.saturating_add(1),
        ..revision
    }
}

/// What a load brought of a part.
#[derive(Default)]
struct Loaded {
    entries: Vec<Entry>,
    /// The first entry that the part did not take early.
    refused: Option<String>,
}

impl Loaded {
    fn add(&mut self, part: &dyn Apply, entry: &Entry) {
        match part.take_early(entry) {
            None => self.entries.push(entry.clone()),
            Some(Ok(())) => {}
            Some(Err(reason)) => drop(self.refused.get_or_insert(reason)),
        }
    }
}

fn reset(parts: &[Arc<dyn Apply>], loaded: Vec<Loaded>, revision: Revision) -> Refusals {
    let reset = |(part, loaded): (&Arc<dyn Apply>, Loaded)| {
        let reset = part.reset(&loaded.entries, revision).err();
        let refused = loaded.refused.or(reset)?;
        Some(format!("{} at {revision}: {refused}", part.prefix()))
    };
    parts.iter().zip(loaded).map(reset).collect()
}

/// The longest text that every part's prefix starts with: one load of it is at one revision for all.
fn common_prefix(parts: &[Arc<dyn Apply>]) -> String {
    let mut common = parts.first().map_or("", |part| part.prefix()).to_owned();
    for part in parts {
        while !part.prefix().starts_with(&common) {
            common.pop();
        }
    }
    common
}

/// The pause before the store is asked again, doubling while it does not help.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(limits::REPLICA_RETRY.0)
    }
}

impl Pause {
    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = self.0.saturating_mul(2).min(limits::REPLICA_RETRY.1);
    }
}
