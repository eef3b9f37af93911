//! What a broker's log says, read as a stranger reads it: from its files.

use super::{LOOK, Site};
use crate::support::edge::{until, within};
use cambist::audit::{
    Checkpoint, Disk, DiskReader, DiskShelf, NoteKey, ReadError, Segments as _, read, verify,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of the log in `folder`, in order.
pub(crate) fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|name| name == "seg"))
        .collect();
    all.sort();
    all
}

/// The records that the log in `folder` has left, in order, also while the broker writes: what it does to a file meanwhile is
/// looked at again.
pub(crate) fn records(folder: &Path) -> Vec<Value> {
    let read = || -> Result<Vec<Value>, ReadError> {
        let reader = DiskReader::new(folder);
        let first = reader.segments()?.first().copied().unwrap_or(0);
        let all = read::records(Arc::new(reader), first)?;
        all.map(|entry| Ok(serde_json::from_slice(&entry?.line).unwrap()))
            .collect()
    };
    let mut tries = std::iter::repeat_with(read).take(5);
    tries
        .find(Result::is_ok)
        .map_or_else(|| read().unwrap(), Result::unwrap)
}

/// The log's last checkpoint in `folder`, if there is one yet.
pub(crate) fn checkpoint(folder: &Path) -> Option<Checkpoint> {
    let key = fs::read_to_string(folder.join(DiskShelf::KEY)).ok()?;
    let key: NoteKey = key.trim_end().parse().unwrap();
    let note = fs::read(folder.join("checkpoint")).ok()?;
    Some(key.open(&note).unwrap().parse().unwrap())
}

/// Verifies the log in `folder` from its files alone, and that it has grown from each of `earlier`, to which its checkpoint is
/// added. One that was killed before its first checkpoint has none.
pub(crate) fn verify_log(folder: &Path, earlier: &mut Vec<Checkpoint>) {
    let key = fs::read_to_string(folder.join(DiskShelf::KEY)).unwrap();
    let key: NoteKey = key.trim_end().parse().unwrap();
    let segments = Arc::new(DiskReader::new(folder));
    let shelf = DiskShelf::new(folder);
    if !folder.join("checkpoint").exists() {
        return assert!(earlier.is_empty());
    }
    let sound = verify(segments, &shelf, &key, earlier, |_| ()).unwrap();
    assert!(sound.records >= sound.checkpoint.size);
    earlier.push(sound.checkpoint);
}

impl Site {
    /// The records of its log, in order.
    pub(crate) fn records(&self) -> Vec<Value> {
        records(&self.path("data/log"))
    }

    /// Waits until the log holds a record like this, and gives the last of them.
    pub(crate) async fn record(&self, like: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                if let Some(found) = self.records().into_iter().rfind(&like) {
                    return found;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        within("a record", found).await
    }

    /// Waits until a checkpoint of at least so many records is published, in its folder and over HTTPS.
    pub(crate) async fn published(&self, size: u64) {
        until("a checkpoint", async || {
            self.metric("log_checkpoint_size").await >= Some(size)
        })
        .await;
    }

    /// Verifies its log as [`verify_log`] does.
    pub(crate) fn verify_log(&self, earlier: &mut Vec<Checkpoint>) {
        verify_log(&self.path("data/log"), earlier);
    }

    /// Its log's last checkpoint, if there is one yet.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        checkpoint(&self.path("data/log"))
    }

    /// Every record of a log that nobody has open, in order; panics where one is missing.
    pub(crate) fn whole_log(&self) -> Vec<Value> {
        self.whole_log_from(0)
    }

    pub(crate) fn whole_log_from(&self, from: u64) -> Vec<Value> {
        let device = Arc::new(Disk::open(&self.path("data/log"), 0).unwrap());
        read::records(device, from)
            .unwrap()
            .zip(from..)
            .map(|(entry, expected)| {
                let entry = entry.unwrap();
                assert_eq!(entry.sequence, expected);
                let record: Value = serde_json::from_slice(&entry.line).unwrap();
                assert_eq!(record["seq"], expected);
                record
            })
            .collect()
    }
}
