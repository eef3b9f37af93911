//! The feed: every marker in force that is ours to see, in memory, and how old that knowledge can be.

mod fresh;
mod held;
mod snapshot;
mod task;
#[cfg(test)]
mod tests;
mod told;

use super::error::VerifyError;
use super::stats::FeedStats;
use crate::client::{Endpoint, Error};
use crate::clock::{Clock, Random, SystemClock, SystemRandomness};
use crate::limits;
use crate::limits::nearing::Nearing;
use crate::marker::Fence;
use arc_swap::ArcSwapOption;
use held::Held;
use jiff::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use task::Task;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What is revoked, as the broker tells it: a snapshot, then each change. Cheap to clone; the last clone dropped ends it.
///
/// It goes on from where it was after an outage, keeps what it has until it has something newer, and knows at most how
/// old that is. What is held takes some seventy bytes a marker, and while a snapshot comes in, twice that.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    held: Arc<Held>,
    progress: watch::Receiver<Progress>,
    _task: Option<AbortOnDropHandle<()>>,
}

/// How the connection fares.
#[derive(Clone, Debug, Default)]
struct Progress {
    connected: bool,
    /// Whether this connection has told everything that there was when it began.
    caught_up: bool,
    failure: Option<Error>,
}

/// How a feed fares.
#[derive(Clone, Debug)]
pub struct FeedStatus {
    /// Whether a connection is open and has told something.
    pub connected: bool,
    /// Why the last one ended, or could not be opened, where none is open.
    pub failure: Option<Error>,
    /// The state of the broker that is held, in its terms.
    pub revision: Option<Arc<str>>,
    /// When the broker was last sure that nothing newer existed, by its clock.
    pub as_of: Option<Timestamp>,
    /// At most how old what is held is.
    pub age: Option<Duration>,
    /// How many markers are held.
    pub markers: usize,
}

/// Settings of a [`Feed`].
#[derive(Debug)]
#[must_use]
pub struct FeedBuilder {
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    silence: Duration,
    most: usize,
}

/// How good what is known is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// At most how old.
    pub(super) age: Duration,
    /// When the broker was sure of it, by its clock.
    pub(super) as_of: Timestamp,
}

impl Feed {
    /// A feed from this broker. Who connects must serve an audience there, read its log or administer it, and says so with
    /// the certificate of the endpoint. It is told what is revoked of the tenants of the audiences that it serves, and so has
    /// to serve each one that tokens are checked for with this feed. When what it serves changes, it is told nothing until a
    /// snapshot of the new view comes, and goes on with what it had. So, before tokens of another tenant are checked, put the
    /// audience, begin a new feed, and wait until it has [caught up](Feed::caught_up); a guard that refuses beyond a staleness
    /// bound may instead wait until that has gone by.
    pub fn builder(endpoint: Endpoint) -> FeedBuilder {
        FeedBuilder {
            endpoint,
            clock: SystemClock::shared(),
            random: SystemRandomness::shared(),
            silence: limits::FEED_SILENCE,
            most: limits::FEED_MARKERS,
        }
    }

    /// Waits until a first snapshot is there: through outages, at most for `patience`; a definitive refusal is reported at
    /// once.
    ///
    /// # Errors
    /// The last failure; the feed goes on trying.
    pub async fn ready(&self, patience: Duration) -> Result<(), Error> {
        let is_there = || self.0.held.view.load().is_some();
        let mut progress = self.0.progress.clone();
        let told = progress.wait_for(|now| {
            let failure = now.failure.as_ref();
            is_there() || failure.is_some_and(|failure| !failure.is_transient())
        });
        // Whatever was told or not, this decides.
        let _in_time = tokio::time::timeout(patience, told).await;
        if is_there() {
            Ok(())
        } else {
            Err(self.failure())
        }
    }

    /// Waits until everything is known that there was when the broker was reached, as [`Feed::ready`] does.
    ///
    /// # Errors
    /// The last failure; the feed goes on trying.
    pub async fn caught_up(&self, patience: Duration) -> Result<(), Error> {
        let mut progress = self.0.progress.clone();
        let told = progress.wait_for(|now| {
            let failure = now.failure.as_ref();
            now.caught_up || failure.is_some_and(|failure| !failure.is_transient())
        });
        let _in_time = tokio::time::timeout(patience, told).await;
        match self.0.progress.borrow().caught_up {
            true => Ok(()),
            false => Err(self.failure()),
        }
    }

    /// How it fares.
    #[must_use]
    pub fn status(&self) -> FeedStatus {
        let view = self.0.held.view.load_full();
        let view = view.as_ref();
        let Progress {
            connected, failure, ..
        } = self.0.progress.borrow().clone();
        FeedStatus {
            connected,
            failure,
            revision: view.map(|view| Arc::clone(&view.revision)),
            as_of: view.and_then(|view| Some(view.fresh?.as_of)),
            age: self.0.held.age(),
            markers: view.map_or(0, |view| view.markers.len()),
        }
    }

    fn failure(&self) -> Error {
        let failure = self.0.progress.borrow().failure.clone();
        failure.unwrap_or_else(|| Error::Unreachable("no revocations have come yet".into()))
    }

    /// What came of following it.
    #[must_use]
    pub fn stats(&self) -> &FeedStats {
        &self.0.held.stats
    }

    /// Whether nothing in a fence is revoked, as far as is known, and how old that knowledge is and of when: none where nobody
    /// can say. What is known to be revoked is refused however old the knowledge is.
    pub(super) fn check(&self, fence: &Fence) -> Result<Option<Known>, VerifyError> {
        let held = &self.0.held;
        // One look for both questions: markers of one state are never taken for as fresh as another.
        let view = held.view.load();
        if let Some(part) = view.as_ref().and_then(|view| view.markers.covered(fence)) {
            return Err(VerifyError::Revoked {
                kind: part.kind,
                marker: part.id,
            });
        }
        let fresh = view.as_ref().and_then(|view| view.fresh);
        Ok(fresh.map(|fresh| Known {
            age: fresh.age(held.now()),
            as_of: fresh.as_of,
        }))
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.held.clock
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Feed").field(&self.status()).finish()
    }
}

impl FeedBuilder {
    /// Tells the time by another clock than the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Draws jitter from another source than the operating system.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// How long the broker may be silent before another connection is tried: [`limits::FEED_SILENCE`] unless told otherwise.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// How many markers are held at most: [`limits::FEED_MARKERS`] unless told otherwise. Where the broker has more, what is
    /// held grows stale; the log warns before that ([`limits::NEAR`]).
    pub fn most_markers(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Begins to follow, in the background.
    ///
    /// # Errors
    /// [`Error::Invalid`] outside a Tokio runtime.
    pub fn build(self) -> Result<Feed, Error> {
        let runtime = Handle::try_current()
            .map_err(|_| Error::Invalid("a feed needs a Tokio runtime".into()))?;
        let held = held(self.clock);
        let (sender, progress) = watch::channel(Progress::default());
        let task = Task {
            endpoint: self.endpoint,
            held: Arc::clone(&held),
            random: self.random,
            silence: self.silence,
            most: self.most,
            progress: sender,
        };
        Ok(Feed(Arc::new(Inner {
            held,
            progress,
            _task: Some(AbortOnDropHandle::new(runtime.spawn(task.run()))),
        })))
    }
}

fn held(clock: Arc<dyn Clock>) -> Arc<Held> {
    Arc::new(Held {
        view: ArcSwapOption::empty(),
        clock,
        stats: FeedStats::default(),
        nearing: Nearing::default(),
    })
}
