//! A replica: in-memory state that follows the store, and knows how far it is and how fresh.
//!
//! It loads everything at one revision, hands each part to its [`Apply`], and then applies one revision after the other.
//! What it cannot be sure of (a gap, a new incarnation, a lost watch) it loads again. Half a load is
//! never handed out. While the store is away the state stays, and [`Replica::is_fresh`] tells when it has become too old.

mod follow;
mod state;

use super::{Entry, Op, Revision, Store};
use crate::clock::Clock;
use follow::Follower;
use jiff::Timestamp;
use state::State;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A part of the in-memory state: everything under one prefix. Calls come one at a time, in order.
pub trait Apply: Send + Sync {
    /// What the keys of this part start with. A key goes to every part whose prefix it has.
    fn prefix(&self) -> &str;

    /// Takes `entries`, all there are at `revision` in key order, in place of everything held so far.
    ///
    /// # Errors
    /// What is wrong with a value. The old state must then still be in place, whole.
    fn reset(&self, entries: &[Entry], revision: Revision) -> Result<(), String>;

    /// Takes an entry while a load is still going on, and has it kept for no [`Apply::reset`]: for parts of millions of entries,
    /// each of which stands by itself, so that it does no harm if the load has to begin anew. `None` where it takes none.
    ///
    /// # Errors
    /// What is wrong with the value. The old value must then still be in place.
    fn take_early(&self, _entry: &Entry) -> Option<Result<(), String>> {
        None
    }

    /// Applies one change of `revision`. A change may come again after a load; applying it twice does no harm.
    ///
    /// # Errors
    /// What is wrong with the value. The old value must then still be in place.
    fn apply(&self, op: &Op, revision: Revision) -> Result<(), String>;
}

/// A following replica. Clones are the same replica.
#[derive(Clone, Debug)]
pub struct Replica(Arc<State>);

/// Why a replica did not start.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StartError {
    /// It was cancelled before the first load was complete.
    #[error("stopped before the store's content was loaded")]
    Cancelled,
    /// A part does not take what the store holds, and there is no older state to go on with.
    #[error("the store holds what cannot be used: {0}")]
    Rejected(String),
}

/// Why it is not known that a revision is in force here.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotApplied {
    /// Not in the time given.
    #[error("not applied in time")]
    Late,
    /// A part refused a value, so that its state is not the store's.
    #[error("a stored value cannot be used: {0}")]
    Rejected(String),
    /// The replica has ended.
    #[error("the replica has ended")]
    Ended,
}

impl Replica {
    /// Loads everything at one revision and then follows the store in a task of its own, until `stop` is cancelled.
    /// A store that does not answer is asked again until it does.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        store: Arc<dyn Store>,
        parts: Vec<Arc<dyn Apply>>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Result<(Self, JoinHandle<()>), StartError> {
        let prefixes = parts.iter().map(|part| part.prefix().to_owned()).collect();
        let (mut follower, revision) = stop
            .run_until_cancelled(Follower::loaded(store, parts.into()))
            .await
            .ok_or(StartError::Cancelled)?
            .map_err(StartError::Rejected)?;
        let state = Arc::new(State::new(revision, clock, prefixes));
        let replica = Self(Arc::clone(&state));
        let task = tokio::spawn(async move {
            stop.run_until_cancelled(follower.follow(&state)).await;
            state.end();
        });
        Ok((replica, task))
    }

    /// The revision that is applied.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.0.revision()
    }

    /// Told of every revision that is applied; some may be skipped.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.0.subscribe()
    }

    /// When the store last confirmed that the applied revision was its newest.
    #[must_use]
    pub fn as_of(&self) -> Option<Timestamp> {
        self.0.as_of()
    }

    /// Whether the state may be decided with: confirmed at most `budget` before `now`, and no value refused. No lock is taken.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp, budget: Duration) -> bool {
        self.0.is_fresh(now, budget)
    }

    /// The same with the replica's own clock.
    #[must_use]
    pub fn is_fresh_now(&self, budget: Duration) -> bool {
        self.0.is_fresh(self.0.clock().now(), budget)
    }

    /// What parts refused and what has not been mended since, for readiness and for the operator.
    #[must_use]
    pub fn rejected(&self) -> Vec<String> {
        self.0.rejected()
    }

    /// Whether the part with this prefix holds what the store does at the applied revision: it has refused nothing.
    #[must_use]
    pub fn is_sound(&self, prefix: &str) -> bool {
        self.0.is_sound(prefix)
    }

    /// Waits until `revision` is in force here.
    ///
    /// # Errors
    /// [`NotApplied`].
    pub async fn applied(&self, revision: Revision, within: Duration) -> Result<(), NotApplied> {
        let mut revisions = self.0.subscribe();
        let reached = revisions.wait_for(|applied| self.0.ended() || applied.covers(&revision));
        match tokio::time::timeout(within, reached).await {
            Err(_) => return Err(NotApplied::Late),
            Ok(Ok(applied)) if applied.covers(&revision) => {}
            Ok(_) => return Err(NotApplied::Ended),
        }
        match self.0.rejected().into_iter().next() {
            None => Ok(()),
            Some(reason) => Err(NotApplied::Rejected(reason)),
        }
    }
}
