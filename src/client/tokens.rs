//! A token that stays fresh.

mod broker;
mod state;
mod task;
#[cfg(test)]
pub(super) mod tests;

use super::{Ask, Endpoint, Error, Source, Token};
use crate::clock::{Clock, Random, SystemClock, SystemRandomness};
use crate::limits;
use broker::{Broker, Remote};
use jiff::Timestamp;
use state::State;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use task::Task;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// One good token at hand, for any number of callers. Cheap to clone; the last clone dropped ends the
/// background work.
///
/// Nothing is asked for before the first [`Tokens::token`]. From then on the token is renewed whether it
/// is used or not.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    state: Arc<State>,
    patience: Duration,
    task: AbortOnDropHandle<()>,
}

/// How the renewal fares.
#[derive(Clone, Debug)]
pub struct Status {
    /// When the token at hand lapses; none where there is no good one.
    pub expires_at: Option<Timestamp>,
    /// What went wrong since the last success.
    pub failure: Option<Error>,
}

/// Settings of [`Tokens`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    endpoint: Endpoint,
    source: Source,
    ask: Ask,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    patience: Duration,
}

impl Tokens {
    /// Starts with what is exchanged, where, and for what.
    pub fn builder(endpoint: Endpoint, source: Source, ask: Ask) -> Builder {
        Builder {
            endpoint,
            source,
            ask,
            clock: SystemClock::shared(),
            random: SystemRandomness::shared(),
            patience: limits::CLIENT_PATIENCE,
        }
    }

    /// The token at hand: without a lock or a wait while it is good, whatever becomes of the broker.
    ///
    /// Where there is none, all callers wait for the same request: through outages for the builder's
    /// patience; a definitive refusal is reported at once.
    ///
    /// # Errors
    /// The last failure.
    pub async fn token(&self) -> Result<Token, Error> {
        match self.0.state.current() {
            Some(token) => Ok(token),
            None => self.wait().await,
        }
    }

    /// Waits for a good token other than `last`, however long its renewal takes.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn successor(&self, last: &Token) -> Result<Token, Error> {
        let mut progress = self.0.state.subscribe();
        loop {
            let closed = progress.borrow_and_update().closed;
            match self.0.state.current() {
                Some(token) if token.id() != last.id() => return Ok(token),
                Some(_) | None if closed => return Err(Error::Closed),
                Some(_) | None => progress.changed().await.map_err(|_| Error::Closed)?,
            }
        }
    }

    /// How the renewal fares.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            expires_at: self.0.state.current().map(|token| token.expires_at()),
            failure: self.0.state.subscribe().borrow().failure.clone(),
        }
    }

    /// Ends the background work. The token at hand is served until it lapses.
    pub fn close(&self) {
        self.0.task.abort();
        self.0.state.close();
    }

    async fn wait(&self) -> Result<Token, Error> {
        let state = &self.0.state;
        let mut progress = state.subscribe();
        let waiting = async {
            loop {
                // Marked as seen before the token is looked at: what comes in between wakes us again.
                let (failure, closed) = {
                    let seen = progress.borrow_and_update();
                    (seen.failure.clone(), seen.closed)
                };
                if let Some(token) = state.current() {
                    return Ok(token);
                }
                match failure {
                    _ if closed => return Err(Error::Closed),
                    Some(failure) if !failure.is_transient() => return Err(failure),
                    _ => state.want(),
                }
                progress.changed().await.map_err(|_| Error::Closed)?;
            }
        };
        match tokio::time::timeout(self.0.patience, waiting).await {
            Ok(answer) => answer,
            Err(_) => Err(state
                .failure()
                .unwrap_or_else(|| Error::Unreachable("no answer yet".into()))),
        }
    }

    fn start<B: Broker>(
        broker: B,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        patience: Duration,
    ) -> Result<Self, Error> {
        let runtime = Handle::try_current()
            .map_err(|_| Error::Invalid("renewal needs a Tokio runtime".into()))?;
        let state = Arc::new(State::new(clock));
        let task = Task::new(broker, Arc::clone(&state), random);
        Ok(Self(Arc::new(Inner {
            state,
            patience,
            task: AbortOnDropHandle::new(runtime.spawn(task.run())),
        })))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tokens").field(&self.status()).finish()
    }
}

impl Builder {
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

    /// How long [`Tokens::token`] waits through outages where no good token is at hand.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets up the background work.
    ///
    /// # Errors
    /// [`Error::Invalid`] outside a Tokio runtime.
    pub fn build(self) -> Result<Tokens, Error> {
        let remote = Remote::new(self.endpoint, self.source, self.ask);
        Tokens::start(remote, self.clock, self.random, self.patience)
    }
}
