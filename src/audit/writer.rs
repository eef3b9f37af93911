//! The log writer: one thread, the only one that appends.
//!
//! After a write, a sync or a check failed, the batch is dropped and its callers are told at once; the segment is
//! never touched again, because nobody knows what of it is on disk; and a new one begins with a durable `gap` record, tried
//! again at growing intervals until it succeeds. On a full disk the reserve becomes that segment, and takes only
//! what the store's outbox brings, revocations among it, until the reserve can be set aside again.
//!
//! What a crash leaves behind when one segment follows another, after a failure or in a rotation:
//!
//! | crash after | the next start |
//! |---|---|
//! | a write, sync or check failed | goes on from that segment: what was acknowledged of it, and of the batch what is there, which is made durable once more; a torn tail is dropped |
//! | the next one's header, and the gap record in it, are written and synced under another name | the same; the name is nobody's, and is used again |
//! | renamed to its own name | goes on from the one that the folder shows. Nothing was acknowledged since in either, and the new one's header says where the old one ends: what that holds beyond it is no part of the log |
//! | the folder synced | goes on from the new one; the old one takes nothing more |
//! | a step of these failed, and the name may be there | the old one took nothing since, nor does it: the next segment has the same name, or the start goes on from either |
//!
//! And of the reserve:
//!
//! | crash after | the next start |
//! |---|---|
//! | its file is created or a part of its blocks set aside | sets the rest aside, or, on a full disk, gives the part up and takes revocations only once there is room |
//! | header and gap are written into it | empties it, and sets it aside anew |
//! | renamed, the folder synced | goes on from it, and sets another one aside: nothing is issued before that |
//!
//! A segment that lost acknowledged records is followed by none, and that it lost them is kept before the log's state says so:
//! [`super::acknowledged`].

mod batch;
mod tail;

use super::device::{CreateError, Device, Space, is_full};
use super::health::Health;
use super::log::Options;
use super::queue::{Answer, Job, Message, unavailable};
use super::record::{BEGUN_ANEW, Encoder, RecordError};
use super::recovery::Resume;
use super::stats::Stats;
use crate::keys::MacKey;
use crate::limits;
use crate::revocation::HotSet;
use crate::store::LogId;
use batch::{Accepts, Batch};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;
use tail::{Position, Tail};

/// What the writer shares with the rest of the log.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) device: Arc<dyn Device>,
    pub(super) origin: Arc<str>,
    pub(super) key: MacKey,
    pub(super) hot: Arc<HotSet>,
    pub(super) encoder: Encoder,
    pub(super) options: Options,
    pub(super) stats: Arc<Stats>,
    pub(super) health: Arc<Health>,
    pub(super) receiver: Receiver<Message>,
}

/// The writer.
#[derive(Debug)]
pub(super) struct Writer {
    parts: Parts,
    tail: Tail,
    position: Position,
    /// Whether the reserve is set aside; nothing is issued while it is not.
    reserve: bool,
    /// Why it is not, where that is not for want of room.
    unreserved: Option<String>,
    /// What of the closed segments is lost; nothing is issued while there is anything.
    lost: Option<String>,
    /// Why the last segment was closed, and how many records were dropped since: the next gap record.
    failure: Option<(String, u64)>,
    pause: Duration,
    /// When a failed log, or a failed rotation, is tried again, by the monotonic clock.
    retry_at: Duration,
    space: SpaceCheck,
    /// Taken from the queue, but not for the batch before.
    carried: Option<Message>,
    closing: bool,
    /// When the last commit ended, if it carried at least [`limits::LOG_CROWD`] records.
    crowd: Option<Duration>,
    buffer: Vec<u8>,
}

/// Whether there is room for refusals, asked now and then.
#[derive(Debug, Default)]
struct SpaceCheck {
    at: Option<Duration>,
    low: bool,
}

impl SpaceCheck {
    /// Takes up whether there is little, and says so once.
    fn tell(&mut self, low: bool) {
        match (std::mem::replace(&mut self.low, low), low) {
            (false, true) => tracing::warn!(
                "there is little room left for the log: refusals are only counted, and recorded once there is more of it"
            ),
            (true, false) => tracing::info!("refusals are recorded again"),
            (false, false) | (true, true) => {}
        }
    }
}

