//! All markers in force, in parts.

use super::{Encode, Label};
use crate::limits;
use crate::marker::{MarkerSet, pack};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use std::sync::atomic::AtomicU64;

/// What a snapshot says of itself in its last part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How far it goes.
    pub label: Label,
    /// How many markers there were.
    pub count: u64,
    /// SHA-256 over the packed markers of all parts.
    pub digest: [u8; 32],
}

/// A snapshot, ready to be sent.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Which one it is.
    pub(super) number: u64,
    /// The last delta that it holds.
    pub(super) at: u64,
    /// Bytes of deltas before it.
    pub(super) total: u64,
    /// Its own.
    pub(super) bytes: u64,
    pub(super) frames: Vec<Bytes>,
    /// The heartbeat after which somebody was last sent a part.
    pub(super) used: AtomicU64,
}

/// Goes through the set. What is put meanwhile may be in it; nothing is missing that was in the set before.
pub(super) fn frames(set: &MarkerSet, encode: &dyn Encode, label: &Label) -> Vec<Bytes> {
    let (mut frames, mut part, mut in_part, mut count) = (Vec::new(), Vec::new(), 0_usize, 0_u64);
    let mut digest = Context::new(&SHA256);
    set.for_each(|marker| {
        if in_part == limits::SNAPSHOT_PART {
            let full = std::mem::take(&mut part);
            digest.update(&full);
            frames.push(encode.part(full, frames.is_empty(), None));
            in_part = 0;
        }
        pack(&marker, &mut part);
        in_part = in_part.saturating_add(1);
        count = count.saturating_add(1);
    });
    digest.update(&part);
    let mut end = End {
        label: *label,
        count,
        digest: [0; 32],
    };
    for (to, from) in end.digest.iter_mut().zip(digest.finish().as_ref()) {
        *to = *from;
    }
    frames.push(encode.part(part, frames.is_empty(), Some(&end)));
    frames
}
