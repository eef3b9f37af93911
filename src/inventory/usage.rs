//! Last use and use counts: kept in memory, flushed in the background, approximate after a crash.

use super::keys::Keys;
use crate::id::KeyPublicId;
use crate::limits;
use crate::store::{Batch, CommitError, Entry, Key, Store, TooLarge, Value};
use serde::{Deserialize, Serialize};

/// Store prefix of usage counters.
pub const PREFIX: &str = "usage/";

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u8,
    count: u64,
    last: i64,
}

/// Writes the counters that changed since the last flush. What fails is tried again at the next.
///
/// # Errors
/// The store's own; counters stay unflushed.
pub async fn flush(keys: &Keys, store: &dyn Store) -> Result<(), CommitError> {
    let entries = keys.list(None);
    let changed: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.usage().is_flushed())
        .collect();
    for chunk in changed.chunks(limits::STORE_BATCH / 2) {
        let mut batch = Batch::new();
        let mut counts = Vec::with_capacity(chunk.len());
        for entry in chunk {
            let usage = entry.usage();
            let last = usage.last().map_or(0, jiff::Timestamp::as_second);
            let stored = Stored {
                version: 1,
                count: usage.count(),
                last,
            };
            counts.push((entry, stored.count));
            batch = put(batch, &entry.key().id, &stored)
                .map_err(|error| CommitError::Refused(error.to_string()))?;
        }
        store.commit(batch).await?;
        counts
            .into_iter()
            .for_each(|(entry, count)| entry.usage().mark_flushed(count));
    }
    Ok(())
}

fn put(batch: Batch, id: &KeyPublicId, stored: &Stored) -> Result<Batch, TooLarge> {
    let value = serde_json::to_vec(stored).map_err(|_| TooLarge)?;
    batch.put(Key::new(&format!("{PREFIX}{id}"))?, Value::new(value)?)
}

/// Takes over stored counters at start.
pub fn restore(keys: &Keys, entries: &[Entry]) {
    for entry in entries {
        let id = entry
            .key
            .as_str()
            .strip_prefix(PREFIX)
            .map(KeyPublicId::parse);
        let stored: Result<Stored, _> = serde_json::from_slice(entry.value.as_bytes());
        if let (Some(Ok(id)), Ok(stored)) = (id, stored) {
            keys.counters(id).restore(stored.count, stored.last);
        }
    }
}