/// How often free space is asked for.
const SPACE_CHECK: Duration = Duration::from_secs(1);

impl Writer {
    pub(super) fn new(parts: Parts, resume: &Resume) -> io::Result<Self> {
        let (device, origin) = (Arc::clone(&parts.device), Arc::clone(&parts.origin));
        let tail = Tail::resume(device, origin, parts.key.clone(), resume)?;
        let reserve = match parts.device.keep_reserve() {
            Ok(()) => true,
            Err(error) if is_full(&error) => false,
            Err(error) => return Err(io::Error::new(error.kind(), not_reserved(&error))),
        };
        let writer = Self {
            tail,
            position: Position {
                next: resume.recovered.next,
                mark: resume.recovered.mark,
                drained: resume.recovered.drained,
            },
            reserve,
            unreserved: None,
            lost: None,
            failure: None,
            pause: parts.options.retry,
            retry_at: Duration::ZERO,
            space: SpaceCheck::default(),
            carried: None,
            closing: false,
            crowd: None,
            buffer: Vec::new(),
            parts,
        };
        writer
            .parts
            .stats
            .next
            .store(writer.position.next, Ordering::Release);
        writer.tell();
        Ok(writer)
    }

    /// Runs until the log is closed or dropped. Answers whether what was acknowledged is all that there is: where writing had
    /// failed, more of it may be in the file.
    pub(super) fn run(mut self) -> bool {
        while !self.closing || self.carried.is_some() {
            let carried = self.carried.is_some();
            let Some(first) = self.next() else {
                continue;
            };
            if self.retry_due() {
                self.heal();
            }
            // A job that was carried has waited for company already.
            if !carried && !self.closing && self.expects_company() {
                self.parts.encoder.clock().pause(limits::LOG_GATHER);
            }
            self.commit(first);
        }
        self.is_well()
    }

    /// Whether a crowd was just answered, or another one is there.
    fn expects_company(&self) -> bool {
        let Some(ended) = self.crowd else {
            return false;
        };
        let since = self.parts.encoder.clock().monotonic().saturating_sub(ended);
        // The job at hand counts as queued until it is answered.
        since <= limits::LOG_GATHER || self.parts.stats.queued.load(Ordering::Acquire) > 1
    }

    /// Waits for work; while the log is not well, no longer than until it is to be tried again.
    fn next(&mut self) -> Option<Job> {
        let message = if let Some(message) = self.carried.take() {
            Ok(message)
        } else if self.is_well() {
            self.parts
                .receiver
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            self.parts.receiver.recv_timeout(self.pause)
        };
        match message {
            Ok(Message::Job(job)) => return Some(job),
            Ok(Message::Look) => self.look(),
            Ok(Message::Closed(lost)) => {
                self.lost = lost;
                self.tell();
            }
            Ok(Message::Anew(log, done)) => {
                // Whoever left finds another log at the next start.
                let _ = done.send(self.begin_anew(log));
            }
            Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => self.closing = true,
            Err(RecvTimeoutError::Timeout) => self.heal(),
        }
        None
    }

    /// Commits `first` and whatever else is queued, as far as it fits.
    fn commit(&mut self, first: Job) {
        self.rotate_if_due();
        let started = self.parts.encoder.clock().monotonic();
        let accepts = self.accepts(started);
        let health = Arc::clone(&self.parts.health);
        let open = self.tail.is_open();
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut batch = Batch::new(self.position, &mut buffer);
        let mut room = limits::LOG_BATCH_BYTES;
        let mut job = Some(first);
        while let Some(next) = job.take() {
            room = room.saturating_sub(next.work.room());
            if open {
                let (hot, stats) = (&self.parts.hot, &self.parts.stats);
                batch.add(next, accepts, hot, stats, || unavailable(&health));
            } else {
                next.answer(Err(unavailable(&health)));
            }
            job = self.more(room);
        }
        self.write(batch, started);
        self.buffer = buffer;
    }

