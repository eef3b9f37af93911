//! What the background work and the callers share.

use super::{Error, Token};
use crate::clock::Clock;
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The token at hand and how the work on its successor goes.
#[derive(Debug)]
pub(super) struct State {
    held: ArcSwapOption<Held>,
    progress: watch::Sender<Progress>,
    wanted: Notify,
    clock: Arc<dyn Clock>,
}

/// Changes with each attempt's end.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) failure: Option<Error>,
    pub(super) closed: bool,
}

/// A token, and when it came by both of this machine's clocks.
#[derive(Debug)]
struct Held {
    token: Token,
    lapses: Duration,
    received: Timestamp,
}

impl State {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            held: ArcSwapOption::empty(),
            progress: watch::Sender::new(Progress::default()),
            wanted: Notify::new(),
            clock,
        }
    }

    /// Monotonic time.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The token, while it is good.
    pub(super) fn current(&self) -> Option<Token> {
        let held = self.held.load();
        let held = held.as_ref()?;
        let good = self.clock.monotonic() < held.lapses;
        // A machine that slept has a monotonic clock that did not: the wall clock tells. Only the time
        // since the token came counts, so that a clock which is merely wrong does no harm.
        let slept = self.clock.now().duration_since(held.received);
        let lapsed = Duration::try_from(slept).is_ok_and(|slept| slept >= held.token.lifetime());
        (good && !lapsed).then(|| held.token.clone())
    }

    /// Takes a token that was asked for, or sent, at `since` (monotonic), and says until when it is good.
    ///
    /// It is never held to be good for longer than since the request, nor for longer than the wall clock
    /// says: a delivery may have been stuck on its way. A wall clock that would leave less than half of
    /// the lifetime is taken to be wrong instead: keep-alive ends connections that are stuck for long.
    pub(super) fn accept(&self, token: Token, since: Duration) -> Duration {
        let received = self.clock.now();
        let left = Duration::try_from(token.expires_at().duration_since(received))
            .ok()
            .filter(|left| *left >= token.lifetime() / 2);
        let by_wall = left.map_or(Duration::MAX, |left| {
            self.clock.monotonic().saturating_add(left)
        });
        let lapses = since.saturating_add(token.lifetime()).min(by_wall);
        self.held.store(Some(Arc::new(Held {
            token,
            lapses,
            received,
        })));
        self.progress
            .send_modify(|progress| progress.failure = None);
        lapses
    }

    /// Lets go of the token at hand: it is known to be refused everywhere.
    pub(super) fn discard(&self) {
        self.held.store(None);
    }

    pub(super) fn fail(&self, error: Error) {
        self.progress
            .send_modify(|progress| progress.failure = Some(error));
    }

    pub(super) fn failure(&self) -> Option<Error> {
        self.progress.borrow().failure.clone()
    }

    pub(super) fn close(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// A caller waits for a token.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Until a caller waits and there is no good token. A wish that was granted meanwhile does not count.
    pub(super) async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            if self.current().is_none() {
                return;
            }
        }
    }
}
