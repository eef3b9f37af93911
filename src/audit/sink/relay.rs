//! One sink's task: reads, delivers, moves the cursor.

use super::backoff::Backoff;
use super::{Cursor, Cursors, Event, Settings, Sink, SinkStats, Start, Undelivered};
use crate::audit::Log;
use crate::audit::device::Segments;
use crate::audit::filter::Filter;
use crate::audit::logged::Check;
use crate::audit::read::{Entry, Place, ReadError, records_at};
use crate::audit::seen::Seen;
use crate::clock::{Clock, Random};
use crate::limits;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

/// What the relays of a log share.
#[derive(Clone, Debug)]
pub struct Around {
    /// The log.
    pub log: Log,
    /// Its segments, whose records are held to the tree.
    pub segments: Arc<dyn Segments>,
    /// Where cursors are kept.
    pub cursors: Arc<dyn Cursors>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for jitter.
    pub random: Arc<dyn Random>,
}

/// Why a sink is not followed.
#[derive(Debug, thiserror::Error)]
#[error("the cursor of sink `{name}` cannot be kept: {error}")]
pub struct RelayError {
    name: super::SinkName,
    error: io::Error,
}

/// Follows the log for one sink.
#[derive(Debug)]
pub struct Relay {
    settings: Settings,
    around: Around,
    sink: Box<dyn Sink>,
    stats: Arc<SinkStats>,
    /// The next record to deliver.
    next: u64,
    /// The batch that is being delivered.
    waiting: Vec<Event>,
    /// The record after the last that was read, sent or not.
    read_to: u64,
    /// Where the records after it stand in the files, if that is known.
    place: Option<Place>,
    check: Check,
    backoff: Backoff,
    /// Refused one after the other, with no delivery between them.
    refused_in_a_row: u32,
    /// Since when it has not caught up with the log.
    behind_since: Option<Duration>,
    told_failing: bool,
    told_behind: bool,
}