    /// What else is queued, if it fits into `room`.
    fn more(&mut self, room: usize) -> Option<Job> {
        if self.closing {
            return None;
        }
        match self.parts.receiver.try_recv() {
            Ok(Message::Job(job)) if job.work.room() <= room => return Some(job),
            Ok(
                other @ (Message::Job(_) | Message::Look | Message::Closed(_) | Message::Anew(..)),
            ) => {
                self.carried = Some(other);
            }
            Ok(Message::Close) | Err(TryRecvError::Disconnected) => self.closing = true,
            Err(TryRecvError::Empty) => {}
        }
        None
    }

    fn write(&mut self, batch: Batch<'_>, started: Duration) {
        let crowded = batch.records >= limits::LOG_CROWD;
        self.crowd = None;
        if batch.records == 0 {
            return batch.succeed();
        }
        if let Err(error) = self.tail.append(batch.bytes()) {
            return self.fail(batch, &error);
        }
        self.advance(batch.position);
        let stats = &self.parts.stats;
        let ended = self.parts.encoder.clock().monotonic();
        let took = ended.saturating_sub(started);
        self.crowd = crowded.then_some(ended);
        let bytes = u64::try_from(batch.bytes().len()).unwrap_or(u64::MAX);
        stats.records.fetch_add(batch.records, Ordering::Relaxed);
        stats.bytes.fetch_add(bytes, Ordering::Relaxed);
        stats.batch.add(batch.records);
        stats
            .commit
            .add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        batch.succeed();
    }

    /// What was appended is durable now.
    fn advance(&mut self, position: Position) {
        self.position = position;
        self.parts
            .stats
            .next
            .store(position.next, Ordering::Release);
    }

    /// Notices what was done to the segment, also while nothing is written.
    fn look(&mut self) {
        if let Err(error) = self.tail.look() {
            self.give_up(&error, 0);
            self.heal();
        }
    }

    fn fail(&mut self, batch: Batch<'_>, error: &io::Error) {
        self.give_up(error, batch.records);
        batch.fail(&unavailable(&self.parts.health));
        self.heal();
    }

    fn give_up(&mut self, error: &io::Error, records: u64) {
        self.parts.stats.failures.fetch_add(1, Ordering::Relaxed);
        self.close(error.to_string(), records);
    }

    /// What the log held so far may not be all that it ever held: the segment is closed, and the next one, which a gap
    /// begins, is another log's. Answers where it begins.
    fn begin_anew(&mut self, log: LogId) -> Answer {
        self.tail.become_log(log);
        self.close(BEGUN_ANEW.to_owned(), 0);
        let first = self.position.next;
        self.heal();
        match self.tail.is_open() {
            true => Ok(first),
            false => Err(unavailable(&self.parts.health)),
        }
    }

    /// Closes the segment for ever.
    fn close(&mut self, cause: String, records: u64) {
        self.tail.close(self.position.next);
        let dropped = self.failure.take().map_or(0, |(_, dropped)| dropped);
        self.failure = Some((cause, dropped.saturating_add(records)));
        self.tell();
        self.pause = self.parts.options.retry;
    }

    fn rotate_if_due(&mut self) {
        let clock = self.parts.encoder.clock();
        let (now, monotonic) = (clock.now(), clock.monotonic());
        let (size, age) = (
            self.parts.options.segment_bytes,
            self.parts.options.segment_age,
        );
        if monotonic < self.retry_at || !self.tail.is_due(self.position.next, now, size, age) {
            return;
        }
        // Nobody looks at it again once another one follows it.
        if let Err(error) = self.tail.look() {
            self.give_up(&error, 0);
            return self.heal();
        }
        match self.tail.begin(self.position, now, None, Space::Free) {
            Ok(()) => {
                self.parts.stats.segments.fetch_add(1, Ordering::Relaxed);
            }
            // The segment at hand is still good: if there is no other, it simply grows on.
            Err(CreateError::Absent(_)) => {
                self.retry_at = monotonic.saturating_add(limits::LOG_RETRY_MAX);
            }
            // A start would go on from the other one, and miss what this one took meanwhile. The next one
            // replaces it.
            Err(CreateError::Unsure(error)) => {
                self.give_up(&error, 0);
                self.heal();
            }
        }
    }

