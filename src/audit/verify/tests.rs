//! What is held against what: nothing that is evidence can be changed unseen, and nothing that a crash leaves is a finding.

mod away;
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

/// Where the text is that a segment's header has under a name: of when it was begun, and of its tag, which who verifies has not
/// the key of, nothing else tells.
fn value(segment: &[u8], name: &str) -> Range<usize> {
    let name = format!(r#""{name}":""#);
    let at = segment
        .windows(name.len())
        .position(|text| text == name.as_bytes());
    let begin = at.unwrap() + name.len();
    let length = segment[begin..].iter().position(|byte| *byte == b'"');
    begin..begin + length.unwrap()
}
