//! The log as its users see it.

use super::closed::Lost;
use super::context::{Context, Refused};
use super::device::Device;
use super::health::{Health, LogHealth};
use super::issued::{Issued, Receipt};
use super::queue::{Answer, Queue, Work, closed};
use super::record::{
    Act, Author, CLOCK_CONFIRMED, Encoder, PRUNE, Record, RecordError, StoreRecord,
};
use super::recovery::{OpenError, Recovered, recover};
use super::refusals::{Note, Refusals, Telling};
use super::segment::Headers;
use super::stats::Stats;
use super::writer::{Parts, Writer};
use crate::authn::Rejected;
use crate::clock::{Clock, Random};
use crate::keys::MacKey;
use crate::limits;
use crate::mint::Minted;
use crate::refusal::{Code, Denial, Fault};
use crate::revocation::HotSet;
use crate::store::{LogId, OutboxEntry};
use jiff::Timestamp;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// What can be set about a log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size past which a segment is followed by a new one.
    pub segment_bytes: u64,
    /// Age past which it is.
    pub segment_age: Duration,
    /// First pause before a failed log is tried again.
    pub retry: Duration,
    /// Free bytes below which refusals are not recorded; fewer where a bound on the log is small.
    pub refusal_floor: u64,
    /// Open a log that is known to lack acknowledged records: whoever says so then accepts the rollback
    /// ([`Recovered::lack`]).
    pub accept_lack: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: limits::LOG_SEGMENT_BYTES,
            segment_age: limits::LOG_SEGMENT_AGE,
            retry: limits::LOG_RETRY_MIN,
            refusal_floor: limits::LOG_REFUSAL_FLOOR_BYTES,
            accept_lack: false,
        }
    }
}

