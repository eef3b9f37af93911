//! Somebody who watches: a place among what is kept for all.

use super::Shared;
use super::ring::After;
use super::stats::Seat;
use crate::store::Revision;
use bytes::Bytes;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;

/// What a watcher is sent, one message after the other; it ends when the feed does. It takes nothing before it is asked for
/// it, and nothing is kept for it.
pub struct Watcher {
    shared: Arc<Shared>,
    seat: Seat,
    place: Place,
    /// The last heartbeat that it was sent, or needs not be.
    beat: u64,
    /// It has not been told yet that it has caught up with what there was before it came.
    owed: bool,
    /// How many heartbeats there were when it was last asked for something.
    beats: u64,
    ticks: WatchStream<u64>,
    /// Only while it waits for a snapshot.
    ready: Option<WatchStream<u64>>,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// It needs a snapshot.
    Nowhere,
    /// It has so many parts of the snapshot of that number.
    Snapshot { number: u64, parts: usize },
    /// It has the deltas up to this one.
    Delta(u64),
}

/// What is to be done for it.
enum Step {
    Send(Bytes),
    Wait,
    Again,
    End,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, seat: Seat, from: Option<Revision>) -> Self {
        // Before it is looked how far it is, so that nothing comes unseen.
        let ticks = WatchStream::from_changes(shared.ticks.subscribe());
        let (place, beat) = {
            let state = shared.state();
            match from.and_then(|from| state.resume(from)) {
                Some((number, beat)) => (Place::Delta(number), beat),
                None => (Place::Nowhere, state.beat.number),
            }
        };
        Self {
            shared,
            seat,
            place,
            beat,
            owed: true,
            beats: 0,
            ticks,
            ready: None,
        }
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
        match self.place {
            Place::Delta(number) => match state.after(number) {
                After::Next(frame) => {
                    self.place = Place::Delta(number.saturating_add(1));
                    self.seat.stats().count_delta();
                    Step::Send(frame)
                }
                After::Nothing if self.owed => {
                    // How far that is, and how fresh, in words of its own: the last heartbeat may be older than what it has.
                    self.owed = false;
                    self.beat = state.beat.number;
                    Step::Send(self.shared.encode.heartbeat(&state.label))
                }
                After::Nothing if self.beat == state.beat.number => Step::Wait,
                After::Nothing => {
                    self.beat = state.beat.number;
                    // What came since has told more.
                    match state.beat.after == number {
                        true => Step::Send(state.beat.frame.clone()),
                        false => Step::Again,
                    }
                }
                After::Gone => {
                    self.seat.stats().count_lagged();
                    self.place = Place::Nowhere;
                    Step::Again
                }
            },
            Place::Snapshot { number, parts } => {
                let snapshot = state.snapshot(number);
                let Some((snapshot, frame)) =
                    snapshot.and_then(|found| Some((found, found.frames.get(parts)?)))
                else {
                    self.seat.stats().count_lagged();
                    self.place = Place::Nowhere;
                    return Step::Again;
                };
                snapshot.used.store(state.beat.number, Ordering::Relaxed);
                let parts = parts.saturating_add(1);
                if parts == snapshot.frames.len() {
                    self.place = Place::Delta(snapshot.at);
                    // The snapshot may have been made for others, long ago.
                    self.owed = true;
                } else {
                    self.place = Place::Snapshot { number, parts };
                }
                Step::Send(frame.clone())
            }
            Place::Nowhere => match state.fit_snapshot() {
                Some(snapshot) => {
                    let number = snapshot.number;
                    self.place = Place::Snapshot { number, parts: 0 };
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
            .field("beat", &self.beat)
            .finish_non_exhaustive()
    }
}