    /// Tries to bring back what is missing: a segment, the reserve.
    fn heal(&mut self) {
        let mut opened = self.tail.is_open();
        if let Some((cause, dropped)) = self.failure.clone() {
            match self.reopen(&cause, dropped) {
                Ok(()) => opened = true,
                Err(error) => {
                    let now = self.parts.encoder.clock().now();
                    let mut cause = format!("{cause}; no new segment: {error}");
                    if let Err(error) = self.tail.note_lack(self.position.next) {
                        cause = format!("{cause}; a restart may not know of it: {error}");
                    }
                    self.parts.health.failed(now, &cause);
                }
            }
        }
        if opened && !self.reserve {
            let kept = self.parts.device.keep_reserve();
            self.reserve = kept.is_ok();
            let fault = kept.err().filter(|error| !is_full(error));
            self.unreserved = fault.as_ref().map(not_reserved);
        }
        let monotonic = self.parts.encoder.clock().monotonic();
        if self.is_well() {
            self.pause = self.parts.options.retry;
        } else {
            self.retry_at = monotonic.saturating_add(self.pause);
            self.pause = self.pause.saturating_mul(2).min(limits::LOG_RETRY_MAX);
        }
        if opened {
            self.tell();
        }
    }

    fn reopen(&mut self, cause: &str, dropped: u64) -> io::Result<()> {
        let gap = self
            .parts
            .encoder
            .gap(cause, dropped)
            .map_err(|error: RecordError| io::Error::other(error))?;
        let now = self.parts.encoder.clock().now();
        let free = self.tail.begin(self.position, now, Some(&gap), Space::Free);
        match free {
            Err(error) if is_full(error.cause()) && self.reserve => {
                // Used up, whether or not it helps.
                self.reserve = false;
                self.tail
                    .begin(self.position, now, Some(&gap), Space::Reserve)?;
            }
            other => other?,
        }
        self.advance(Position {
            next: self.position.next.saturating_add(1),
            ..self.position
        });
        self.failure = None;
        // After the new segment: without it nobody is told that what was missing is there again.
        let _ = self.tail.note_lack(self.position.next);
        self.parts.stats.segments.fetch_add(1, Ordering::Relaxed);
        self.parts.stats.records.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn accepts(&mut self, monotonic: Duration) -> Accepts {
        let due = self
            .space
            .at
            .is_none_or(|at| monotonic.saturating_sub(at) >= SPACE_CHECK);
        if due {
            self.space.at = Some(monotonic);
            let low = self.parts.device.is_low(self.parts.options.refusal_floor);
            self.space.tell(low.unwrap_or(false));
        }
        Accepts {
            all: self.reserve && self.lost.is_none(),
            refusals: !self.space.low,
        }
    }

    fn is_well(&self) -> bool {
        self.tail.is_open() && self.reserve
    }

    fn retry_due(&self) -> bool {
        !self.is_well() && self.parts.encoder.clock().monotonic() >= self.retry_at
    }

    /// Makes the state known.
    fn tell(&self) {
        let now = self.parts.encoder.clock().now();
        match &self.failure {
            Some((cause, _)) => self.parts.health.failed(now, cause),
            None if self.reserve && self.lost.is_none() => self.parts.health.writing(),
            None => {
                let why = self.lost.as_deref().or(self.unreserved.as_deref());
                let why = why.unwrap_or("the disk is full");
                let cause = format!("{why}: only revocations are recorded");
                self.parts.health.failed(now, &cause);
            }
        }
    }
}

fn not_reserved(error: &io::Error) -> String {
    format!("the reserve for revocations cannot be set aside ({error})")
}

impl Drop for Writer {
    /// However the writer ends, nobody is told that records are written.
    fn drop(&mut self) {
        let now = self.parts.encoder.clock().now();
        self.parts.health.ended(now);
    }
}

#[cfg(test)]
mod tests {
    use super::SpaceCheck;
    use crate::limits::nearing::testing::warnings;

    #[test]
    fn that_refusals_wait_is_said_once() {
        let mut space = SpaceCheck::default();
        let told = [false, true, true, false, false, true];
        let warned = warnings(|| told.into_iter().for_each(|low| space.tell(low)));
        assert_eq!(warned.len(), 2, "{warned:?}");
    }
}
