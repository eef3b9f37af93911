//! What is held against what: nothing that is evidence can be changed unseen, and nothing that a crash leaves is a finding.

mod bytes;
mod headers;
mod lacks;
mod tiles;

use super::{Finding, Sound, verify};
use crate::audit::testing::archive::publisher;
use crate::audit::{DiskShelf, NoteKey, Segments};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

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
