//! How much the log takes, and how much it may.
//!
//! At the bound the folder behaves as a full disk does: appending fails as on one, and the writer goes over to the reserve.

use crate::limits;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes that hash tiles take for each record: 32 for its own, and a 256th part of that for each level above.
const HASHES: (u64, u64) = (32 * 256, 255);

/// The log's size and bound. Reading and counting is lock-free.
#[derive(Debug)]
pub(super) struct Room {
    bound: u64,
    /// How much more revocations may take once nothing else is taken.
    reserve: u64,
    /// What was there when it was last measured, less what had been appended by then.
    base: AtomicU64,
    appended: AtomicU64,
    /// Nothing but revocations comes.
    relief: AtomicBool,
}

impl Room {
    pub(super) fn new(bound: Option<u64>, reserve: u64) -> Self {
        Self {
            bound: bound.unwrap_or(u64::MAX),
            reserve,
            base: AtomicU64::new(0),
            appended: AtomicU64::new(0),
            relief: AtomicBool::new(false),
        }
    }

    pub(super) fn bound(&self) -> Option<u64> {
        (self.bound < u64::MAX).then_some(self.bound)
    }

    pub(super) fn used(&self) -> u64 {
        let appended = self.appended.load(Ordering::Acquire);
        self.base.load(Ordering::Acquire).wrapping_add(appended)
    }

    /// What it may still take.
    fn left(&self) -> u64 {
        self.bound.saturating_sub(self.used())
    }

    /// Whether that is less than `floor`, or than its last part where the bound is small: one below `floor` is not low for ever.
    pub(super) fn is_low(&self, floor: u64) -> bool {
        self.left() < floor.min(self.bound / limits::LOG_REFUSAL_PART)
    }

    /// Room for `bytes` to be appended.
    pub(super) fn append(&self, bytes: usize) -> io::Result<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let more = match self.relief.load(Ordering::Acquire) {
            true => self.reserve,
            false => 0,
        };
        let left = self.bound.saturating_add(more).saturating_sub(self.used());
        if left < bytes {
            return Err(full());
        }
        self.appended.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }

    /// Room for a new segment: for a commit at least, or there would be one segment after the other without a record.
    pub(super) fn begin(&self) -> io::Result<()> {
        match self.left() < u64::try_from(limits::LOG_BATCH_BYTES).unwrap_or(u64::MAX) {
            true => Err(full()),
            false => Ok(()),
        }
    }

    /// From now on nothing but revocations comes, or everything again.
    pub(super) fn relieve(&self, relief: bool) {
        self.relief.store(relief, Ordering::Release);
    }

    /// Looks at what is there: all segments and indexes, and the tiles of the records before the last segment. Tiles are many,
    /// and are reckoned.
    pub(super) fn measure(&self, folder: &Path, last: u64) -> io::Result<()> {
        let appended = self.appended.load(Ordering::Acquire);
        let mut sum = last.saturating_mul(HASHES.0) / HASHES.1;
        for entry in std::fs::read_dir(folder)? {
            match entry?.metadata() {
                // It was there a moment ago.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(metadata) if !metadata.is_file() => {}
                metadata => sum = sum.saturating_add(metadata?.len()),
            }
        }
        self.base
            .store(sum.wrapping_sub(appended), Ordering::Release);
        Ok(())
    }
}

fn full() -> io::Error {
    io::Error::new(
        io::ErrorKind::QuotaExceeded,
        "the log is as large as `max_bytes` lets it be",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_low_in_its_last_part_or_below_the_floor() {
        let bound = 100 * limits::LOG_REFUSAL_PART;
        for (floor, least) in [(u64::MAX, 100), (100, 100), (30, 30), (0, 0)] {
            let room = Room::new(Some(bound), 0);
            let most = usize::try_from(bound - least).unwrap();
            room.append(most).unwrap();
            assert!(!room.is_low(floor), "{floor}");
            if least > 0 {
                room.append(1).unwrap();
                assert!(room.is_low(floor), "{floor}");
            }
        }
        let unbounded = Room::new(None, 0);
        assert!(!unbounded.is_low(u64::MAX));
    }

    #[test]
    fn bound_and_reserve_hold_at_n_and_n_plus_one() {
        let room = Room::new(Some(100), 10);
        assert!(room.append(100).is_ok());
        assert!(room.append(1).is_err());
        room.relieve(true);
        for _ in 0..10 {
            assert!(room.append(1).is_ok());
        }
        assert!(room.append(1).is_err());
        assert_eq!(room.used(), 110);
    }
}
