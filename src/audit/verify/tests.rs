//! What is held against what: nothing that is evidence can be changed unseen, and nothing that a crash leaves is a finding.

mod bytes;
mod headers;
mod lacks;
mod tiles;

use super::{Finding, Sound, verify};
use crate::audit::testing::ORIGIN;
use crate::audit::{DiskShelf, NoteKey, Publisher, Segments};
use crate::clock::SystemRandomness;
use crate::keys::{Kek, LogKey};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Publishes what is in `segments` into `folder`, with the key that is there.
fn publisher(folder: &Path, segments: Arc<dyn Segments>, durable: u64) -> Publisher {
    let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
    let path = folder.join("key");
    let random = SystemRandomness::shared();
    let held = LogKey::open(&path, "log", &kek).unwrap();
    let key = held.unwrap_or_else(|| LogKey::create(&path, "log", &kek, &*random).unwrap());
    let shelf = Arc::new(DiskShelf::new(folder));
    Publisher::open(segments, shelf, key, ORIGIN, durable).unwrap()
}

fn look(folder: &Path, segments: Arc<dyn Segments>, key: &NoteKey) -> Result<Sound, Finding> {
    verify(segments, &DiskShelf::new(folder), key, &[], |_| ())
}

/// Where a segment's header says when it was begun.
fn created(segment: &[u8]) -> Range<usize> {
    let name = br#""created":""#;
    let at = segment.windows(name.len()).position(|text| text == name);
    let begin = at.unwrap() + name.len();
    let length = segment[begin..].iter().position(|byte| *byte == b'"');
    begin..begin + length.unwrap()
}
