//! A segment's bytes in memory.

use std::ops::Range;

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) written: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// What a sync failed on: a later sync holds it for written, and it reads as zeros after a power cut.
    pub(super) lost: Vec<Range<usize>>,
    /// Its name is there and not durable.
    pub(super) unnamed: bool,
}

impl File {
    pub(super) fn synced(bytes: Vec<u8>) -> Self {
        Self {
            durable: bytes.clone(),
            written: bytes,
            lost: Vec::new(),
            unnamed: false,
        }
    }

    /// What a sync that succeeds makes durable, of the first `length` bytes.
    pub(super) fn sync(&mut self, length: usize) {
        self.durable = self.written[..length].to_vec();
        for range in &self.lost {
            let end = range.end.min(length);
            self.durable[range.start.min(end)..end].fill(0);
        }
    }
}
