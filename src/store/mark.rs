//! The store's copy of the time guard's high-water mark (DESIGN.md section 4). The log keeps one too, with every issue;
//! this one is there when the log is not.

use super::{Batch, CommitError, Key, Store, StoreFault, Value};
use crate::clock::guard::TimeGuard;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Key of the mark.
pub const MARK: &str = "meta/mark";

/// Version 1 had no `counted`.
const VERSION: u8 = 2;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u8,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed_from: Option<Timestamp>,
    #[serde(default)]
    counted: Option<Timestamp>,
}

/// What a run leaves for the next one's time guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Nothing below it is given out.
    pub at: Timestamp,
    /// What the mark was before somebody confirmed an earlier time, where that is still to come.
    pub confirmed_from: Option<Timestamp>,
    /// The earliest that it could be by then ([`TimeGuard::counted`]). A version that kept none went by the mark at its start,
    /// and so does what follows it.
    pub counted: Option<Timestamp>,
}

impl Mark {
    /// What is so now; none before any time was given out.
    #[must_use]
    pub fn of(guard: &TimeGuard) -> Option<Self> {
        Some(Self {
            at: guard.mark()?,
            confirmed_from: guard.confirmed_from(),
            counted: Some(guard.counted()),
        })
    }
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
    let mark = read(entry.value.as_bytes()).map_err(|error| unreadable(&error))?;
    Ok(Some(mark))
}

fn read(value: &[u8]) -> serde_json::Result<Mark> {
    let stored: Stored = serde_json::from_slice(value)?;
    if stored.version > VERSION {
        return Err(serde::de::Error::custom("is of a later version"));
    }
    Ok(Mark {
        at: stored.at,
        confirmed_from: stored.confirmed_from,
        counted: stored.counted,
    })
}

/// Keeps `mark`, also where it is lower: an operator may have said that the mark came from a wrong clock.
///
/// # Errors
/// The store's own.
pub async fn keep(store: &dyn Store, mark: Mark) -> Result<(), CommitError> {
    let refused = |error: &dyn std::fmt::Display| CommitError::Refused(error.to_string());
    let stored = Stored {
        version: VERSION,
        at: mark.at,
        confirmed_from: mark.confirmed_from,
        counted: mark.counted,
    };
    let value = serde_json::to_vec(&stored).map_err(|error| refused(&error))?;
    let batch = Key::new(MARK)
        .and_then(|key| Batch::new().put(key, Value::new(value)?))
        .map_err(|error| refused(&error))?;
    store.commit(batch).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_of_an_earlier_version_is_read_and_one_of_a_later_is_not() {
        let [at, counted] = [2_000, 1_000].map(|second| Timestamp::from_second(second).unwrap());
        let of = |version: u8, more: &str| {
            read(format!(r#"{{"version":{version},"at":"{at}"{more}}}"#).as_bytes())
        };
        let mark = Mark {
            at,
            confirmed_from: None,
            counted: None,
        };
        assert_eq!(of(1, "").unwrap(), mark);
        let more = format!(r#","counted":"{counted}""#);
        let mark = Mark {
            counted: Some(counted),
            ..mark
        };
        assert_eq!(of(VERSION, &more).unwrap(), mark);
        assert!(of(VERSION + 1, &more).is_err());
    }
}
