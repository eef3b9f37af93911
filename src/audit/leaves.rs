//! The hashes of records that were written, until the tree has them.
//!
//! The tree is grown over what the writer made durable, and not over what is read back of it a second later: whoever changes
//! a record in its file meanwhile finds that the checkpoint is not signed for that. Only what was written by an earlier
//! process, or is more than is kept, is read back.

use super::segment;
use super::tree::{Hash, leaf};
use crate::limits;
use memchr::memchr_iter;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The last records' hashes, [`limits::LOG_LEAVES`] of them at most.
#[derive(Debug, Default)]
pub struct Leaves(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// The sequence of the first.
    first: u64,
    hashes: VecDeque<Hash>,
}

/// The hashes of records one behind the other.
#[derive(Debug)]
pub(super) struct Run {
    first: u64,
    hashes: Vec<Hash>,
}

impl Run {
    /// Of whole lines of records; none where there is no record.
    pub(super) fn of(lines: &[u8]) -> Option<Self> {
        let first = segment::sequence(lines)?;
        let mut begin = 0;
        let hashes = memchr_iter(b'\n', lines).filter_map(|end| {
            let line = lines.get(begin..end)?;
            begin = end.saturating_add(1);
            Some(leaf(line))
        });
        Some(Self {
            hashes: hashes.collect(),
            first,
        })
    }
}

impl Held {
    fn end(&self) -> u64 {
        self.first.saturating_add(count(self.hashes.len()))
    }

    /// How many of them are before this sequence.
    fn before(&self, sequence: u64) -> usize {
        let before = usize::try_from(sequence.saturating_sub(self.first));
        before.unwrap_or(usize::MAX).min(self.hashes.len())
    }

    fn drop_first(&mut self, number: usize) {
        self.hashes.drain(..number);
        self.first = self.first.saturating_add(count(number));
    }
}

impl Leaves {
    /// Adds records that are durable. They take the place of what was written under their numbers, or after, and not
    /// acknowledged.
    pub(super) fn put(&self, run: Run) {
        let mut held = self.lock();
        if run.first < held.first || run.first > held.end() {
            held.hashes.clear();
            held.first = run.first;
        }
        let kept = held.before(run.first);
        held.hashes.truncate(kept);
        held.hashes.extend(run.hashes);
        let more = held.hashes.len().saturating_sub(limits::LOG_LEAVES);
        held.drop_first(more);
    }

    /// The hashes of the records right before `end`, from `from` on or as far back as they are kept; none where the last of
    /// them is not.
    pub(super) fn up_to(&self, end: u64, from: u64) -> Vec<Hash> {
        let held = self.lock();
        if end > held.end() {
            return Vec::new();
        }
        let all = held.before(from)..held.before(end);
        held.hashes.range(all).copied().collect()
    }

    /// The hash of one record, while it is kept.
    pub(super) fn hash_of(&self, sequence: u64) -> Option<Hash> {
        let held = self.lock();
        let place = usize::try_from(sequence.checked_sub(held.first)?).ok()?;
        held.hashes.get(place).copied()
    }

    /// The tree has those before this one.
    pub(super) fn forget(&self, before: u64) {
        let mut held = self.lock();
        let number = held.before(before);
        held.drop_first(number);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::BEGIN;

    fn lines(first: u64, number: u64) -> Vec<u8> {
        let all = first..first + number;
        let lines = all.map(|sequence| format!("{BEGIN}{sequence},\"kind\":\"admin\"}}\n"));
        lines.collect::<String>().into_bytes()
    }

    fn run(first: u64, number: u64) -> Run {
        Run::of(&lines(first, number)).unwrap()
    }

    fn hashes(first: u64, number: u64) -> Vec<Hash> {
        run(first, number).hashes
    }

    #[test]
    fn a_run_is_of_every_line_without_its_newline() {
        let run = run(9, 3);
        let all = lines(9, 3);
        let expected: Vec<_> = all.split(|byte| *byte == b'\n').take(3).map(leaf).collect();
        assert_eq!((run.first, run.hashes), (9, expected));
        assert!(Run::of(b"").is_none());
    }

    #[test]
    fn they_are_there_until_they_are_forgotten() {
        let leaves = Leaves::default();
        assert!(leaves.up_to(5, 0).is_empty());
        leaves.put(run(5, 3));
        leaves.put(run(8, 2));
        assert_eq!(leaves.up_to(10, 0), hashes(5, 5));
        assert_eq!(leaves.up_to(9, 6), hashes(6, 3));
        for (sequence, hash) in (5..).zip(hashes(5, 5)) {
            assert_eq!(leaves.hash_of(sequence), Some(hash));
        }
        assert_eq!([4, 10].map(|sequence| leaves.hash_of(sequence)), [None; 2]);
        assert!(leaves.up_to(11, 6).is_empty() && leaves.up_to(5, 0).is_empty());
        leaves.forget(7);
        assert_eq!(leaves.up_to(10, 0), hashes(7, 3));
        leaves.forget(20);
        leaves.put(run(10, 1));
        assert_eq!(leaves.up_to(11, 0), hashes(10, 1));
    }

    #[test]
    fn what_was_not_acknowledged_is_replaced_and_a_gap_leaves_nothing() {
        let leaves = Leaves::default();
        leaves.put(run(5, 5));
        leaves.put(run(7, 2));
        assert_eq!(leaves.up_to(9, 0), hashes(5, 4));
        assert!(leaves.up_to(10, 0).is_empty());
        for first in [12, 3] {
            leaves.put(run(first, 2));
            assert_eq!(leaves.up_to(first + 2, 0), hashes(first, 2));
        }
    }

    #[test]
    fn so_many_are_kept_and_not_one_more() {
        let leaves = Leaves::default();
        let most = u64::try_from(limits::LOG_LEAVES).unwrap();
        leaves.put(run(0, most));
        assert_eq!(leaves.up_to(most, 0).len(), limits::LOG_LEAVES);
        leaves.put(run(most, 1));
        let kept = leaves.up_to(most + 1, 0);
        assert_eq!(kept.len(), limits::LOG_LEAVES);
        assert_eq!(kept[..2], hashes(1, 2));
    }
}
