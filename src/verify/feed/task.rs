//! Following the feed: from one connection to the next.

use super::Progress;
use super::held::{Done, Held, Reader};
use super::told::Fault;
use crate::client::renewal::{Backoff, draw};
use crate::client::{Endpoint, Error};
use crate::clock::Random;
use crate::limits;
use crate::proto::revocation_client::RevocationClient;
use crate::proto::watch_response::Event;
use crate::proto::{WatchRequest, WatchResponse};
use crate::verify::stats::count;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::Streaming;

pub(super) struct Task {
    pub(super) endpoint: Endpoint,
    pub(super) held: Arc<Held>,
    pub(super) random: Arc<dyn Random>,
    pub(super) silence: Duration,
    pub(super) most: usize,
    pub(super) progress: watch::Sender<Progress>,
}

impl Task {
    /// Follows until it is dropped. Each attempt is a new connection: the client's certificate may have been rotated.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        let mut resume = true;
        loop {
            let mut served = false;
            let error = match self.open(resume).await {
                Ok((stream, resumed)) => {
                    let (error, brought, is_held) = self.follow(stream, resumed).await;
                    // What came cannot be: the rest of it is not asked for again, but all of it, at a pace that grows slower.
                    let is_sound = !matches!(error, Error::Protocol(_));
                    resume = is_sound && (resume || is_held);
                    if brought && is_sound {
                        backoff.reset();
                    }
                    served = brought;
                    error
                }
                Err(error) => error,
            };
            count(&self.held.stats.failures);
            tracing::warn!(%error, "the feed of revocations has ended");
            // Whoever was served until now may have come with a certificate that has ended: another is read at once.
            let lost = Error::Lost("".into());
            let cause = match served && error.is_refusal() {
                true => &lost,
                false => &error,
            };
            let wait = backoff.after(cause, draw(&*self.random));
            self.progress.send_modify(|progress| {
                progress.connected = false;
                progress.caught_up = false;
                progress.failure = Some(error);
            });
            tokio::time::sleep(wait).await;
        }
    }

    async fn open(&self, resume: bool) -> Result<(Streaming<WatchResponse>, bool), Error> {
        let channel = self.endpoint.channel().await?;
        let mut stub =
            RevocationClient::new(channel).max_decoding_message_size(limits::FEED_MESSAGE);
        let from = self.held.view.load_full().filter(|_| resume);
        let resumed = from.is_some();
        let request = from.map_or_else(WatchRequest::default, |from| WatchRequest {
            from_revision: from.revision.to_string(),
            view: from.of.to_vec(),
        });
        match tokio::time::timeout(limits::CLIENT_CALL, stub.watch(request)).await {
            Ok(answer) => Ok((answer?.into_inner(), resumed)),
            Err(_) => Err(Error::Unreachable("no answer in time".into())),
        }
    }

    /// Takes what comes until nothing does. Answers why, whether anything came, and whether it went into what is held.
    async fn follow(
        &self,
        mut stream: Streaming<WatchResponse>,
        resumed: bool,
    ) -> (Error, bool, bool) {
        count(&self.held.stats.begun);
        let mut reader = Reader::new(&self.held, self.most, resumed);
        let mut brought = false;
        loop {
            let next = tokio::time::timeout(self.silence, stream.message()).await;
            let mut is_beat = false;
            let taken = match next {
                Ok(Ok(Some(WatchResponse { event: Some(event) }))) => {
                    is_beat = matches!(event, Event::Heartbeat(_));
                    reader.take(event)
                }
                // An event of a kind that a later version sends: what it changes is not known.
                Ok(Ok(Some(WatchResponse { event: None }))) => Err(Fault("an unknown event")),
                Ok(Ok(None)) => {
                    return (
                        Error::Lost("the feed was closed".into()),
                        brought,
                        reader.is_held(),
                    );
                }
                Ok(Err(status)) => return (status.into(), brought, reader.is_held()),
                Err(_) => {
                    return (
                        Error::Lost("the feed is silent".into()),
                        brought,
                        reader.is_held(),
                    );
                }
            };
            match taken {
                Ok(Done::Applied) => {}
                // Millions of markers take a while to be given back: not on a thread that serves.
                Ok(Done::Replaced(old)) => drop(tokio::task::spawn_blocking(move || drop(old))),
                Err(fault) => return (fault.into(), brought, false),
            }
            brought = true;
            while self.held.expire() {
                tokio::task::yield_now().await;
            }
            self.progress.send_modify(|progress| {
                progress.connected = true;
                progress.caught_up |= is_beat && reader.is_held();
                progress.failure = None;
            });
        }
    }
}
