//! The writer: one thread that owns the write connection, the watchers and the reserve.

use super::fault::SqlFault;
use super::files::Owned;
use super::group::{self, Failed, Outcome, Write};
use super::reserve::Reserve;
use super::rows;
use super::schema::Meta;
use super::shared::Shared;
use super::watchers::{History, Watchers};
use crate::clock::Clock;
use crate::limits;
use crate::store::{Batch, CommitError, Event, Incarnation, LogPosition, Revision, StoreFault};
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Commit(Batch, oneshot::Sender<Result<Revision, CommitError>>),
    Drained(LogPosition, oneshot::Sender<Result<(), StoreFault>>),
    Watch(
        Revision,
        oneshot::Sender<Result<mpsc::Receiver<Event>, StoreFault>>,
    ),
    Renew(Incarnation, oneshot::Sender<Result<Revision, StoreFault>>),
    Close,
}

/// A job in the queue, and the place that it has there until it is taken.
pub(super) type Queued = (Job, Option<OwnedSemaphorePermit>);

/// Whom to tell what became of a write.
#[derive(Debug)]
enum Waiting {
    Commit(oneshot::Sender<Result<Revision, CommitError>>),
    Drained(oneshot::Sender<Result<(), StoreFault>>),
}

impl Waiting {
    // A caller that has gone away is not waited for: what it asked for has happened or not all the same.
    fn tell(self, outcome: Result<Outcome, CommitError>) {
        match (self, outcome) {
            (Self::Commit(to), Ok(Outcome::Committed { revision, .. })) => {
                to.send(Ok(revision)).ok();
            }
            (Self::Commit(to), Ok(Outcome::Refused(why))) => {
                to.send(Err(CommitError::Refused(why.to_owned()))).ok();
            }
            (Self::Commit(to), Ok(Outcome::Conflict | Outcome::Drained)) => {
                to.send(Err(CommitError::Conflict)).ok();
            }
            (Self::Commit(to), Err(error)) => {
                to.send(Err(error)).ok();
            }
            (Self::Drained(to), Ok(Outcome::Refused(why))) => {
                to.send(Err(StoreFault(why.to_owned()))).ok();
            }
            (Self::Drained(to), Ok(_)) => {
                to.send(Ok(())).ok();
            }
            (Self::Drained(to), Err(error)) => {
                to.send(Err(StoreFault(error.to_string()))).ok();
            }
        }
    }
}

/// Everything the thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) meta: Meta,
    pub(super) history: History,
    pub(super) watchers: Watchers,
    pub(super) reserve: Reserve,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
    /// Given back when the thread has closed its connection.
    pub(super) owned: Owned,
}

impl Writer {
    /// Works until it is told to close, or nobody is left to ask.
    pub(super) fn run(mut self, jobs: &Receiver<Queued>) {
        let mut confirmed = self.clock.monotonic();
        loop {
            let job = jobs.recv_timeout(limits::STORE_HEARTBEAT);
            let idle = matches!(job, Err(RecvTimeoutError::Timeout));
            match job {
                Ok((job, place)) => {
                    drop(place);
                    if !self.serve(job, jobs) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // A busy store confirms by its own clock; an idle one whenever the second is over.
            let now = self.clock.monotonic();
            if idle || now.saturating_sub(confirmed) >= limits::STORE_HEARTBEAT {
                confirmed = now;
                self.tick(now);
            }
        }
        self.close();
    }

    /// Does `first` and what has queued up behind it; false when it is time to end.
    fn serve(&mut self, first: Job, jobs: &Receiver<Queued>) -> bool {
        let mut group = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Commit(batch, to) => group.push((Write::Commit(batch), Waiting::Commit(to))),
                Job::Drained(at, to) => group.push((Write::Drained(at), Waiting::Drained(to))),
                Job::Watch(from, to) => {
                    self.write(std::mem::take(&mut group));
                    to.send(self.watch(from)).ok();
                }
                Job::Renew(incarnation, to) => {
                    self.write(std::mem::take(&mut group));
                    to.send(self.renew(incarnation)).ok();
                }
                Job::Close => {
                    self.write(group);
                    return false;
                }
            }
            next = (group.len() < limits::STORE_GROUP)
                .then(|| jobs.try_recv().ok())
                .flatten()
                .map(|(job, _)| job);
        }
        self.write(group);
        true
    }

    fn watch(&mut self, from: Revision) -> Result<mpsc::Receiver<Event>, StoreFault> {
        self.sound()?;
        let now = self.clock.now();
        self.watchers.add(&self.connection, &self.meta, from, now)
    }

    fn sound(&self) -> Result<(), StoreFault> {
        match self.shared.doubt() {
            None => Ok(()),
            Some(reason) => Err(StoreFault(reason)),
        }
    }

    fn write(&mut self, group: Vec<(Write, Waiting)>) {
        if let Some(reason) = self.shared.doubt() {
            for (_, waiting) in group {
                waiting.tell(Err(CommitError::Refused(reason.clone())));
            }
            return;
        }
        let whole = self.reserve.make_whole();
        let (mut writes, mut waiting) = (Vec::new(), Vec::new());
        for (write, to) in group {
            if whole || write.is_reserved() {
                writes.push(write);
                waiting.push(to);
            } else {
                to.tell(Err(full("the rest of the reserve is kept for revocation")));
            }
        }
        if writes.is_empty() {
            return;
        }
        match group::commit(&self.connection, &mut self.meta, &writes) {
            Ok(outcomes) => {
                for (to, outcome) in waiting.into_iter().zip(outcomes) {
                    self.publish(&outcome);
                    to.tell(Ok(outcome));
                }
            }
            Err(Failed::Doubt(reason)) => {
                self.shared.set_doubt(&reason);
                for to in waiting {
                    to.tell(Err(CommitError::Unknown(reason.clone())));
                }
            }
            // To try each by itself would only wait as long again for each.
            Err(Failed::Busy(reason)) => {
                for to in waiting {
                    to.tell(Err(CommitError::Refused(reason.clone())));
                }
            }
            // One write of the group may be why; each is tried by itself.
            Err(Failed::Full | Failed::Nothing(_)) => {
                for (write, to) in writes.into_iter().zip(waiting) {
                    let outcome = self.write_alone(write);
                    if let Ok(outcome) = &outcome {
                        self.publish(outcome);
                    }
                    to.tell(outcome);
                }
            }
        }
        self.trim();
    }

