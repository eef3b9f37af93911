//! All markers in force, in parts of one partition each: everybody is sent those parts that are theirs to see.

use super::{Encode, Label};
use crate::limits;
use crate::marker::{MarkerSet, PACKED, pack};
use crate::revocation::Partition;
use crate::revocation::partition::Chosen;
use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

/// More than there is around the markers of a part.
const AROUND: usize = 64;

/// What a snapshot says of itself in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How far it goes.
    pub label: Label,
    /// How many markers there were.
    pub count: u64,
    /// SHA-256 over the SHA-256 of the packed markers of each part: what was sent can be checked, whichever parts that
    /// were, and each is hashed once for all who watch.
    pub digest: [u8; 32],
    /// What it is a snapshot of: a [`crate::revocation::View::token`].
    pub view: [u8; 16],
}

/// A snapshot, ready to be sent.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) label: Label,
    /// How many labels had been taken when it was begun.
    pub(super) step: u64,
    /// The last delta that it holds.
    pub(super) at: u64,
    /// Bytes of deltas before it.
    pub(super) total: u64,
    /// Its own.
    pub(super) bytes: u64,
    pub(super) parts: Vec<Part>,
    /// The heartbeat after which somebody was last sent a part.
    pub(super) used: AtomicU64,
}

/// Markers of one partition.
#[derive(Debug)]
pub(super) struct Part {
    partition: Partition,
    pub(super) frame: Bytes,
    count: u64,
    digest: Digest,
}

impl Snapshot {
    /// The first part from this place on that is somebody's to see, and the place after it.
    pub(super) fn part(&self, from: usize, chosen: &Chosen) -> Option<(&Part, usize)> {
        let places = from.saturating_add(1)..;
        let mut later = self.parts.iter().skip(from).zip(places);
        later.find(|(part, _)| chosen.sees(part.partition))
    }

    /// What it says of itself to somebody who was sent what is theirs.
    pub(super) fn end(&self, chosen: &Chosen, view: [u8; 16]) -> End {
        let (mut count, mut all) = (0_u64, Context::new(&SHA256));
        for part in &self.parts {
            if chosen.sees(part.partition) {
                count = count.saturating_add(part.count);
                all.update(part.digest.as_ref());
            }
        }
        // The part that says it has none.
        all.update(digest(&SHA256, b"").as_ref());
        let mut end = End {
            label: self.label,
            count,
            digest: [0; 32],
            view,
        };
        for (to, from) in end.digest.iter_mut().zip(all.finish().as_ref()) {
            *to = *from;
        }
        end
    }
}

/// How many bytes a snapshot of the set has at most, unless the set grows.
pub(super) fn expected(set: &MarkerSet<Partition>) -> u64 {
    let markers = set.len();
    let whole = markers
        .checked_div(limits::SNAPSHOT_PART)
        .unwrap_or(markers);
    // One that is not full of each partition.
    let parts = whole
        .saturating_add(limits::WATCH_TENANTS)
        .saturating_add(2);
    let around = parts.saturating_mul(AROUND);
    let bytes = markers.saturating_mul(PACKED).saturating_add(around);
    bytes.try_into().unwrap_or(u64::MAX)
}

/// Goes through the set. What is put meanwhile may be in it; nothing is missing that was in the set before. The first part is
/// of what all are sent, and may be empty.
pub(super) fn parts(set: &MarkerSet<Partition>, encode: &dyn Encode) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open = BTreeMap::<Partition, (Vec<u8>, usize)>::new();
    let mut is_begun = false;
    let mut close = |partition, markers: Vec<u8>, count: usize| {
        let is_first = partition == Partition::SHARED && !is_begun;
        is_begun |= is_first;
        parts.push(Part {
            partition,
            count: count.try_into().unwrap_or(u64::MAX),
            digest: digest(&SHA256, &markers),
            frame: encode.part(markers, is_first, None),
        });
    };
    open.entry(Partition::SHARED).or_default();
    set.for_each(|marker, partition| {
        let (markers, count) = open.entry(partition).or_default();
        if *count == limits::SNAPSHOT_PART {
            close(partition, std::mem::take(markers), *count);
            *count = 0;
        }
        pack(&marker, markers);
        *count = count.saturating_add(1);
    });
    for (partition, (markers, count)) in open {
        close(partition, markers, count);
    }
    // Each partition's in the order in which they were made.
    parts.sort_by_key(|part| part.partition);
    parts
}
