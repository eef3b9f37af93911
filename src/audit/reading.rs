//! The log as its readers have it, while it is written.

use super::device::Segments;
use super::filter::Filter;
use super::follow::Follow;
use super::log::Log;
use super::read::ReadError;
use super::search::{Order, Search, search};
use super::seen::Field;
use super::stats::Stats;
use super::wanted::WhileWanted;
use crate::authn::Sight;
use crate::limits;
use crate::refusal::{Code, Refusal};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A log, to be read by those who may. Cheap to clone. Nothing of it is read before it is durable.
#[derive(Clone, Debug)]
pub struct Reading {
    log: Log,
    segments: Arc<dyn Segments>,
}

/// Room to read, of which there is so much; given back when this is dropped.
#[derive(Debug)]
pub struct Seat {
    stats: Arc<Stats>,
    taken: fn(&Stats) -> &AtomicUsize,
}

impl Seat {
    fn take(
        stats: &Arc<Stats>,
        taken: fn(&Stats) -> &AtomicUsize,
        most: usize,
    ) -> Result<Self, Refusal> {
        let more = |now: usize| (now < most).then(|| now.saturating_add(1));
        taken(stats)
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .map_err(|_| Refusal::new(Code::TooBusy, "as many read the log as may at a time"))?;
        let stats = Arc::clone(stats);
        Ok(Self { stats, taken })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        (self.taken)(&self.stats).fetch_sub(1, Ordering::AcqRel);
    }
}

impl Reading {
    /// Readers of `log`, which is kept in `segments`.
    #[must_use]
    pub fn new(log: Log, segments: Arc<dyn Segments>) -> Self {
        Self { log, segments }
    }

    /// Room for one search, to be kept while it goes on.
    ///
    /// # Errors
    /// [`Code::TooBusy`] past [`limits::LOG_QUERIES`].
    pub fn seat(&self) -> Result<Seat, Refusal> {
        Seat::take(
            self.log.stats(),
            |stats| &stats.queries,
            limits::LOG_QUERIES,
        )
    }

    /// Room to follow the log.
    ///
    /// # Errors
    /// [`Code::TooBusy`] past [`limits::LOG_TAILS`].
    pub fn tail_seat(&self) -> Result<Seat, Refusal> {
        Seat::take(self.log.stats(), |stats| &stats.tails, limits::LOG_TAILS)
    }

    /// How many records can be read.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.log.durable()
    }

    /// Finds records. Blocks: reads files, and stops, with an error, once nobody wants it any more.
    ///
    /// # Errors
    /// When the segments cannot be listed.
    pub fn search(
        &self,
        filter: Filter,
        within: Range<u64>,
        order: Order,
        is_wanted: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Search, ReadError> {
        let within = within.start..within.end.min(self.end());
        search(self.segments(is_wanted), filter, within, order)
    }

    /// Follows the log from a sequence on, for as long as that is wanted.
    pub fn follow(
        &self,
        from: u64,
        is_wanted: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Follow {
        Follow::new(self.segments(is_wanted), from)
    }

    fn segments(&self, is_wanted: impl Fn() -> bool + Send + Sync + 'static) -> Arc<dyn Segments> {
        Arc::new(WhileWanted {
            segments: Arc::clone(&self.segments),
            is_wanted: Arc::new(is_wanted),
        })
    }
}

impl Filter {
    /// Of what it lets through only what somebody may see.
    #[must_use]
    pub fn visible_to(self, sight: &Sight) -> Self {
        match sight {
            Sight::Everything => self,
            Sight::Owned(owners) => {
                let owners = owners.iter().map(ToString::to_string).collect();
                self.within(Field::Owner, owners)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{Memory, context, minted, open};

    #[test]
    fn there_is_room_for_so_many_and_it_is_given_back() {
        let device = Memory::new();
        let reading = Reading::new(open(&device).log, device);
        let mut seats: Vec<_> = (0..limits::LOG_QUERIES)
            .map(|_| reading.seat().unwrap())
            .collect();
        assert_eq!(reading.seat().unwrap_err().code(), Code::TooBusy);
        seats.pop();
        seats.push(reading.seat().unwrap());
        assert_eq!(reading.seat().unwrap_err().code(), Code::TooBusy);
        // Who follows takes no room from who searches.
        drop(reading.tail_seat().unwrap());
    }

    /// What is written and not synced was promised to nobody, and may be gone tomorrow.
    #[tokio::test]
    async fn nothing_is_read_before_it_is_durable() {
        let device = Memory::new();
        let log = open(&device).log;
        let reading = Reading::new(log.clone(), Arc::clone(&device) as _);
        log.issue(minted(1), &context()).await.unwrap();
        device.hold(true);
        let second = log.issue(minted(2), &context());
        let waiting = tokio::spawn(second);
        tokio::task::spawn_blocking({
            let device = Arc::clone(&device);
            move || device.await_sync()
        })
        .await
        .unwrap();
        let seen = || {
            let all = 0..u64::MAX;
            let found = reading.search(Filter::default(), all, Order::OldestFirst, || true);
            let found = found.unwrap().map(|entry| entry.unwrap().sequence);
            let mut followed = Vec::new();
            let mut follow = reading.follow(0, || true);
            let taken = follow.read(reading.end(), &Filter::default(), |entry| {
                followed.push(entry.sequence);
                true
            });
            taken.unwrap();
            assert_eq!(found.collect::<Vec<_>>(), followed);
            followed
        };
        let written = crate::audit::read::records(Arc::clone(&device) as _, 0).unwrap();
        assert_eq!(written.count(), 2, "it is in the file");
        assert_eq!(seen(), [0]);
        device.hold(false);
        waiting.await.unwrap().unwrap();
        assert_eq!(seen(), [0, 1]);
    }
}
