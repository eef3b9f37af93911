//! One group commit: which records go in, in what form, and what each caller will be told.

use super::tail::Position;
use crate::audit::queue::{Answer, Job, Work};
use crate::audit::record;
use crate::audit::recovery::Drained;
use crate::audit::stats::Stats;
use crate::marker::Second;
use crate::refusal::Denial;
use crate::revocation::HotSet;
use jiff::Timestamp;
use std::sync::atomic::Ordering;

/// What the log can take just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepts {
    /// Anything but what came through the store's outbox, and word of what is removed.
    pub(super) all: bool,
    /// Refusals.
    pub(super) refusals: bool,
}

/// Records of one commit with those who wait for them.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// Where the log will be once this is durable.
    pub(super) position: Position,
    /// How many records it holds.
    pub(super) records: u64,
    /// The sequence that its first record has.
    first: u64,
    buffer: &'a mut Vec<u8>,
    answers: Vec<(Job, Answer)>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(position: Position, buffer: &'a mut Vec<u8>) -> Self {
        buffer.clear();
        Self {
            position,
            records: 0,
            first: position.next,
            buffer,
            answers: Vec::new(),
        }
    }

    /// The bytes to append.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer
    }

    /// Adds a job. What cannot be taken is answered with `unavailable` at the end, like all others.
    ///
    /// This is the linearisation point of issue and revoke: a marker is in the hot set before
    /// its own record is queued, so an issue that is looked at after that record is covered here.
    pub(super) fn add(
        &mut self,
        job: Job,
        accepts: Accepts,
        hot: &HotSet,
        stats: &Stats,
        unavailable: impl FnOnce() -> Denial,
    ) {
        let answer = match &job.work {
            Work::Outbox(entries) => {
                entries.iter().for_each(|entry| self.add_from_store(entry));
                Ok(self.position.drained.map_or(0, |d| d.sequence))
            }
            Work::Refusal(_) if !accepts.refusals => Err(unavailable()),
            Work::Issue { .. } | Work::Event(_) | Work::ClockConfirmed(_) if !accepts.all => {
                Err(unavailable())
            }
            Work::Issue {
                record,
                fence,
                issued,
            } => match hot.covered(fence) {
                None => {
                    let issued = Timestamp::from_second(*issued).ok();
                    self.position.mark = self.position.mark.max(issued);
                    let place = self.take_place();
                    record.line(self.buffer, place);
                    Ok(place.sequence)
                }
                Some(part) => {
                    stats.fenced.fetch_add(1, Ordering::Relaxed);
                    let place = self.take_place();
                    let issued = Timestamp::from_second(*issued).map_or(Second::NEVER, Second::of);
                    let refusal = record::fenced(&part, hot.is_too_early(fence, issued));
                    record.line_as_refused(self.buffer, place, &refusal);
                    Err(refusal.into())
                }
            },
            Work::Event(record)
            | Work::Pruning(record)
            | Work::ClockConfirmed(record)
            | Work::Refusal(record) => {
                if matches!(job.work, Work::ClockConfirmed(_)) {
                    self.position.mark = None;
                }
                let place = self.take_place();
                record.line(self.buffer, place);
                Ok(place.sequence)
            }
        };
        self.answers.push((job, answer));
    }

    /// Adds an outbox entry, unless the log has it already: a crash may have come between the log's
    /// commit and the store's.
    fn add_from_store(&mut self, entry: &record::StoreRecord) {
        let revision = entry.revision();
        let known = self.position.drained;
        if known.is_some_and(|drained| drained.revision.covers(&revision)) {
            return;
        }
        let place = self.take_place();
        entry.line(self.buffer, place, known.map(|drained| drained.sequence));
        self.position.drained = Some(Drained {
            revision,
            sequence: place.sequence,
        });
    }

    fn take_place(&mut self) -> record::Place {
        let sequence = self.position.next;
        self.position.next = sequence.saturating_add(1);
        self.records = self.records.saturating_add(1);
        record::Place {
            sequence,
            batch: self.first,
        }
    }

    /// Tells everybody: the batch is durable.
    pub(super) fn succeed(self) {
        for (job, answer) in self.answers {
            job.answer(answer);
        }
    }

    /// Tells everybody: nothing of it counts.
    pub(super) fn fail(self, denial: &Denial) {
        for (job, _) in self.answers {
            job.answer(Err(denial.clone()));
        }
    }
}
