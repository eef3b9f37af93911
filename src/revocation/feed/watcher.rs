//! Somebody who watches: a place among what is kept for all.

use super::ring::After;
use super::snapshot::Snapshot;
use super::state::State;
use super::stats::Seat;
use super::{Encode, Shared};
use crate::revocation::View;
use crate::revocation::partition::Chosen;
use crate::store::Revision;
use bytes::Bytes;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;

/// What a watcher is sent, one message after the other; it ends when the feed does. It takes nothing before it is asked for
/// it, and nothing is kept for it.
pub struct Watcher {
    shared: Arc<Shared>,
    seat: Seat,
    /// What it is told of.
    chosen: Chosen,
    /// And what that is called.
    view: [u8; 16],
    place: Place,
    /// The step that a snapshot for it must be of, at least.
    least: u64,
    told: Told,
    /// How many heartbeats there were when it was last asked for something.
    beats: u64,
    ticks: WatchStream<u64>,
    /// Only while it waits for a snapshot.
    ready: Option<WatchStream<u64>>,
}

/// How far it is.
#[derive(Clone, Debug)]
enum Place {
    /// It needs a snapshot.
    Nowhere,
    /// It has what there is for it of that snapshot before the part at `next`.
    Snapshot { of: Weak<Snapshot>, next: usize },
    /// It has those of the deltas up to this one that are for it.
    Delta(u64),
}

/// What it was told last.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The last delta that it was sent, or after which it began.
    delta: u64,
    /// The last heartbeat that it was sent, or needs not be.
    beat: u64,
    /// It has not been told yet that it has caught up with what there was before it came.
    owed: bool,
    /// It was sent a delta that does not say what is reached, and the one that does is not for it.
    partly: bool,
}

impl Told {
    /// What it is told that has every delta for it.
    fn word(&mut self, state: &State, encode: &dyn Encode) -> Step {
        if self.owed || self.partly {
            // How far that is, and how fresh, in words of its own: the last heartbeat may be older than what it has.
            (self.owed, self.partly) = (false, false);
            self.beat = state.beat.number;
            return Step::Send(encode.heartbeat(&state.label));
        }
        if self.beat == state.beat.number {
            return Step::Wait;
        }
        self.beat = state.beat.number;
        match state.beat.after >= self.delta {
            true => Step::Send(state.beat.frame.clone()),
            // What it was sent since has told more.
            false => Step::Again,
        }
    }
}

/// What is to be done for it.
enum Step {
    Send(Bytes),
    Wait,
    Again,
    End,
}

impl Watcher {
    pub(super) fn new(
        shared: Arc<Shared>,
        seat: Seat,
        view: &View,
        from: Option<Revision>,
    ) -> Self {
        // Before it is looked how far it is, so that nothing comes unseen.
        let ticks = WatchStream::from_changes(shared.ticks.subscribe());
        let chosen = shared.hot.chosen(view);
        let (place, delta, beat) = {
            let state = shared.state();
            match from.and_then(|from| state.resume(from)) {
                Some((number, beat)) => (Place::Delta(number), number, beat),
                None => (Place::Nowhere, 0, state.beat.number),
            }
        };
        Self {
            shared,
            seat,
            chosen,
            view: view.token(),
            place,
            least: 0,
            told: Told {
                delta,
                beat,
                owed: true,
                partly: false,
            },
            beats: 0,
            ticks,
            ready: None,
        }
    }

    /// What it is told of has changed: it is sent a snapshot of that next, whatever it was sent before.
    pub fn look(&mut self, view: &View) {
        self.chosen = self.shared.hot.chosen(view);
        self.view = view.token();
        self.place = Place::Nowhere;
        self.least = self.shared.change().want_snapshot();
    }

    /// How many heartbeats there had been when it was last asked for something, whether or not it was sent them.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.beats
    }

    fn step(&mut self) -> Step {
        let state = self.shared.state();
        self.beats = state.beat.number;
        if state.ended {
            return Step::End;
        }
        match self.place.clone() {
            Place::Delta(number) => match state.after(number, &self.chosen) {
                After::Next(number, delta) => {
                    self.place = Place::Delta(number);
                    self.told.delta = number;
                    self.told.partly = !delta.is_last;
                    self.seat.stats().count_delta();
                    Step::Send(delta.frame)
                }
                After::Nothing(last) => {
                    // What is not for it may go without its being behind.
                    self.place = Place::Delta(last);
                    self.told.word(&state, &*self.shared.encode)
                }
                After::Gone => {
                    self.seat.stats().count_lagged();
                    self.place = Place::Nowhere;
                    Step::Again
                }
            },
            Place::Snapshot { of, next } => {
                let kept = of.upgrade();
                let Some(snapshot) = kept.filter(|snapshot| state.continues(snapshot)) else {
                    self.seat.stats().count_lagged();
                    self.place = Place::Nowhere;
                    return Step::Again;
                };
                snapshot.used.store(state.beat.number, Ordering::Relaxed);
                match snapshot.part(next, &self.chosen) {
                    Some((part, next)) => {
                        self.place = Place::Snapshot { of, next };
                        Step::Send(part.frame.clone())
                    }
                    None => {
                        self.place = Place::Delta(snapshot.at);
                        self.told.delta = snapshot.at;
                        // The snapshot may have been made for others, long ago.
                        self.told.owed = true;
                        let end = snapshot.end(&self.chosen, self.view);
                        Step::Send(self.shared.encode.part(Vec::new(), false, Some(&end)))
                    }
                }
            }
            Place::Nowhere => match state.fit_snapshot(self.least) {
                Some(snapshot) => {
                    let of = Arc::downgrade(snapshot);
                    self.place = Place::Snapshot { of, next: 0 };
                    self.ready = None;
                    Step::Again
                }
                None => Step::Wait,
            },
        }
    }

    /// Waits for what it needs: something new, or a snapshot.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        if !matches!(self.place, Place::Nowhere) {
            return Pin::new(&mut self.ticks).poll_next(cx);
        }
        let Some(ready) = &mut self.ready else {
            // It is looked once more after this, so that a snapshot does not become ready unseen.
            let ready = WatchStream::from_changes(self.shared.ready.subscribe());
            self.ready = Some(ready);
            return Poll::Ready(Some(0));
        };
        let polled = Pin::new(ready).poll_next(cx);
        if polled.is_pending() {
            self.shared.wanted.notify_one();
        }
        polled
    }
}

impl Stream for Watcher {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match self.step() {
                Step::Send(frame) => return Poll::Ready(Some(frame)),
                Step::End => return Poll::Ready(None),
                Step::Again => {}
                Step::Wait => match self.wait(cx) {
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("place", &self.place)
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
