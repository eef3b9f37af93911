//! Who reports leaks, and how a report is known to be theirs.

use super::published::Published;
use crate::clock::Clock;
use crate::id::Reporter;
use crate::limits;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Where a reporter's keys are published.
pub trait KeySource: fmt::Debug + Send + Sync {
    /// The document as it is now, of at most [`limits::KEY_SET_BYTES`] bytes.
    fn fetch(&self) -> Fetched<'_>;
}

/// A document on its way, or why there is none, for the operator.
pub type Fetched<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>>;

/// A body, and what came with it to prove whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// What the key is called.
    pub key: &'a str,
    /// The signature, in DER.
    pub signature: &'a [u8],
    /// The bytes as they came.
    pub body: &'a [u8],
}

/// Why nobody is known to have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// No reporter has a key of this name: all were asked just now.
    #[error("no reporter has published a key of this identifier")]
    UnknownKey,
    /// A key of this name did not make it.
    #[error("the signature is not over this body")]
    WrongSignature,
    /// Whether somebody has a key of this name cannot be found out at the moment: the keys cannot be had, or not asked for so
    /// soon again. After this time they are.
    #[error("the keys of reporters cannot be had at the moment")]
    KeysUnavailable(Duration),
}

/// All of them. Their keys are kept, and fetched again when they are old, or when a report names one that is not among
/// them: a name costs nothing to make up, so that no reporter's keys are fetched more often than once in
/// [`limits::LEAK_KEYS_PACE`]. Whoever names another one by then is told to come again when they may be: a reporter may have
/// published it since. Keys that cannot be fetched again go on as they are.
#[derive(Debug)]
pub struct Reporters {
    all: Vec<Arc<Known>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Known {
    name: Reporter,
    source: Box<dyn KeySource>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held while they are fetched: whoever else needs them waits, and does not fetch them too.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    keys: Arc<Published>,
    /// When they were last fetched.
    fetched: Option<Duration>,
    /// When that was last tried.
    tried: Option<Duration>,
    told_failing: bool,
}

impl Reporters {
    /// Reporters by their names, with the keys of none of them known yet.
    #[must_use]
    pub fn new(
        all: impl IntoIterator<Item = (Reporter, Box<dyn KeySource>)>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let known = |(name, source)| {
            Arc::new(Known {
                name,
                source,
                clock: Arc::clone(clock),
                state: Mutex::default(),
                fetching: tokio::sync::Mutex::default(),
            })
        };
        Self {
            all: all.into_iter().map(known).collect(),
            clock: Arc::clone(clock),
        }
    }

    /// Who signed.
    ///
    /// # Errors
    /// [`Unproven`].
    pub async fn signer(&self, signed: Signed<'_>) -> Result<Reporter, Unproven> {
        let asked = self.clock.monotonic();
        self.fetch(limits::LEAK_KEYS_AGE).await;
        let found = self.look(signed);
        if found != Err(Unproven::UnknownKey) {
            return found;
        }
        self.fetch(Duration::ZERO).await;
        let found = self.look(signed);
        if found != Err(Unproven::UnknownKey) {
            return found;
        }
        let older = self.all.iter().filter(|known| !known.is_since(asked));
        match older.map(|known| known.due_in()).max() {
            Some(again) => Err(Unproven::KeysUnavailable(again)),
            None => found,
        }
    }

    /// Who signed, by the keys that are held.
    pub fn known(&self, signed: Signed<'_>) -> Option<Reporter> {
        self.look(signed).ok()
    }

    /// Two reporters may call a key alike: then the signature tells whose it is.
    fn look(&self, signed: Signed<'_>) -> Result<Reporter, Unproven> {
        let Signed {
            key,
            signature,
            body,
        } = signed;
        let mut found = Unproven::UnknownKey;
        for known in &self.all {
            let keys = known.keys();
            if keys.verifies(key, body, signature) {
                return Ok(known.name.clone());
            }
            if keys.names(key) {
                found = Unproven::WrongSignature;
            }
        }
        Err(found)
    }

    /// Fetches the keys that are older than `age`, all at the same time.
    async fn fetch(&self, age: Duration) {
        let mut fetching = JoinSet::new();
        for known in self.all.iter().filter(|known| known.is_due(age)) {
            let known = Arc::clone(known);
            fetching.spawn(async move { known.fetch(age).await });
        }
        while fetching.join_next().await.is_some() {}
    }
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> Arc<Published> {
        Arc::clone(&self.state().keys)
    }

    /// Whether they were fetched since, and not in vain.
    fn is_since(&self, asked: Duration) -> bool {
        let state = self.state();
        state.tried >= Some(asked) && state.fetched >= state.tried
    }

    /// How long it is until they may be asked for again.
    fn due_in(&self) -> Duration {
        let due = self.state().tried;
        let due = due.map_or(Duration::ZERO, |at| {
            at.saturating_add(limits::LEAK_KEYS_PACE)
        });
        due.saturating_sub(self.clock.monotonic())
    }

    /// Whether they are older than `age`, and may be asked for again already.
    fn is_due(&self, age: Duration) -> bool {
        let now = self.clock.monotonic();
        let state = self.state();
        let since = |at: Option<Duration>| at.map_or(Duration::MAX, |at| now.saturating_sub(at));
        since(state.tried) >= limits::LEAK_KEYS_PACE && since(state.fetched) >= age
    }

    async fn fetch(&self, age: Duration) {
        let _one_at_a_time = self.fetching.lock().await;
        // Somebody else may have done it meanwhile.
        if !self.is_due(age) {
            return;
        }
        // Before it is tried, so that an attempt which nobody waits for any more counts as well.
        self.state().tried = Some(self.clock.monotonic());
        let document = self.source.fetch().await;
        let keys = document
            .and_then(|document| Published::read(&document).map_err(|error| error.to_string()));
        let reporter = &self.name;
        let mut state = self.state();
        match keys {
            Ok(keys) => {
                state.keys = Arc::new(keys);
                state.fetched = Some(self.clock.monotonic());
                if std::mem::take(&mut state.told_failing) {
                    tracing::info!(%reporter, "the keys of a reporter of leaks can be had again");
                }
            }
            Err(reason) => {
                if !std::mem::replace(&mut state.told_failing, true) {
                    tracing::warn!(%reporter, reason, "the keys of a reporter of leaks cannot be had: those that are known go on");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