    fn write_alone(&mut self, write: Write) -> Result<Outcome, CommitError> {
        let reserved = write.is_reserved();
        let writes = [write];
        for attempt in 0.. {
            if let Some(reason) = self.shared.doubt() {
                return Err(CommitError::Refused(reason));
            }
            match group::commit(&self.connection, &mut self.meta, &writes) {
                Ok(outcomes) => {
                    return outcomes
                        .into_iter()
                        .next()
                        .ok_or_else(|| full("no outcome"));
                }
                Err(Failed::Full) if reserved && self.make_room(attempt) => {}
                Err(Failed::Full) if reserved => return Err(full("the reserve is used up")),
                Err(Failed::Full) => return Err(full("nothing was written")),
                Err(Failed::Busy(reason) | Failed::Nothing(reason)) => {
                    return Err(CommitError::Refused(reason));
                }
                Err(Failed::Doubt(reason)) => {
                    self.shared.set_doubt(&reason);
                    return Err(CommitError::Unknown(reason));
                }
            }
        }
        Err(full("the reserve is used up"))
    }

    /// Makes room for a reserved write that is to be tried again; false when nothing is left to make it from.
    ///
    /// First the write-ahead log's pages go into the file, so that the log is written from its beginning again, where it
    /// needs no room, whoever else takes what is free. Only when the file itself has to grow is a step of the reserve
    /// given up, and then the file takes a whole chunk of it ([`limits::STORE_CHUNK`]).
    fn make_room(&mut self, attempt: u32) -> bool {
        let given = attempt == 0 || self.reserve.give_up();
        // Should this fail, the log goes on growing instead.
        let passive = "PRAGMA wal_checkpoint(PASSIVE)";
        self.connection.query_row(passive, [], |_| Ok(())).ok();
        given
    }

    fn publish(&mut self, outcome: &Outcome) {
        if let Outcome::Committed { revision, ops } = outcome {
            self.history.add(*revision, ops);
            self.shared.set_revision(*revision);
            self.watchers.changed(*revision, ops);
        }
    }

    /// Keeps the history within its bounds. On a full disk it stays as it is until there is room.
    fn trim(&mut self) {
        let Some(floor) = self.history.excess(&self.meta) else {
            return;
        };
        let next = Meta {
            floor,
            ..self.meta.clone()
        };
        let forget = |connection: &Connection| rows::forget(connection, floor);
        match group::change_meta(&self.connection, &mut self.meta, next, forget) {
            Ok(()) => self.history.forgotten(floor),
            Err(Failed::Doubt(reason)) => self.shared.set_doubt(&reason),
            Err(Failed::Busy(_) | Failed::Full | Failed::Nothing(_)) => {}
        }
    }

    fn renew(&mut self, incarnation: Incarnation) -> Result<Revision, StoreFault> {
        self.sound()?;
        for attempt in 0.. {
            match renew(&self.connection, &mut self.meta, incarnation) {
                Ok(()) => break,
                Err(Failed::Full) if self.make_room(attempt) => {}
                Err(Failed::Full) => return Err(StoreFault("the disk is full".to_owned())),
                Err(Failed::Busy(reason) | Failed::Nothing(reason)) => {
                    return Err(StoreFault(reason));
                }
                Err(Failed::Doubt(reason)) => {
                    self.shared.set_doubt(&reason);
                    return Err(StoreFault(reason));
                }
            }
        }
        self.history.forgotten(self.meta.floor);
        self.shared.set_revision(self.meta.head);
        self.watchers.load_again();
        Ok(self.meta.head)
    }

    /// Confirms to the watchers that nothing newer exists, which a store in doubt does not know.
    fn tick(&mut self, now: Duration) {
        if self.shared.doubt().is_none() {
            self.reserve.make_whole();
            self.watchers.current(self.meta.head, self.clock.now());
        }
        self.shared.readers.expire(now);
    }

    fn close(self) {
        let Self {
            connection, owned, ..
        } = self;
        self.shared.readers.clear();
        // Whatever closing answers, each commit is durable already; the write-ahead log stays for the next opening.
        connection.close().ok();
        drop(owned);
    }
}

/// Ends the incarnation that `meta` is in, and begins another at the same counter.
pub(super) fn renew(
    connection: &Connection,
    meta: &mut Meta,
    incarnation: Incarnation,
) -> Result<(), Failed> {
    let before = meta.head;
    let next = Meta {
        head: Revision {
            incarnation,
            ..before
        },
        floor: before.counter,
        copied: false,
        log: meta.log,
    };
    group::change_meta(connection, meta, next, |connection| {
        rows::part(connection, before)?;
        rows::forget(connection, before.counter)
    })
}

fn full(what: &str) -> CommitError {
    CommitError::Refused(format!("the disk is full; {what}"))
}

impl From<Failed> for SqlFault {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Full => Self::Doubt("the disk is full".to_owned()),
            Failed::Busy(reason) | Failed::Nothing(reason) | Failed::Doubt(reason) => {
                Self::Doubt(reason)
            }
        }
    }
}
