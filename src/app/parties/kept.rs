//! What the store holds of the log, where who can write to the log's folder alone does not reach it. A log whose checkpoint and
//! tiles were taken away is sound in itself, and would be signed once more, with whatever was changed.
//!
//! | key | value |
//! |---|---|
//! | `meta/checkpoint` | the note of a checkpoint: of some seconds ago while the broker runs, and at a stop, the last one: where that is of all records, nothing is added either until the next start |
//! | `meta/witnesses` | the keys of the witnesses that have cosigned the log since it was begun anew |
//!
//! A witness answers with a size and no signature, and knows a log by its origin, which stays: one that is not among these speaks
//! of the log that was given up. A log that was never begun anew has no such entry, and each witness is believed.

use crate::audit::{NoteKey, Published};
use crate::store::{Batch, CommitError, Key, Store, StoreFault, TooLarge, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Mutex;

const CHECKPOINT: &str = "meta/checkpoint";
const WITNESSES: &str = "meta/witnesses";

/// The format of both: what has another one is not read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Version;

impl TryFrom<u8> for Version {
    type Error = String;

    fn try_from(version: u8) -> Result<Self, String> {
        match version {
            1 => Ok(Self),
            _ => Err(format!(
                "it has the format {version}, and this program knows 1"
            )),
        }
    }
}

impl From<Version> for u8 {
    fn from(_: Version) -> Self {
        1
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    version: Version,
    /// Records that it is of.
    size: u64,
    note: String,
    /// The log had ended with it.
    ended: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Witnesses {
    version: Version,
    cosigned: Vec<String>,
}

/// The store, as one of those who hold the log to its word.
#[derive(Clone, Debug)]
pub(in crate::app) struct Kept {
    store: Arc<dyn Store>,
    /// Records that the checkpoint is of which was kept last: none is kept in its place that is of fewer, as the one that is
    /// published may be after one that could not be.
    size: Arc<AtomicU64>,
    /// Said once, and not each time.
    failing: Arc<AtomicBool>,
    /// Held by who adds a witness.
    adding: Arc<Mutex<()>>,
}

/// The log is begun anew: nothing of it was published, and no witness has seen it.
///
/// # Errors
/// The store's own.
pub(in crate::app) async fn begin_anew(store: &dyn Store) -> Result<(), CommitError> {
    let none = Witnesses {
        version: Version,
        cosigned: Vec::new(),
    };
    let batch = Key::new(CHECKPOINT)
        .and_then(|key| Batch::new().delete(key))
        .and_then(|batch| put(batch, WITNESSES, &none));
    // Also on a full disk, as all that a rollback needs.
    commit(store, batch.map(Batch::reserved)).await
}

impl Kept {
    pub(in crate::app) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            size: Arc::default(),
            failing: Arc::default(),
            adding: Arc::default(),
        }
    }

    /// The checkpoint that was kept last.
    pub(super) async fn checkpoint(&self) -> Result<Option<String>, StoreFault> {
        let kept: Option<Checkpoint> = self.read(CHECKPOINT).await?;
        Ok(kept.map(|kept| kept.note))
    }

    /// How many records the log had ended with, where that was kept at a stop.
    pub(in crate::app) async fn ended(&self) -> Result<Option<u64>, StoreFault> {
        let kept: Option<Checkpoint> = self.read(CHECKPOINT).await?;
        Ok(kept.filter(|kept| kept.ended).map(|kept| kept.size))
    }

    /// The log is written from now on: where it ended is no longer known.
    ///
    /// # Errors
    /// The store's own; then nothing must be written.
    pub(in crate::app) async fn go_on(&self) -> anyhow::Result<()> {
        let kept: Option<Checkpoint> = self.read(CHECKPOINT).await?;
        let size = kept.as_ref().map_or(0, |kept| kept.size);
        self.size.store(size, Ordering::Release);
        let Some(mut kept) = kept.filter(|kept| kept.ended) else {
            return Ok(());
        };
        kept.ended = false;
        // Also on a full disk: who cannot start cannot revoke.
        let batch = put(Batch::new(), CHECKPOINT, &kept).map(Batch::reserved);
        Ok(commit(&*self.store, batch).await?)
    }

    /// Keeps a checkpoint in the place of one of fewer records; that the log has `ended` with it, too.
    pub(super) async fn keep(&self, last: &Published, ended: bool) -> Result<(), CommitError> {
        let size = last.checkpoint.size;
        let known = self.size.load(Ordering::Acquire);
        if size < known || size == known && !ended {
            return Ok(());
        }
        let kept = Checkpoint {
            version: Version,
            size,
            note: last.note.clone(),
            ended,
        };
        commit(&*self.store, put(Batch::new(), CHECKPOINT, &kept)).await?;
        self.size.store(size, Ordering::Release);
        self.failing.store(false, Ordering::Release);
        Ok(())
    }

    /// Whether the one before it did not fail.
    pub(super) fn is_first_failure(&self) -> bool {
        !self.failing.swap(true, Ordering::AcqRel)
    }

    /// Whether a witness speaks of the log as it is now.
    pub(super) async fn believes(&self, witness: &NoteKey) -> Result<bool, StoreFault> {
        let kept: Option<Witnesses> = self.read(WITNESSES).await?;
        Ok(kept.is_none_or(|kept| kept.cosigned.contains(&witness.to_string())))
    }

    /// A witness has cosigned the log as it is now.
    pub(super) async fn cosigns(&self, witness: &NoteKey) -> anyhow::Result<()> {
        let _adding = self.adding.lock().await;
        let kept: Option<Witnesses> = self.read(WITNESSES).await?;
        let witness = witness.to_string();
        let Some(mut kept) = kept.filter(|kept| !kept.cosigned.contains(&witness)) else {
            return Ok(());
        };
        kept.cosigned.push(witness);
        Ok(commit(&*self.store, put(Batch::new(), WITNESSES, &kept)).await?)
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreFault> {
        let unreadable = |error: &dyn std::fmt::Display| StoreFault(format!("{key}: {error}"));
        let at = Key::new(key).map_err(|error| unreadable(&error))?;
        let entry = self.store.read(&at).await?;
        let value = entry.map(|entry| serde_json::from_slice(entry.value.as_bytes()));
        value.transpose().map_err(|error| unreadable(&error))
    }
}

fn put(batch: Batch, key: &str, value: &impl Serialize) -> Result<Batch, TooLarge> {
    let value = serde_json::to_vec(value).map_err(|_| TooLarge)?;
    batch.put(Key::new(key)?, Value::new(value)?)
}

async fn commit(store: &dyn Store, batch: Result<Batch, TooLarge>) -> Result<(), CommitError> {
    let batch = batch.map_err(|error| CommitError::Refused(error.to_string()))?;
    store.commit(batch).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, SystemRandomness};
    use crate::store::embedded::EmbeddedStore;

    fn published(size: u64, note: &str) -> Published {
        let root = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        let checkpoint = format!("log.example/1\n{size}\n{root}\n");
        Published {
            checkpoint: checkpoint.parse().unwrap(),
            note: note.to_owned(),
        }
    }

    #[tokio::test]
    async fn what_is_kept_outlives_the_run_until_the_log_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let witness = |name: &str| NoteKey::of_witness(name, [7; 32]).unwrap();
        let (one, two) = (witness("one.example.net"), witness("two.example.net"));
        let path = folder.path().join("store.db");
        let open = || {
            let (clock, random) = (SystemClock::shared(), SystemRandomness::shared());
            Arc::new(EmbeddedStore::open(&path, clock, random).unwrap())
        };
        let store = open();
        let kept = Kept::new(store.clone());
        let believed = async |kept: &Kept| {
            let one = kept.believes(&one).await.unwrap();
            (one, kept.believes(&two).await.unwrap())
        };
        // Never begun anew.
        kept.cosigns(&one).await.unwrap();
        assert_eq!(believed(&kept).await, (true, true));
        assert_eq!(kept.checkpoint().await.unwrap(), None);
        for _ in 0..2 {
            kept.keep(&published(3, "three"), false).await.unwrap();
            kept.keep(&published(4, "four"), false).await.unwrap();
            let later = Kept::new(store.clone());
            later.go_on().await.unwrap();
            for run in [&kept, &later] {
                run.keep(&published(3, "three"), false).await.unwrap();
                assert_eq!(kept.checkpoint().await.unwrap().unwrap(), "four");
            }
            begin_anew(&*store).await.unwrap();
            assert_eq!(kept.checkpoint().await.unwrap(), None);
            kept.go_on().await.unwrap();
            assert_eq!(believed(&kept).await, (false, false));
            kept.cosigns(&two).await.unwrap();
            assert_eq!(believed(&kept).await, (false, true));
        }
        // Side by side, neither is lost.
        begin_anew(&*store).await.unwrap();
        let (first, second) = tokio::join!(kept.cosigns(&one), kept.cosigns(&two));
        first.and(second).unwrap();
        kept.keep(&published(5, "five"), false).await.unwrap();
        // What is there already costs no commit.
        let before = store.revision().await.unwrap();
        kept.cosigns(&one).await.unwrap();
        kept.keep(&published(5, "five, cosigned"), false)
            .await
            .unwrap();
        assert_eq!(store.revision().await.unwrap(), before);
        store.close().await;
        drop((kept, store));
        let kept = Kept::new(open());
        assert_eq!(believed(&kept).await, (true, true));
        assert_eq!(kept.checkpoint().await.unwrap().unwrap(), "five");
    }

    #[tokio::test]
    async fn a_log_that_has_ended_grows_by_nothing_until_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let (clock, random) = (SystemClock::shared(), SystemRandomness::shared());
        let kept = Kept::new(Arc::new(EmbeddedStore::open(&path, clock, random).unwrap()));
        let ended = async || kept.ended().await.unwrap();
        kept.go_on().await.unwrap();
        assert_eq!(ended().await, None);
        // Not ended: what came after the checkpoint, nobody knows.
        kept.keep(&published(5, "five"), false).await.unwrap();
        assert_eq!(ended().await, None);
        for _ in 0..2 {
            kept.keep(&published(5, "five"), true).await.unwrap();
            // However often it is looked at.
            assert_eq!(ended().await, Some(5));
            assert_eq!(ended().await, Some(5));
            // From here on it grows.
            kept.go_on().await.unwrap();
            assert_eq!(ended().await, None);
            assert_eq!(kept.checkpoint().await.unwrap().unwrap(), "five");
        }
        kept.keep(&published(5, "five"), true).await.unwrap();
        begin_anew(&*kept.store).await.unwrap();
        assert_eq!(ended().await, None);
    }

    #[tokio::test]
    async fn what_a_later_program_kept_is_not_read_as_if_it_were_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let (clock, random) = (SystemClock::shared(), SystemRandomness::shared());
        let kept = Kept::new(Arc::new(EmbeddedStore::open(&path, clock, random).unwrap()));
        let put = async |version: u8| {
            let value = format!(r#"{{"version":{version},"size":5,"note":"five","ended":true}}"#);
            let value = Value::new(value.into_bytes()).unwrap();
            let batch = Batch::new().put(Key::new(CHECKPOINT).unwrap(), value);
            commit(&*kept.store, batch).await.unwrap();
        };
        put(1).await;
        assert_eq!(kept.ended().await.unwrap(), Some(5));
        put(2).await;
        let refused = kept.ended().await.unwrap_err().to_string();
        assert!(refused.contains("the format 2"), "{refused}");
        assert!(kept.checkpoint().await.is_err() && kept.go_on().await.is_err());
    }
}
