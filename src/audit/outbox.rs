//! The outbox: records that were committed with changes of the store, on their way into the log.
//!
//! Each is written exactly once. The log keeps with every such record the store revision it came
//! with, and its writer skips what it has; the store forgets an entry only once the log says that it is durable.

use super::log::Log;
use crate::limits;
use crate::refusal::{Denial, Fault};
use crate::store::{LogPosition, OutboxEntry, Revision, Store, StoreFault};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A page is one entry of the writer's queue, and goes into one batch whatever its records are.
const _: () = assert!(limits::LOG_OUTBOX_PAGE * limits::RECORD <= limits::LOG_BATCH_BYTES);

/// How far the outbox has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Every record up to this revision is durable in the log.
    passed: Option<Revision>,
    /// The last attempt failed.
    fault: Option<Denial>,
}

/// Tells when a change's record has passed the log writer; a change is acknowledged only then.
#[derive(Clone, Debug)]
pub struct Outbox(watch::Receiver<Progress>);

impl Outbox {
    /// The outbox of `store`, and the work that drains it into `log`. `applied` is the revision up to which
    /// the node's memory reflects the store: a marker is in the hot set before its record is written.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        log: Log,
        applied: watch::Receiver<Revision>,
    ) -> (Self, Drain) {
        let (progress, receiver) = watch::channel(Progress::default());
        let drain = Drain {
            store,
            log,
            applied,
            progress,
        };
        (Self(receiver), drain)
    }

    /// Whether the records of all changes up to `revision` are durable in the log.
    #[must_use]
    pub fn has_passed(&self, revision: &Revision) -> bool {
        let passed = self.0.borrow().passed;
        passed.is_some_and(|passed| passed.covers(revision))
    }

    /// Waits until the records of all changes up to `revision` are durable in the log.
    ///
    /// # Errors
    /// The fault that keeps them back: then the change is applied, and its record waits in the store.
    pub async fn passed(&self, revision: Revision) -> Result<(), Denial> {
        let mut progress = self.0.clone();
        let reached = progress
            .wait_for(|now| {
                now.fault.is_some() || now.passed.is_some_and(|passed| passed.covers(&revision))
            })
            .await
            .map_err(|_| Denial::failed(Fault::Draining, "the outbox is no longer drained"))?;
        match (&reached.passed, &reached.fault) {
            (Some(passed), _) if passed.covers(&revision) => Ok(()),
            (_, Some(fault)) => Err(fault.clone()),
            (_, None) => Err(Denial::failed(Fault::Internal, "the outbox stopped early")),
        }
    }
}

/// The work that empties the outbox; one at a time for a log.
#[derive(Debug)]
pub struct Drain {
    store: Arc<dyn Store>,
    log: Log,
    applied: watch::Receiver<Revision>,
    progress: watch::Sender<Progress>,
}

impl Drain {
    /// Takes over all that waits in `store`, before anything is issued: no memory follows it yet that would have to know of it
    /// first.
    ///
    /// # Errors
    /// What keeps it back.
    pub async fn at_once(store: Arc<dyn Store>, log: Log) -> Result<(), Denial> {
        let all = store.revision().await.map_err(store_fault)?;
        let (_, applied) = watch::channel(all);
        let (_, drain) = Outbox::new(store, log, applied);
        drain.drain(all).await
    }

    /// Drains until the node no longer applies revisions. May be dropped at any await.
    pub async fn run(mut self) {
        let mut health = self.log.health_changes();
        let mut pause = limits::LOG_RETRY_MIN;
        loop {
            let applied = *self.applied.borrow_and_update();
            let retry = match self.drain(applied).await {
                Ok(()) => {
                    pause = limits::LOG_RETRY_MIN;
                    None
                }
                Err(fault) => {
                    self.progress.send_modify(|now| now.fault = Some(fault));
                    let this = pause;
                    pause = pause.saturating_mul(2).min(limits::LOG_RETRY_MAX);
                    Some(this)
                }
            };
            tokio::select! {
                changed = self.applied.changed() => if changed.is_err() { return },
                _ = health.changed(), if retry.is_some() => {}
                () = sleep(retry), if retry.is_some() => {}
            }
        }
    }

    /// Takes over everything that is applied.
    async fn drain(&self, applied: Revision) -> Result<(), Denial> {
        loop {
            let mut entries = self
                .store
                .outbox(limits::LOG_OUTBOX_PAGE)
                .await
                .map_err(store_fault)?;
            let full = entries.len() >= limits::LOG_OUTBOX_PAGE;
            let read = entries.len();
            // What an earlier incarnation left was in the store before this one began, so it is applied.
            entries.retain(|entry| {
                entry.revision.incarnation != applied.incarnation || applied.covers(&entry.revision)
            });
            let mut more = full && entries.len() == read;
            // The log remembers one revision, by which it knows what it has of that incarnation only: the store is told of
            // the earlier one before the next is begun.
            let first = entries.first().map(|entry| entry.revision.incarnation);
            let apart = |entry: &OutboxEntry| Some(entry.revision.incarnation) != first;
            if let Some(end) = entries.iter().position(apart) {
                entries.truncate(end);
                more = true;
            }
            let Some(last) = entries.last().map(|entry| entry.revision) else {
                self.passed(applied);
                return Ok(());
            };
            self.take_over(&entries, last).await?;
            if !more {
                self.passed(applied);
                return Ok(());
            }
        }
    }

    async fn take_over(&self, entries: &[OutboxEntry], last: Revision) -> Result<(), Denial> {
        let sequence = self.log.take_over(entries).await?;
        self.passed(last);
        let position = LogPosition {
            log: self.log.id(),
            sequence,
            counter: last.counter,
        };
        self.store.drained(position).await.map_err(store_fault)
    }

    fn passed(&self, revision: Revision) {
        self.progress.send_modify(|now| {
            now.passed = Some(revision);
            now.fault = None;
        });
    }
}

async fn sleep(pause: Option<Duration>) {
    tokio::time::sleep(pause.unwrap_or_default()).await;
}

fn store_fault(fault: StoreFault) -> Denial {
    Denial::failed(Fault::StoreUnavailable, fault.0)
}
