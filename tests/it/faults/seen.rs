//! Somebody who reads the log's checkpoints all the time, and believes them.

use crate::support::broker::{LOOK, checkpoint, verify_log};
use cambist::audit::Checkpoint;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};

/// Every checkpoint that a log has published since.
pub(super) struct Seen {
    folder: PathBuf,
    parted: Arc<AtomicBool>,
    reader: Option<JoinHandle<Vec<Checkpoint>>>,
}

impl Seen {
    /// Reads those of the log in `folder` from now on, wherever that is meanwhile.
    pub(super) fn of(folder: &Path) -> Self {
        let (folder, parted) = (folder.to_owned(), Arc::<AtomicBool>::default());
        let (from, until) = (folder.clone(), Arc::clone(&parted));
        let reader = spawn(move || {
            let mut all: Vec<Checkpoint> = Vec::new();
            loop {
                let ends = until.load(Ordering::Acquire);
                let news = checkpoint(&from).filter(|last| all.last() != Some(last));
                all.extend(news);
                if ends {
                    return all;
                }
                sleep(LOOK);
            }
        });
        Self {
            folder,
            parted,
            reader: Some(reader),
        }
    }

    /// Holds the log, which nobody writes to any more, against each of them: its tree has grown from all.
    pub(super) fn holds(mut self) {
        self.parted.store(true, Ordering::Release);
        let mut all = self.reader.take().unwrap().join().unwrap();
        assert!(!all.is_empty());
        verify_log(&self.folder, &mut all);
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.parted.store(true, Ordering::Release);
    }
}