/// An open log. Cheap to clone; the last clone that goes ends the writer after what is queued.
#[derive(Clone, Debug)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Queue,
    encoder: Encoder,
    origin: Arc<str>,
    id: Mutex<LogId>,
    key: MacKey,
    signed_from: Mutex<Option<u64>>,
    stats: Arc<Stats>,
    health: Arc<Health>,
    refusals: Arc<Refusals>,
    /// Closed when the writer has ended; true then where the log ends there, and false where the writer broke off.
    ended: watch::Receiver<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Recovers the log on `device` and starts its writer. `origin` is issuer and node id; by `headers` and their key the broker knows
    /// its own headers and changes of the store ([`Author`]).
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        device: Arc<dyn Device>,
        origin: &str,
        hot: Arc<HotSet>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        headers: Headers,
        options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        let now = clock.now();
        let resume = recover(
            &*device,
            origin,
            now,
            &*random,
            &headers,
            options.accept_lack,
        )?;
        let (stats, health) = (Arc::<Stats>::default(), Arc::<Health>::default());
        let (queue, receiver) = Queue::new(Arc::clone(&stats), Arc::clone(&health));
        let encoder = Encoder::new(clock, random);
        let origin: Arc<str> = origin.into();
        let parts = Parts {
            device,
            origin: Arc::clone(&origin),
            key: headers.key.clone(),
            hot,
            encoder: encoder.clone(),
            options,
            stats: Arc::clone(&stats),
            health: Arc::clone(&health),
            receiver,
        };
        let writer = Writer::new(parts, &resume)?;
        let (end, ended) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || {
                end.send_replace(writer.run());
            })
            .map_err(OpenError::Thread)?;
        let signed_from = headers.signed_from.or(resume.signed_from());
        let log = Self(Arc::new(Inner {
            queue,
            encoder,
            origin,
            id: Mutex::new(resume.header.log),
            key: headers.key,
            signed_from: Mutex::new(signed_from),
            stats,
            health,
            refusals: Arc::new(Refusals::new(now)),
            ended,
            thread: Mutex::new(Some(thread)),
        }));
        Ok((log, resume.recovered))
    }

    /// Records an issue and, once that is durable, lets the token go.
    ///
    /// The record is encoded and queued before this returns: a caller that drops the future leaves a whole
    /// record of a token that nobody got.
    ///
    /// # Errors
    /// The future answers [`crate::refusal::Code::Revoked`] when a marker came into force meanwhile, `TooBusy` when
    /// that is a cut-off whose last second the token is of, or when too much is queued, and a fault when the record is not
    /// durable. In each case the token is gone. Who is told that too much is queued is counted towards the next summary: a
    /// record of each would be more of what there is too much of.
    pub fn issue(
        &self,
        minted: Minted,
        context: &Context,
    ) -> impl Future<Output = Result<Issued, Denial>> + Send + use<> {
        let queued = self.queue_issue(&minted, context);
        if let Err(Denial::Refused(refusal)) = &queued {
            self.turned_away(refusal.code(), context.peer.address);
        }
        let origin = Arc::clone(&self.0.origin);
        async move {
            let index = wait(queued).await?;
            Ok(Issued::recorded(minted, Receipt { origin, index }))
        }
    }

    fn queue_issue(
        &self,
        minted: &Minted,
        context: &Context,
    ) -> Result<oneshot::Receiver<Answer>, Denial> {
        let record = self.0.encoder.issue(minted, context).map_err(unencoded)?;
        let fence = Arc::clone(minted.fence());
        let issued = minted.issued_at().as_second();
        self.0.queue.submit(Work::Issue {
            record,
            fence,
            issued,
        })
    }

    /// Records a refusal, or counts it: nobody waits for either.
    ///
    /// Those of a verified caller, or of a peer that the connection identifies, are recorded one by one up to
    /// [`limits::REFUSALS_PER_SECOND`].
    pub fn refuse(&self, refused: &Refused<'_>, context: &Context) {
        let is_known = refused.subject().is_some() || context.peer.is_identified();
        if !self.record(is_known, refused, self.0.encoder.clock().now(), context) {
            self.turned_away(refused.refusal.code(), context.peer.address);
        }
    }

    /// Counts a refusal towards the next summary, and takes no place in the queue: for what is refused because there is too
    /// much of it, or before it is a request.
    pub fn turned_away(&self, code: Code, source: Option<IpAddr>) {
        self.0.stats.summarised.fetch_add(1, Ordering::Relaxed);
        self.0.refusals.count(code, source);
    }

    /// Notes a request that failed authentication; the next [`Log::tick`] records or counts it as [`Log::refuse`] does.
    ///
    /// Which of the two it will be takes its time only there. Until the caller has its answer all rejections take one
    /// course, so that its duration does not tell which credentials exist (invariant 4).
    pub fn reject(&self, rejected: Rejected, context: &Context) {
        let note = Note {
            time: self.0.encoder.clock().now(),
            rejected,
            context: context.clone(),
        };
        if !self.0.refusals.note(note) {
            self.0.stats.summarised.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records a refusal by itself, if it is one of the known within the rate. Answers whether it did.
    fn record(
        &self,
        is_known: bool,
        refused: &Refused<'_>,
        time: Timestamp,
        context: &Context,
    ) -> bool {
        let inner = &*self.0;
        is_known
            && inner.refusals.admit(inner.encoder.clock().monotonic())
            && inner
                .encoder
                .refuse(refused, time, context)
                .is_ok_and(|record| {
                    let (code, source) = (refused.refusal.code(), context.peer.address);
                    let telling = Telling::one(&inner.refusals, time, code, source);
                    inner.queue.offer(record, telling)
                })
    }

    /// Records what was noted, writes the summary of refusals that were only counted, and has the writer see whether its
    /// segment is still there. Called once a second.
    pub fn tick(&self) {
        let inner = &*self.0;
        inner.queue.look();
        for (note, reason) in inner.refusals.take_notes() {
            let rejected = &note.rejected;
            let refused = Refused {
                credential: rejected.named.filter(|_| rejected.is_registered),
                owner: rejected.owner(),
                made_from: rejected.made_from,
                ..Refused::new(&rejected.refusal)
            };
            if self.record(note.is_known(), &refused, note.time, &note.context) {
                inner.refusals.uncount(&reason);
            } else {
                inner.stats.summarised.fetch_add(1, Ordering::Relaxed);
            }
        }
        inner
            .refusals
            .flush(inner.encoder.clock().now(), |since, groups| {
                let record = inner.encoder.refusals(since, groups);
                let telling = Telling::summary(&inner.refusals, since, groups);
                record.is_ok_and(|record| inner.queue.offer(record, telling))
            });
    }

    /// Takes what of its records is lost, if anything is: until nothing is, no token is issued, as on a full disk.
    pub fn lacks(&self, lost: Option<&Lost>) {
        self.0.queue.closed_segments(lost.map(Lost::to_string));
    }

    /// Records an act that no change of the store carries, such as start and stop.
    ///
    /// # Errors
    /// The future answers a fault when the record is not durable.
    pub fn event(
        &self,
        act: &Act<'_>,
    ) -> impl Future<Output = Result<Receipt, Denial>> + Send + use<> {
        let record = self.0.encoder.act(act).map_err(unencoded);
        let work = match act.action {
            CLOCK_CONFIRMED => Work::ClockConfirmed,
            PRUNE => Work::Pruning,
            _ => Work::Event,
        };
        let queued = record.and_then(|record| self.0.queue.submit(work(record)));
        let origin = Arc::clone(&self.0.origin);
        async move {
            let index = wait(queued).await?;
            Ok(Receipt { origin, index })
        }
    }

    /// Takes entries of the store's outbox over, in order, all at once; those that the log holds already are skipped.
    /// Answers the sequence of the last record taken over.
    pub(super) fn take_over(
        &self,
        entries: &[OutboxEntry],
    ) -> impl Future<Output = Answer> + Send + use<> {
        let records: Result<Vec<_>, _> =
            entries.iter().map(|entry| self.read_back(entry)).collect();
        let records = records.map_err(unencoded);
        let queued = records.and_then(|records| self.0.queue.submit(Work::Outbox(records)));
        wait(queued)
    }

    fn read_back(&self, entry: &OutboxEntry) -> Result<StoreRecord, RecordError> {
        let record = Record::from_outbox(&entry.record)
            .or_else(|_| self.0.encoder.unreadable(&entry.record))?;
        StoreRecord::new(entry, record, self.author())
    }

    /// How many records are durable: what a checkpoint may be of.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.0.stats.next.load(Ordering::Acquire)
    }

    /// The log's origin.
    #[must_use]
    pub fn origin(&self) -> &Arc<str> {
        &self.0.origin
    }

    /// Which log of that origin it is.
    #[must_use]
    pub fn id(&self) -> LogId {
        *self.0.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From which record on all its headers are signed: those of an earlier version are not, and one of them may be the last
    /// yet.
    #[must_use]
    pub fn signed_from(&self) -> Option<u64> {
        let from = self.0.signed_from.lock();
        *from.unwrap_or_else(PoisonError::into_inner)
    }

    /// By what its headers are known from now on.
    #[must_use]
    pub fn headers(&self) -> Headers {
        Headers::new(self.0.key.clone(), self.signed_from())
    }

    /// Who writes the store's changes into it.
    #[must_use]
    pub fn author(&self) -> Author {
        Author::new(self.0.key.clone(), self.id())
    }

    /// Makes it another log, under a new id, which goes on where this one ends: positions in the one so far say nothing
    /// of what is written from now on.
    ///
    /// # Errors
    /// A fault when that is not durable; the log is the old one or the new one then.
    pub async fn begin_anew(&self) -> Result<(), Denial> {
        let id = self.0.encoder.log_id().map_err(unencoded)?;
        let first = wait(self.0.queue.begin_anew(id)).await?;
        // Records that the log lacked may have been to come before its first header that is signed.
        let from = self.0.signed_from.lock();
        let from = &mut *from.unwrap_or_else(PoisonError::into_inner);
        *from = Some(from.map_or(first, |from| from.min(first)));
        *self.0.id.lock().unwrap_or_else(PoisonError::into_inner) = id;
        Ok(())
    }

    /// Makes records that are committed with changes of the store.
    #[must_use]
    pub fn encoder(&self) -> &Encoder {
        &self.0.encoder
    }

    /// Whether the log takes records. Lock-free.
    #[must_use]
    pub fn health(&self) -> Arc<LogHealth> {
        self.0.health.now()
    }

    /// Tells of each change of [`Log::health`].
    #[must_use]
    pub fn health_changes(&self) -> watch::Receiver<()> {
        self.0.health.changes()
    }

    /// What the log counts.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.0.stats
    }

    /// Writes the last summary and everything that is queued, and ends the writer. Answers whether the log ends there: what was
    /// acknowledged is all that there is of it.
    pub async fn close(&self) -> bool {
        self.tick();
        self.0.queue.close();
        let mut ended = self.0.ended.clone();
        // An error means that the writer's end is gone.
        while ended.changed().await.is_ok() {}
        let mut thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // It has nothing left to do, so this does not block; a panic in it was already seen as a closed queue.
            let _ = thread.join();
        }
        let untold = self.0.refusals.untold();
        if untold > 0 {
            tracing::warn!(
                refusals = untold,
                "refusals of this run are told by no record"
            );
        }
        *ended.borrow()
    }
}

async fn wait(queued: Result<oneshot::Receiver<Answer>, Denial>) -> Answer {
    queued?.await.unwrap_or_else(|_| Err(closed()))
}

/// A record that cannot be encoded is a defect of ours: nothing is issued without one.
fn unencoded(error: RecordError) -> Denial {
    Denial::failed(Fault::Internal, error.to_string())
}
