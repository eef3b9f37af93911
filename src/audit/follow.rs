//! Following a log that is written: each reading goes on where the one before it ended.

use super::device::Segments;
use super::filter::Filter;
use super::logged::Check;
use super::read::{Entry, Place, ReadError, records_at};
use super::seen::Seen;
use std::sync::Arc;

/// A reader's place in a log, over all of its segments.
#[derive(Debug)]
pub struct Follow {
    segments: Arc<dyn Segments>,
    next: u64,
    place: Option<Place>,
    check: Check,
}

impl Follow {
    /// Follows from a sequence on.
    #[must_use]
    pub fn new(segments: Arc<dyn Segments>, from: u64) -> Self {
        Self {
            segments,
            next: from,
            place: None,
            check: Check::default(),
        }
    }

    /// The sequence that is read next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Hands the records before `end` that a filter lets through to `take`, until that answers that it takes no more: such
    /// a record comes again. Blocks: reads files. What was not acknowledged yet is kept out by `end`:
    /// [`super::Log::durable`].
    ///
    /// # Errors
    /// At the first record that cannot be read, or is not the one that was logged: that is where the next reading begins.
    pub fn read(
        &mut self,
        end: u64,
        filter: &Filter,
        mut take: impl FnMut(Entry) -> bool,
    ) -> Result<(), ReadError> {
        let mut all = records_at(Arc::clone(&self.segments), self.next, self.place.take())?;
        while self.next < end {
            let Some(entry) = all.next() else {
                break;
            };
            // Of all, also those that are not wanted by what they say: what they said is not known.
            let entry = self.check.held(&*self.segments, entry?)?;
            let sequence = entry.sequence;
            let seen = Seen::read(&entry.line).map_err(|_| ReadError::Unreadable(sequence))?;
            if filter.matches(&seen) && !take(entry) {
                return Ok(());
            }
            self.next = sequence.saturating_add(1);
        }
        self.place = all.place();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{Memory, open_with, options};
    use crate::audit::{Act, ActKind, Options};

    /// However the log is cut into segments and the reading into pieces, all comes once and in order; what was not taken
    /// comes again.
    #[tokio::test]
    async fn each_reading_goes_on_where_the_one_before_ended() {
        let device = Memory::new();
        let small = Options {
            segment_bytes: 600,
            ..options()
        };
        let log = open_with(&device, small).unwrap().log;
        let mut follow = Follow::new(Arc::clone(&device) as _, 0);
        let mut taken = Vec::new();
        for round in 0..12_u64 {
            let act = Act::new(ActKind::Admin, "key.create");
            log.event(&act).await.unwrap();
            if round % 3 == 1 {
                continue;
            }
            let refused = round % 4 == 3;
            let read = follow.read(log.durable(), &Filter::default(), |entry| {
                if !refused {
                    taken.push(entry.sequence);
                }
                !refused
            });
            read.unwrap();
        }
        assert!(device.segments().unwrap().len() > 3);
        let rest = follow.read(log.durable(), &Filter::default(), |entry| {
            taken.push(entry.sequence);
            true
        });
        rest.unwrap();
        assert_eq!(taken, (0..12).collect::<Vec<_>>());
        assert_eq!(follow.next(), 12);
    }
}