impl Relay {
    /// Takes a sink up where its cursor stands; a new cursor is on disk before this returns. Blocks: reads and writes a file.
    ///
    /// # Errors
    /// [`RelayError`].
    pub fn open(
        settings: Settings,
        sink: Box<dyn Sink>,
        around: Around,
    ) -> Result<Self, RelayError> {
        let log = around.log.clone();
        let failed = |error| RelayError {
            name: settings.name.clone(),
            error,
        };
        let kept = around.cursors.load(&settings.name).map_err(failed)?;
        let first = first(&*around.segments).map_err(failed)?;
        let cursor = begin(&settings, kept.as_deref(), first, &log);
        let next = cursor.next;
        if kept.is_none_or(|kept| Cursor::decode(&kept).as_ref() != Some(&cursor)) {
            let bytes = cursor.encode().map_err(failed)?;
            around
                .cursors
                .keep(&settings.name, &bytes)
                .map_err(failed)?;
        }
        let stats = SinkStats::new(settings.name.clone(), Arc::clone(log.stats()), next);
        Ok(Self {
            settings,
            around,
            sink,
            stats: Arc::new(stats),
            next,
            waiting: Vec::new(),
            read_to: next,
            place: None,
            check: Check::default(),
            backoff: Backoff::default(),
            refused_in_a_row: 0,
            behind_since: None,
            told_failing: false,
            told_behind: false,
        })
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> &Arc<SinkStats> {
        &self.stats
    }

    /// Delivers what the log makes durable, until it is dropped. What it was doing then is done again after the next start.
    pub async fn run(mut self) -> Infallible {
        loop {
            let durable = self.around.log.durable();
            let passed = self.pass(durable).await;
            self.look_back(durable);
            match passed {
                Ok(()) if self.next < durable => {}
                Ok(()) => sleep(limits::SINK_TICK).await,
                Err(reason) => {
                    self.failed(&reason);
                    sleep(self.backoff.pause(&*self.around.random)).await;
                }
            }
        }
    }

    /// Delivers one batch of what is durable.
    pub(super) async fn pass(&mut self, durable: u64) -> Result<(), String> {
        if self.waiting.is_empty() && self.next < durable {
            self.waiting = self.read(durable).await?;
        }
        let batch = std::mem::take(&mut self.waiting);
        let delivered = self.deliver(&batch).await;
        let next = self.next;
        self.waiting = batch;
        self.waiting.retain(|event| event.sequence >= next);
        if self.waiting.is_empty() {
            // Behind what it does not take, too.
            self.next = self.next.max(self.read_to);
        }
        if self.next > self.stats.next() {
            self.keep().await?;
        }
        delivered
    }

    async fn read(&mut self, durable: u64) -> Result<Vec<Event>, String> {
        let segments = Arc::clone(&self.around.segments);
        let origin = Arc::clone(self.around.log.origin());
        // Taken: after a failure the segment is read from its start, in case the place itself is what is wrong.
        let (from, place, format) = (self.next, self.place.take(), self.settings.format);
        let only = self.settings.only.clone();
        let mut check = std::mem::take(&mut self.check);
        let read = move || -> Result<_, ReadError> {
            let from = first(&*segments)?.clamp(from, durable);
            let mut all = records_at(Arc::clone(&segments), from, place)?;
            let (mut batch, mut bytes, mut to) = (Vec::new(), 0_usize, from);
            // What is not acknowledged yet is not there, nor what was removed.
            for sequence in (from..durable).take(limits::SINK_BATCH) {
                if bytes >= limits::SINK_BATCH_BYTES {
                    break;
                }
                let entry = all.next().ok_or(ReadError::Missing(sequence))??;
                // Also what it does not take by what is said there: it may have been otherwise.
                let entry = check.held(&*segments, entry)?;
                to = sequence.saturating_add(1);
                if !is_wanted(&only, &entry) {
                    continue;
                }
                let event = Event::of(&entry, format, &origin);
                bytes = bytes.saturating_add(event.text.len());
                batch.push(event);
            }
            Ok((from, to, batch, all.place(), check))
        };
        let read = spawn_blocking(read)
            .await
            .map_err(|error| error.to_string())?;
        let (from, to, batch, place, check) = read.map_err(|error| error.to_string())?;
        self.pass_over(from);
        self.read_to = to;
        self.place = place;
        self.check = check;
        Ok(batch)
    }

    /// Goes on at `first`, behind records that were removed from the log before it came to them.
    fn pass_over(&mut self, first: u64) {
        let missed = first.saturating_sub(self.next);
        if missed > 0 {
            self.stats.missed.fetch_add(missed, Ordering::Relaxed);
            let (sink, from) = (&self.settings.name, self.next);
            tracing::warn!(%sink, from, missed, "records were removed from the log before the sink delivered them");
            self.next = first;
        }
    }

    /// Delivers a batch, as a whole or in parts, and moves past what was delivered or set aside.
    async fn deliver(&mut self, batch: &[Event]) -> Result<(), String> {
        let mut rest = batch;
        let mut width = rest.len();
        while let Some((first, _)) = rest.split_first() {
            let (part, after) = rest.split_at(width.min(rest.len()));
            let limit = self.settings.timeout;
            let answer = timeout(limit, self.sink.deliver(part)).await;
            match answer.unwrap_or_else(|_| Err(too_slow(limit))) {
                Ok(refused) => {
                    self.delivered(part, refused);
                    rest = after;
                    width = width.saturating_mul(2);
                }
                Err(Undelivered::Failed(reason)) => return Err(reason),
                Err(Undelivered::Refused(_)) if part.len() > 1 => width = part.len().div_euclid(2),
                Err(Undelivered::Refused(reason)) => {
                    self.set_aside(first, &reason)?;
                    rest = after;
                }
            }
        }
        Ok(())
    }

    fn delivered(&mut self, part: &[Event], refused: u64) {
        let count = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.next = part
            .last()
            .map_or(self.next, |last| last.sequence.saturating_add(1));
        self.refused_in_a_row = 0;
        let stats = &self.stats;
        let taken = count.saturating_sub(refused);
        stats.delivered.fetch_add(taken, Ordering::Relaxed);
        stats.refused.fetch_add(refused, Ordering::Relaxed);
        let now = self.around.clock.now().as_second();
        stats.last_success.store(now, Ordering::Relaxed);
        self.backoff.reset();
        if std::mem::take(&mut self.told_failing) {
            tracing::info!(sink = %self.settings.name, "the sink delivers again");
        }
    }

    /// Goes on behind a record that the receiver will never take, unless it takes none.
    fn set_aside(&mut self, event: &Event, reason: &str) -> Result<(), String> {
        if self.refused_in_a_row >= limits::SINK_REFUSALS {
            return Err(format!("every record is refused: {reason}"));
        }
        self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
        self.stats.refused.fetch_add(1, Ordering::Relaxed);
        self.next = event.sequence.saturating_add(1);
        let (sink, sequence) = (&self.settings.name, event.sequence);
        tracing::warn!(%sink, sequence, reason, "the receiver refuses this record for good; it is in the log");
        Ok(())
    }

    /// Keeps the cursor. Only what is on disk counts as taken.
    async fn keep(&mut self) -> Result<(), String> {
        let cursor = Cursor {
            log: self.around.log.id(),
            next: self.next,
        };
        let (cursors, name) = (Arc::clone(&self.around.cursors), self.settings.name.clone());
        let keep = move || cursors.keep(&name, &cursor.encode()?);
        let kept = spawn_blocking(keep)
            .await
            .map_err(|error| error.to_string())?;
        kept.map_err(|error| format!("its cursor cannot be kept: {error}"))?;
        self.stats.next.store(self.next, Ordering::Release);
        Ok(())
    }

    fn failed(&mut self, reason: &str) {
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.told_failing, true) {
            tracing::warn!(sink = %self.settings.name, reason, "the sink does not deliver; tried again");
        }
    }

