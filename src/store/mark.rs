//! The store's copy of the time guard's high-water mark (DESIGN.md section 4). The log keeps one too, with every issue;
//! this one is there when the log is not.

use super::{Batch, CommitError, Key, Store, StoreFault, Value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Key of the mark.
pub const MARK: &str = "meta/mark";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u8,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed_from: Option<Timestamp>,
}

/// What a run leaves for the next one's time guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Nothing below it is given out.
    pub at: Timestamp,
    /// What the mark was before somebody confirmed an earlier time, where that is still to come.
    pub confirmed_from: Option<Timestamp>,
}

/// The mark that was kept last.
///
/// # Errors
/// [`StoreFault`], also when the stored value cannot be read.
pub async fn kept(store: &dyn Store) -> Result<Option<Mark>, StoreFault> {
    let unreadable = |error: &dyn std::fmt::Display| StoreFault(format!("{MARK}: {error}"));
    let key = Key::new(MARK).map_err(|error| unreadable(&error))?;
    let Some(entry) = store.read(&key).await? else {
        return Ok(None);
    };
    let stored: Stored =
        serde_json::from_slice(entry.value.as_bytes()).map_err(|error| unreadable(&error))?;
    Ok(Some(Mark {
        at: stored.at,
        confirmed_from: stored.confirmed_from,
    }))
}

/// Keeps `mark`, also where it is lower: an operator may have said that the mark came from a wrong clock.
///
/// # Errors
/// The store's own.
pub async fn keep(store: &dyn Store, mark: Mark) -> Result<(), CommitError> {
    let refused = |error: &dyn std::fmt::Display| CommitError::Refused(error.to_string());
    let stored = Stored {
        version: 1,
        at: mark.at,
        confirmed_from: mark.confirmed_from,
    };
    let value = serde_json::to_vec(&stored).map_err(|error| refused(&error))?;
    let batch = Key::new(MARK)
        .and_then(|key| Batch::new().put(key, Value::new(value)?))
        .map_err(|error| refused(&error))?;
    store.commit(batch).await.map(drop)
}
