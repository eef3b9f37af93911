//! The issuer's keys, kept current.

mod task;
#[cfg(test)]
mod tests;

use super::fetch::{FetchError, Fetcher};
use super::stats::KeyStats;
use crate::clock::{Random, SystemRandomness};
use crate::jose::KeySet;
use crate::limits;
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use task::{Issuer, Publisher, Task};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The keys of an issuer. Cheap to clone; the last clone dropped ends the background work.
///
/// They are fetched again before they are older than the issuer lets caches keep them; a broker announces its keys ahead of
/// their use, so that no check waits for that. A token of a key that is not among them causes a fetch, at most one at a
/// time and one in [`limits::KEYS_REFETCH`], whoever sends such tokens. Keys stay in use when a fetch fails, and when
/// what it brings is no key set.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    round: watch::Receiver<Round>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// What checks look at.
#[derive(Debug)]
struct Shared {
    current: ArcSwap<Current>,
    /// The round after which another one was wanted last: a wish that was granted is none any more.
    wanted: watch::Sender<Option<u64>>,
    stats: KeyStats,
}

/// A key set, and which one it is: what was verified with one is verified anew with the next that holds other keys.
#[derive(Debug, Default)]
pub(super) struct Current {
    pub(super) set: KeySet,
    /// From 1 on; 0 as long as there has been none.
    pub(super) generation: u64,
}

/// How often a fetch has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Round {
    ended: u64,
    /// Whether one is under way, or would be for the asking.
    open: bool,
}

/// Settings of [`Keys`].
#[derive(Debug)]
#[must_use]
pub struct KeysBuilder {
    fetcher: Fetcher,
    issuer: String,
    random: Arc<dyn Random>,
    max_age: Duration,
}

impl Keys {
    /// The keys of `issuer`, fetched by its metadata.
    pub fn builder(fetcher: Fetcher, issuer: &str) -> KeysBuilder {
        KeysBuilder {
            fetcher,
            issuer: issuer.to_owned(),
            random: SystemRandomness::shared(),
            max_age: limits::JWKS_MAX_AGE,
        }
    }

    /// Keys that never change.
    #[must_use]
    pub fn fixed(set: KeySet) -> Self {
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(Current { set, generation: 1 }),
            wanted: watch::Sender::new(None),
            stats: KeyStats::default(),
        });
        let (_, round) = watch::channel(Round::default());
        Self(Arc::new(Inner {
            shared,
            round,
            _task: None,
        }))
    }

    /// Waits until keys are there, at most for `patience`. Answers whether they are.
    pub async fn ready(&self, patience: Duration) -> bool {
        let mut round = self.0.round.clone();
        let told = round.wait_for(|_| self.current().generation > 0);
        matches!(tokio::time::timeout(patience, told).await, Ok(Ok(_)))
            || self.current().generation > 0
    }

    /// How many keys there are now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.current().set.len()
    }

    /// Whether none have been had yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current().set.is_empty()
    }

    /// What came of fetching them.
    #[must_use]
    pub fn stats(&self) -> &KeyStats {
        &self.0.shared.stats
    }

    pub(super) fn current(&self) -> arc_swap::Guard<Arc<Current>> {
        self.0.shared.current.load()
    }

    /// Has the keys fetched again soon, without waiting.
    pub(super) fn want(&self) {
        let now = *self.0.round.borrow();
        if now.open {
            self.0.shared.wanted.send_replace(Some(now.ended));
        }
    }

    /// Has the keys fetched again unless that was done a moment ago, and waits until that has ended, at most for
    /// [`limits::KEYS_WAIT`]. Answers whether other keys may be there now.
    pub(super) async fn refetch(&self) -> bool {
        let mut round = self.0.round.clone();
        let now = *round.borrow_and_update();
        if !now.open {
            return false;
        }
        self.0.shared.wanted.send_replace(Some(now.ended));
        let next = round.wait_for(|round| round.ended > now.ended);
        let next = tokio::time::timeout(limits::KEYS_WAIT, next).await;
        matches!(next, Ok(Ok(_)))
    }

    fn start<P: Publisher>(
        publisher: P,
        random: Arc<dyn Random>,
        max_age: Duration,
    ) -> Result<Self, FetchError> {
        let runtime = Handle::try_current().map_err(|_| FetchError::Runtime)?;
        let shared = Arc::new(Shared {
            current: ArcSwap::default(),
            wanted: watch::Sender::new(None),
            stats: KeyStats::default(),
        });
        let first = Round {
            ended: 0,
            open: true,
        };
        let (sender, round) = watch::channel(first);
        let task = Task::new(publisher, Arc::clone(&shared), random, max_age, sender);
        Ok(Self(Arc::new(Inner {
            shared,
            round,
            _task: Some(AbortOnDropHandle::new(runtime.spawn(task.run()))),
        })))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.len()).finish()
    }
}

impl KeysBuilder {
    /// Draws jitter from another source than the operating system.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// How old the keys may grow before they are fetched again: [`limits::JWKS_MAX_AGE`] unless told otherwise, which is what
    /// the broker lets caches do. The fetch begins between 70 and 85 percent of it, so that verifiers do not come together,
    /// and at least [`limits::KEYS_REFETCH`] after the last one where a shorter time is told.
    ///
    /// A key that the issuer no longer publishes is believed until a fetch brings a set without it: for so long where
    /// fetches succeed, and for as long as they fail where they do not. What ends it at once is a marker, which the feed brings.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Begins to fetch, in the background: nobody waits for the issuer here.
    ///
    /// # Errors
    /// [`FetchError::Url`] where the issuer is not an https URL, [`FetchError::Runtime`] outside a Tokio runtime.
    pub fn build(self) -> Result<Keys, FetchError> {
        let issuer = Issuer::new(self.fetcher, self.issuer)?;
        Keys::start(issuer, self.random, self.max_age)
    }
}
