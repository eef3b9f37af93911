//! A copy of a log, as a stranger might be given one.

use crate::audit::{DiskReader, Segments as _, read};
use anyhow::Context as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What stands before a record's salt.
const SALT: &[u8] = b"\"salt\":\"";

/// The sequence of a log's last record.
pub(super) fn last_record(log: &Path) -> anyhow::Result<u64> {
    let segments = Arc::new(DiskReader::new(log));
    let first = segments.segments()?.pop().unwrap_or(0);
    // One that was just begun may hold none.
    let mut last = first.checked_sub(1);
    for entry in read::records(segments, first)? {
        last = Some(entry?.sequence);
    }
    last.context("the log holds no record")
}

/// Copies a log that is being written to: the checkpoint first, so that what it is of is there. Segments come as they were
/// written, whether or not they are compressed by now.
pub(super) fn log(log: &Path, to: &Path) -> anyhow::Result<()> {
    if log.join("checkpoint").is_file() {
        fs::copy(log.join("checkpoint"), to.join("checkpoint"))?;
    }
    let segments = DiskReader::new(log);
    for first in segments.segments()? {
        let mut copy = File::create(segment(to, first))?;
        io::copy(&mut segments.read(first)?, &mut copy)?;
    }
    let mut waiting = vec![PathBuf::from("tile")];
    while let Some(below) = waiting.pop() {
        if !log.join(&below).is_dir() {
            continue;
        }
        fs::create_dir_all(to.join(&below))?;
        for entry in fs::read_dir(log.join(&below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                waiting.push(path);
            } else {
                // A partial tile may be gone by now: a wider one is there.
                let _ = fs::copy(log.join(&path), to.join(&path));
            }
        }
    }
    Ok(())
}

/// Changes one byte of a record in a copy.
pub(super) fn change(copy: &Path, record: u64) -> anyhow::Result<()> {
    let segments = DiskReader::new(copy).segments()?;
    let first = segments.into_iter().rfind(|first| *first <= record);
    let first = first.context("the record is in no segment")?;
    let path = segment(copy, first);
    let mut bytes = fs::read(&path)?;
    let mut lines = bytes.split_mut(|byte| *byte == b'\n');
    // The first line is the segment's header.
    let line = record.saturating_sub(first).saturating_add(1);
    let line = lines.nth(usize::try_from(line)?);
    let line = line.context("the record is not in its segment")?;
    let salt = line.windows(SALT.len()).position(|text| text == SALT);
    let byte = salt.and_then(|at| line.get_mut(at.saturating_add(SALT.len())));
    let byte = byte.context("the record has no salt")?;
    *byte = if *byte == b'A' { b'B' } else { b'A' };
    Ok(fs::write(&path, bytes)?)
}

fn segment(copy: &Path, first: u64) -> PathBuf {
    copy.join(format!("{first:020}.seg"))
}
