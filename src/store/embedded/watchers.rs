//! Watchers, and the history that they can come back to.

use super::fault::SqlFault;
use super::rows;
use super::schema::Meta;
use crate::limits;
use crate::store::{Event, Op, Revision, StoreFault};
use jiff::Timestamp;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Senders to those who watch. Only the writer's thread has them, so what is committed is sent in order, once.
#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<mpsc::Sender<Event>>);

impl Watchers {
    /// A receiver of everything after `from`: the history first, then what comes.
    pub(super) fn add(
        &mut self,
        connection: &Connection,
        meta: &Meta,
        from: Revision,
        now: Timestamp,
    ) -> Result<mpsc::Receiver<Event>, StoreFault> {
        self.0.retain(|sender| !sender.is_closed());
        if self.0.len() >= limits::STORE_WATCHERS {
            return Err(StoreFault("too many watchers".to_owned()));
        }
        let mut events = Vec::new();
        let known = meta.head.covers(&from) && from.counter >= meta.floor;
        if known {
            events = history(connection, from, meta.head)?;
            events.push(Event::Current {
                revision: meta.head,
                as_of: now,
            });
        } else {
            events.push(Event::LoadAgain);
        }
        // The history is bounded, so the channel is: it has room for all of it at once.
        let room = events.len().saturating_add(limits::STORE_WATCH_QUEUE);
        let (sender, receiver) = mpsc::channel(room);
        for event in events {
            sender
                .try_send(event)
                .map_err(|_| StoreFault("the watch could not be filled".to_owned()))?;
        }
        if known {
            self.0.push(sender);
        }
        Ok(receiver)
    }

    /// Sends a committed revision. A watcher without room is dropped: its channel closes, and it loads again.
    pub(super) fn changed(&mut self, revision: Revision, ops: &Arc<[Op]>) {
        self.0.retain(|sender| {
            sender
                .try_send(Event::Changed {
                    revision,
                    ops: Arc::clone(ops),
                })
                .is_ok()
        });
    }

    /// Confirms the newest revision. One that has no room for it is not behind for that reason alone.
    pub(super) fn current(&mut self, revision: Revision, as_of: Timestamp) {
        self.0.retain(|sender| {
            let sent = sender.try_send(Event::Current { revision, as_of });
            !matches!(sent, Err(TrySendError::Closed(_)))
        });
    }

    /// Lets everyone load again.
    pub(super) fn load_again(&mut self) {
        for sender in self.0.drain(..) {
            // Without room for it, the closed channel says the same.
            sender.try_send(Event::LoadAgain).ok();
        }
    }
}

/// Every revision has its event, those without changes too.
fn history(
    connection: &Connection,
    from: Revision,
    head: Revision,
) -> Result<Vec<Event>, SqlFault> {
    let mut changes = rows::changes(connection, from.counter)?
        .into_iter()
        .peekable();
    let mut events = Vec::new();
    for counter in from.counter.saturating_add(1)..=head.counter {
        let mut ops = Vec::new();
        while let Some((_, op)) = changes.next_if(|(at, _)| *at == counter) {
            ops.push(op);
        }
        let revision = Revision { counter, ..head };
        let ops = ops.into();
        events.push(Event::Changed { revision, ops });
    }
    Ok(events)
}

/// How much history there is, so that it can be kept within its bounds.
#[derive(Debug)]
pub(super) struct History {
    sizes: VecDeque<(u64, usize)>,
    bytes: usize,
}

/// Trimming costs an fsync of its own, so it waits until this many revisions, or an eighth of the bytes, are over.
const SLACK: u64 = 256;

impl History {
    /// What the file has.
    pub(super) fn measure(connection: &Connection, meta: &Meta) -> Result<Self, SqlFault> {
        let sizes: VecDeque<_> = rows::change_sizes(connection, meta.floor)?.into();
        let bytes = sizes.iter().map(|(_, size)| *size).sum();
        Ok(Self { sizes, bytes })
    }

    pub(super) fn add(&mut self, revision: Revision, ops: &[Op]) {
        let size = ops.iter().map(Op::size).fold(0, usize::saturating_add);
        self.sizes.push_back((revision.counter, size));
        self.bytes = self.bytes.saturating_add(size);
    }

    /// The counter up to which the history is to be forgotten now, if any.
    pub(super) fn excess(&self, meta: &Meta) -> Option<u64> {
        let kept = meta.head.counter.saturating_sub(meta.floor);
        let slack = limits::STORE_HISTORY_BYTES / 8;
        if kept <= limits::STORE_HISTORY.saturating_add(SLACK)
            && self.bytes <= limits::STORE_HISTORY_BYTES.saturating_add(slack)
        {
            return None;
        }
        let mut floor = meta.head.counter.saturating_sub(limits::STORE_HISTORY);
        let mut bytes = self.bytes;
        for (counter, size) in &self.sizes {
            if *counter > floor && bytes <= limits::STORE_HISTORY_BYTES {
                break;
            }
            floor = floor.max(*counter);
            bytes = bytes.saturating_sub(*size);
        }
        Some(floor)
    }

    /// Notes that everything up to `floor` was forgotten.
    pub(super) fn forgotten(&mut self, floor: u64) {
        while let Some((_, size)) = self.sizes.pop_front_if(|(counter, _)| *counter <= floor) {
            self.bytes = self.bytes.saturating_sub(size);
        }
    }
}
