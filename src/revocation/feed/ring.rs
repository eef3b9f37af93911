//! The deltas that are kept for those who come back or fall behind.

use crate::revocation::Partition;
use bytes::Bytes;
use std::collections::VecDeque;

/// What a delta takes beside its bytes.
const AROUND: usize = 64;

/// Deltas by number, the newest so many bytes of them.
#[derive(Debug)]
pub(super) struct Ring {
    /// Bytes that are kept at most.
    most: usize,
    deltas: VecDeque<Kept>,
    /// The number of the last one; the first that there ever was has number 1.
    last: u64,
    /// Bytes of those that are kept.
    bytes: usize,
    /// Bytes of all that there ever were.
    total: u64,
}

/// Changes of one partition, as they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) partition: Partition,
    /// Whether it is the last of those that come together, and says what all of them have reached.
    pub(super) is_last: bool,
    pub(super) frame: Bytes,
}

#[derive(Debug)]
struct Kept {
    delta: Delta,
    /// The revision with which it came.
    counter: u64,
}

/// What comes after a delta.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The one of this number.
    Next(u64, Delta),
    /// Nothing yet, up to the one of this number.
    Nothing(u64),
    /// What is no longer kept.
    Gone,
}

impl Ring {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            deltas: VecDeque::new(),
            last: 0,
            bytes: 0,
            total: 0,
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Appends a delta, and drops the oldest ones for it. Answers the counter of the last that was dropped.
    pub(super) fn push(&mut self, delta: Delta, counter: u64) -> Option<u64> {
        let size = cost(&delta);
        self.last = self.last.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        self.total = self
            .total
            .saturating_add(size.try_into().unwrap_or(u64::MAX));
        self.deltas.push_back(Kept { delta, counter });
        let mut dropped = None;
        while self.bytes > self.most {
            let Some(oldest) = self.deltas.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(cost(&oldest.delta));
            dropped = Some(oldest.counter);
        }
        dropped
    }

    /// The number before the first that is kept: whoever has come to here can go on.
    pub(super) fn start(&self) -> u64 {
        let kept = self.deltas.len().try_into().unwrap_or(u64::MAX);
        self.last.saturating_sub(kept)
    }

    /// Whether whoever has come to this number can go on.
    pub(super) fn continues(&self, number: u64) -> bool {
        number >= self.start()
    }

    /// The first one after `number` whose partition somebody `sees`.
    pub(super) fn after(&self, number: u64, sees: impl Fn(Partition) -> bool) -> After {
        let Some(place) = number.checked_sub(self.start()) else {
            return After::Gone;
        };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let later = self.deltas.range(place.min(self.deltas.len())..);
        let mut numbered = (number.saturating_add(1)..).zip(later);
        match numbered.find(|(_, kept)| sees(kept.delta.partition)) {
            Some((number, kept)) => After::Next(number, kept.delta.clone()),
            None => After::Nothing(self.last),
        }
    }

    /// The number before the first delta after `number` that came with the revision `counter` or later. They come in
    /// the order of their counters.
    pub(super) fn before(&self, counter: u64, number: u64) -> u64 {
        let start = self.start().max(number);
        let skipped = usize::try_from(start.saturating_sub(self.start())).unwrap_or(usize::MAX);
        // From the newest on: few were missed, as a rule, and many are kept.
        let later = self.deltas.iter().skip(skipped).rev();
        let missed = later.take_while(|delta| delta.counter >= counter).count();
        self.last
            .saturating_sub(missed.try_into().unwrap_or(u64::MAX))
    }
}

fn cost(delta: &Delta) -> usize {
    delta.frame.len().saturating_add(AROUND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    fn frame(size: usize) -> Delta {
        of(Partition::SHARED, size)
    }

    fn of(partition: Partition, size: usize) -> Delta {
        Delta {
            partition,
            is_last: true,
            frame: vec![0; size].into(),
        }
    }

    /// What comes next for somebody who sees everything.
    fn next(ring: &Ring, number: u64) -> After {
        ring.after(number, |_| true)
    }

    #[test]
    fn what_is_not_for_somebody_is_passed_over() {
        use crate::revocation::partition::Partitions;
        let all = Partitions::default();
        let [a, b] = ["a", "b"].map(|name| all.of(crate::id::Tenant::parse(name).ok().as_ref()));
        let mut ring = Ring::new(limits::WATCH_DELTAS_BYTES);
        for (partition, size) in [(a, 1), (b, 2), (Partition::SHARED, 3), (b, 4)] {
            ring.push(of(partition, size), 1);
        }
        let sees = |partition| partition != b;
        assert_eq!(ring.after(0, sees), After::Next(1, of(a, 1)));
        let shared = After::Next(3, of(Partition::SHARED, 3));
        assert_eq!(ring.after(1, sees), shared);
        assert_eq!(ring.after(2, sees), shared);
        assert_eq!(ring.after(3, sees), After::Nothing(4));
        assert_eq!(ring.after(9, sees), After::Nothing(4));
    }

    #[test]
    fn so_many_bytes_are_kept_and_not_one_more() {
        let most = limits::WATCH_DELTAS_BYTES;
        let half = most / 2 - AROUND;
        let mut ring = Ring::new(most);
        assert_eq!(next(&ring, 0), After::Nothing(0));
        assert_eq!(ring.push(frame(half), 1), None);
        assert_eq!(ring.push(frame(half), 2), None);
        assert_eq!((ring.start(), ring.last()), (0, 2));
        assert_eq!(next(&ring, 0), After::Next(1, frame(half)));
        assert_eq!(ring.push(frame(half + 1), 3), Some(2));
        assert_eq!(next(&ring, 0), After::Gone);
        assert_eq!(next(&ring, 2), After::Next(3, frame(half + 1)));
        assert_eq!(next(&ring, 3), After::Nothing(3));
        assert_eq!(ring.start(), 2);
        // Nothing is kept that is too large by itself.
        assert_eq!(ring.push(frame(2 * half + AROUND), 4), Some(3));
        assert_eq!(ring.push(frame(2 * half + AROUND + 1), 5), Some(5));
        assert_eq!(ring.start(), 5);
    }

    #[test]
    fn what_came_with_a_revision_is_found() {
        let mut ring = Ring::new(limits::WATCH_DELTAS_BYTES);
        for counter in [5, 5, 7, 9] {
            ring.push(frame(1), counter);
        }
        for (counter, number, before) in [
            (4, 0, 0),
            (5, 0, 0),
            (6, 0, 2),
            (7, 0, 2),
            (8, 0, 3),
            (9, 0, 3),
            (10, 0, 4),
            (5, 1, 1),
            (7, 1, 2),
            (10, 1, 4),
        ] {
            assert_eq!(ring.before(counter, number), before, "{counter} {number}");
        }
    }
}
