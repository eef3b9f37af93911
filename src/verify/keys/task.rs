//! The background work: the only one that fetches, so there is never more than one request.

use super::{Current, Round, Shared};
use crate::client::Error;
use crate::client::renewal::{Backoff, draw, renewal_age};
use crate::clock::Random;
use crate::jose::KeySet;
use crate::limits;
use crate::verify::fetch::{FetchError, Fetcher, metadata_url};
use crate::verify::stats::count;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Publishes keys.
pub(super) trait Publisher: Send + Sync + 'static {
    /// The keys as they are now.
    fn keys(&self) -> impl Future<Output = Result<KeySet, FetchError>> + Send;
}

/// The real one.
pub(super) struct Issuer {
    fetcher: Fetcher,
    issuer: String,
}

impl Issuer {
    pub(super) fn new(fetcher: Fetcher, issuer: String) -> Result<Self, FetchError> {
        metadata_url(&issuer)?;
        Ok(Self { fetcher, issuer })
    }
}

impl Publisher for Issuer {
    async fn keys(&self) -> Result<KeySet, FetchError> {
        self.fetcher.key_set(&self.issuer).await
    }
}

pub(super) struct Task<P> {
    publisher: P,
    shared: Arc<Shared>,
    random: Arc<dyn Random>,
    max_age: Duration,
    round: watch::Sender<Round>,
}

impl<P: Publisher> Task<P> {
    pub(super) fn new(
        publisher: P,
        shared: Arc<Shared>,
        random: Arc<dyn Random>,
        max_age: Duration,
        round: watch::Sender<Round>,
    ) -> Self {
        Self {
            publisher,
            shared,
            random,
            max_age,
            round,
        }
    }

    /// Fetches until it is dropped.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            let due = match self.publisher.keys().await {
                Ok(set) => {
                    count(&self.shared.stats.fetches);
                    backoff.reset();
                    self.publish(set);
                    let age = renewal_age(self.max_age, draw(&*self.random));
                    age.max(limits::KEYS_REFETCH)
                }
                Err(error) => {
                    count(&self.shared.stats.failures);
                    tracing::warn!(%error, "the issuer's keys could not be fetched");
                    let cause = Error::Unreachable(error.to_string().into());
                    backoff.after(&cause, draw(&*self.random))
                }
            };
            self.rest(due).await;
        }
    }

    /// Until the next fetch is due or wanted. Who wants one meanwhile does not wait for it.
    async fn rest(&self, due: Duration) {
        let due = Instant::now() + due;
        let quiet = due.min(Instant::now() + limits::KEYS_REFETCH);
        self.round.send_modify(|round| {
            round.ended = round.ended.saturating_add(1);
            round.open = false;
        });
        tokio::time::sleep_until(quiet).await;
        self.round.send_modify(|round| round.open = true);
        let ended = self.round.borrow().ended;
        let mut wishes = self.shared.wanted.subscribe();
        let wanted = wishes.wait_for(|wish| *wish == Some(ended));
        // Either way it is time.
        let _due_or_wanted = tokio::time::timeout_at(due, wanted).await;
    }

    fn publish(&self, set: KeySet) {
        let current = self.shared.current.load();
        if current.generation > 0 && current.set.is_same(&set) {
            return;
        }
        let generation = current.generation.saturating_add(1);
        self.shared
            .current
            .store(Arc::new(Current { set, generation }));
    }
}
