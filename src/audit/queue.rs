//! The bounded queue between callers and the one writer.

use super::health::{Health, LogHealth};
use super::record::{Record, StoreRecord};
use super::refusals::Telling;
use super::stats::Stats;
use crate::limits;
use crate::marker::Fence;
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::LogId;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use tokio::sync::oneshot;

/// What a caller waits for: the sequence of its record (the last one's, where it brought several).
pub(super) type Answer = Result<u64, Denial>;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Work {
    /// A token waits for it; a marker that covers the fence turns it into a refusal. `issued` is the `iat`.
    Issue {
        record: Record,
        fence: Arc<Fence>,
        issued: i64,
    },
    /// Somebody waits for it.
    Event(Record),
    /// The same of records that are about to be removed: it makes room, so that it is taken when hardly anything is.
    Pruning(Record),
    /// Somebody waits for it, and the mark starts anew: an operator says that it came from a wrong clock.
    ClockConfirmed(Record),
    /// Nobody waits for it.
    Refusal(Record),
    /// Entries of the store's outbox in order: all in one batch, or none.
    Outbox(Vec<StoreRecord>),
}

impl Work {
    /// What it takes in a batch at most.
    pub(super) fn room(&self) -> usize {
        match self {
            Self::Issue { record, .. }
            | Self::Event(record)
            | Self::Pruning(record)
            | Self::ClockConfirmed(record)
            | Self::Refusal(record) => record.room(),
            Self::Outbox(records) => records.iter().map(StoreRecord::room).sum(),
        }
    }
}

/// Work, who waits for it, and its place in the queue.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    done: Option<oneshot::Sender<Answer>>,
    /// Of refusals: what the record tells.
    telling: Option<Telling>,
    place: Place,
}

impl Job {
    /// Tells whoever waits. A caller that went away is no error: its record stands. For a refusal nobody does: what is not
    /// on the record is counted towards the next summary.
    pub(super) fn answer(self, answer: Answer) {
        if let (Err(_), Some(telling)) = (&answer, self.telling) {
            telling.take_back(&self.place.stats);
        }
        if let Some(done) = self.done {
            let _ = done.send(answer);
        }
        drop(self.place);
    }
}

/// What the writer receives.
#[derive(Debug)]
pub(super) enum Message {
    /// Work.
    Job(Job),
    /// See whether the log is as it was left.
    Look,
    /// Closed segments are as they were left, or why not.
    Closed(Option<String>),
    /// From here on the log is this one.
    Anew(LogId, oneshot::Sender<Answer>),
    /// Write what came before, and end.
    Close,
}

/// Room taken in the queue until the job is done.
#[derive(Debug)]
struct Place {
    stats: Arc<Stats>,
    bytes: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stats.queued.fetch_sub(1, Ordering::AcqRel);
        self.stats
            .queued_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// The callers' end.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Message>,
    stats: Arc<Stats>,
    health: Arc<Health>,
}

impl Queue {
    pub(super) fn new(stats: Arc<Stats>, health: Arc<Health>) -> (Self, mpsc::Receiver<Message>) {
        // The channel itself is unbounded: places bound it, by count and by bytes, until work is done and
        // not only until it is received.
        let (sender, receiver) = mpsc::channel();
        let queue = Self {
            sender,
            stats,
            health,
        };
        (queue, receiver)
    }

    /// Queues work that somebody waits for.
    pub(super) fn submit(&self, work: Work) -> Result<oneshot::Receiver<Answer>, Denial> {
        if matches!(work, Work::Issue { .. }) && !self.health.issuing() {
            return Err(unavailable(&self.health));
        }
        let place = self
            .place(&work)
            .ok_or_else(|| Refusal::new(Code::TooBusy, "the log's queue is full"))?;
        let (done, answer) = oneshot::channel();
        self.send(Job {
            work,
            done: Some(done),
            telling: None,
            place,
        })
        .map_err(|()| closed())?;
        Ok(answer)
    }

    /// Queues a record of refusals, for which nobody waits, unless the queue is over half full. Answers whether it did.
    pub(super) fn offer(&self, record: Record, telling: Telling) -> bool {
        let half = self.stats.queued.load(Ordering::Acquire) > limits::LOG_QUEUE / 2;
        if half || !self.health.issuing() {
            return false;
        }
        let work = Work::Refusal(record);
        let Some(place) = self.place(&work) else {
            return false;
        };
        self.send(Job {
            work,
            done: None,
            telling: Some(telling),
            place,
        })
        .is_ok()
    }

    /// Makes the log another one after everything that is queued.
    pub(super) fn begin_anew(&self, log: LogId) -> Result<oneshot::Receiver<Answer>, Denial> {
        let (done, answer) = oneshot::channel();
        let sent = self.sender.send(Message::Anew(log, done));
        sent.map(|()| answer).map_err(|_| closed())
    }

    /// Has the writer look at what it wrote, when it comes to it.
    pub(super) fn look(&self) {
        let _ = self.sender.send(Message::Look);
    }

    /// Tells the writer what of the closed segments is lost, if anything is.
    pub(super) fn closed_segments(&self, lost: Option<String>) {
        let _ = self.sender.send(Message::Closed(lost));
    }

    /// Ends the writer after everything that is queued.
    pub(super) fn close(&self) {
        let _ = self.sender.send(Message::Close);
    }

    fn send(&self, job: Job) -> Result<(), ()> {
        self.sender.send(Message::Job(job)).map_err(|_| ())
    }

    fn place(&self, work: &Work) -> Option<Place> {
        let bytes = work.room();
        let queued = self.stats.queued.fetch_add(1, Ordering::AcqRel);
        let before = self.stats.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        let place = Place {
            stats: Arc::clone(&self.stats),
            bytes,
        };
        let fits =
            queued < limits::LOG_QUEUE && before.saturating_add(bytes) <= limits::LOG_QUEUE_BYTES;
        // What the store committed brings revocations, which no flood of issues may keep out. There is one page of it
        // at a time.
        (fits || matches!(work, Work::Outbox(_))).then_some(place)
    }
}

/// The answer while the log is down, with the reason.
pub(super) fn unavailable(health: &Health) -> Denial {
    let cause = match &*health.now() {
        LogHealth::Writing => "the log failed".to_owned(),
        LogHealth::Failed { cause, .. } => cause.as_ref().to_owned(),
    };
    Denial::failed(Fault::LogUnavailable, cause)
}

/// The answer after the log was closed.
pub(super) fn closed() -> Denial {
    Denial::failed(Fault::Draining, "the log is closed")
}