    /// Tells, once, that the sink has not caught up for long with what was durable when its last pass began.
    fn look_back(&mut self, durable: u64) {
        if self.next >= durable {
            self.behind_since = None;
            if std::mem::take(&mut self.told_behind) {
                tracing::info!(sink = %self.settings.name, "the sink has caught up with the log");
            }
            return;
        }
        let now = self.around.clock.monotonic();
        let since = *self.behind_since.get_or_insert(now);
        let is_long = now.saturating_sub(since) >= limits::SINK_BEHIND;
        if is_long && !std::mem::replace(&mut self.told_behind, true) {
            let lag = self.stats.lag();
            tracing::warn!(sink = %self.settings.name, lag, "the sink has been behind the log for long");
        }
    }
}

/// Whether a sink takes a record. One that cannot be read is wanted where all are, and nowhere else.
fn is_wanted(only: &Filter, entry: &Entry) -> bool {
    *only == Filter::default() || Seen::read(&entry.line).is_ok_and(|seen| only.matches(&seen))
}

/// The first record that the log still holds.
fn first(segments: &dyn Segments) -> io::Result<u64> {
    Ok(segments.segments()?.first().copied().unwrap_or_default())
}

/// Where a sink begins, by what was kept of it. `first` is the first record that the log still holds.
fn begin(settings: &Settings, kept: Option<&[u8]>, first: u64, log: &Log) -> Cursor {
    let (sink, durable) = (&settings.name, log.durable());
    let configured = match settings.start {
        Start::Beginning => first,
        Start::End => durable,
    };
    let next = match kept.map(Cursor::decode) {
        None => {
            tracing::info!(%sink, from = configured, "a new sink begins");
            configured
        }
        Some(Some(cursor)) if cursor.log == log.id() && cursor.next <= durable => cursor.next,
        Some(Some(cursor)) => {
            let was = cursor.next;
            // Where that log's records are in this one nobody knows, and none is to be missing.
            tracing::warn!(%sink, from = first, was, "the sink's cursor is of another log: it begins at the log's beginning");
            first
        }
        Some(None) => {
            tracing::warn!(%sink, "the sink's cursor cannot be read: it begins at the log's beginning");
            first
        }
    };
    Cursor {
        log: log.id(),
        next,
    }
}

fn too_slow(limit: Duration) -> Undelivered {
    Undelivered::Failed(format!("no answer within {} s", limit.as_secs_f32()))
}
