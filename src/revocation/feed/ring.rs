//! The deltas that are kept for those who come back or fall behind.

use bytes::Bytes;
use std::collections::VecDeque;

/// What a delta takes beside its bytes.
const AROUND: usize = 64;

/// Deltas by number, the newest so many bytes of them.
#[derive(Debug)]
pub(super) struct Ring {
    /// Bytes that are kept at most.
    most: usize,
    deltas: VecDeque<Delta>,
    /// The number of the last one; the first that there ever was has number 1.
    last: u64,
    /// Bytes of those that are kept.
    bytes: usize,
    /// Bytes of all that there ever were.
    total: u64,
}

#[derive(Debug)]
struct Delta {
    frame: Bytes,
    /// The revision with which it came.
    counter: u64,
}

/// What comes after a delta.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// This one.
    Next(Bytes),
    /// Nothing yet.
    Nothing,
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
    pub(super) fn push(&mut self, frame: Bytes, counter: u64) -> Option<u64> {
        let size = cost(&frame);
        self.last = self.last.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        self.total = self
            .total
            .saturating_add(size.try_into().unwrap_or(u64::MAX));
        self.deltas.push_back(Delta { frame, counter });
        let mut dropped = None;
        while self.bytes > self.most {
            let Some(oldest) = self.deltas.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(cost(&oldest.frame));
            dropped = Some(oldest.counter);
        }
        dropped
    }

    /// The number before the first that is kept: whoever has come to here can go on.
    pub(super) fn start(&self) -> u64 {
        let kept = self.deltas.len().try_into().unwrap_or(u64::MAX);
        self.last.saturating_sub(kept)
    }

    pub(super) fn after(&self, number: u64) -> After {
        let Some(place) = number.checked_sub(self.start()) else {
            return After::Gone;
        };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        match self.deltas.get(place) {
            Some(delta) => After::Next(delta.frame.clone()),
            None => After::Nothing,
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

fn cost(frame: &Bytes) -> usize {
    frame.len().saturating_add(AROUND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    fn frame(size: usize) -> Bytes {
        vec![0; size].into()
    }

    #[test]
    fn so_many_bytes_are_kept_and_not_one_more() {
        let most = limits::WATCH_DELTAS_BYTES;
        let half = most / 2 - AROUND;
        let mut ring = Ring::new(most);
        assert_eq!(ring.after(0), After::Nothing);
        assert_eq!(ring.push(frame(half), 1), None);
        assert_eq!(ring.push(frame(half), 2), None);
        assert_eq!((ring.start(), ring.last()), (0, 2));
        assert_eq!(ring.after(0), After::Next(frame(half)));
        assert_eq!(ring.push(frame(half + 1), 3), Some(2));
        assert_eq!(ring.after(0), After::Gone);
        assert_eq!(ring.after(2), After::Next(frame(half + 1)));
        assert_eq!(ring.after(3), After::Nothing);
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
