//! A snapshot that comes in, beside what is held.

use super::told::{Fault, markers};
use crate::marker::MarkerSet;
use crate::proto;
use aws_lc_rs::digest::{Context, SHA256, digest};
use subtle::ConstantTimeEq as _;

/// The parts so far.
pub(super) struct Coming {
    set: MarkerSet,
    /// Over the digests of the parts.
    digest: Context,
    count: usize,
    most: usize,
}

impl Coming {
    /// The beginning of one with at most so many markers.
    pub(super) fn new(most: usize) -> Self {
        Self {
            set: MarkerSet::default(),
            digest: Context::new(&SHA256),
            count: 0,
            most,
        }
    }

    /// Takes a part.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        for marker in markers(bytes)? {
            self.count = self.count.saturating_add(1);
            if self.count > self.most {
                return Err(Fault("a snapshot of more markers than are held"));
            }
            self.set.put(marker);
        }
        self.digest.update(digest(&SHA256, bytes).as_ref());
        Ok(())
    }

    /// All of them, if they are what was sent.
    pub(super) fn end(self, end: &proto::SnapshotEnd) -> Result<MarkerSet, Fault> {
        if u64::try_from(self.count).ok() != Some(end.count) {
            return Err(Fault(
                "a snapshot of another number of markers than it says",
            ));
        }
        let digest = self.digest.finish();
        if !bool::from(digest.as_ref().ct_eq(&end.digest)) {
            return Err(Fault("a snapshot of other markers than it says"));
        }
        Ok(self.set)
    }
}
