//! How far a sink is.

use super::SinkName;
use crate::store::LogId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// Version of the file's format.
const VERSION: u8 = 1;

/// The next record that a sink has not delivered, and the log that it is one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The log.
    pub log: LogId,
    /// Its sequence.
    pub next: u64,
}

/// Where cursors are kept, by the names of their sinks.
pub trait Cursors: fmt::Debug + Send + Sync {
    /// What was kept last; none where nothing was.
    ///
    /// # Errors
    /// When that cannot be told.
    fn load(&self, name: &SinkName) -> io::Result<Option<Vec<u8>>>;

    /// Keeps it, durably and as a whole, in the place of what was there.
    ///
    /// # Errors
    /// When it may not be kept.
    fn keep(&self, name: &SinkName, bytes: &[u8]) -> io::Result<()>;
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    v: u8,
    log: String,
    next: u64,
}

impl Cursor {
    /// The file's bytes.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let kept = Kept {
            v: VERSION,
            log: self.log.into(),
            next: self.next,
        };
        let mut bytes = serde_json::to_vec(&kept)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads them back; none when they are not a cursor of this version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(bytes).ok()?;
        let log = LogId::try_from(kept.log).ok()?;
        (kept.v == VERSION).then_some(Self {
            log,
            next: kept.next,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn its_bytes_are_these() {
        let cursor = Cursor {
            log: LogId(7),
            next: 42,
        };
        let bytes = cursor.encode().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let log = String::from(LogId(7));
        assert_eq!(text, format!("{{\"v\":1,\"log\":\"{log}\",\"next\":42}}\n"));
        assert_eq!(Cursor::decode(&bytes), Some(cursor));
        let later = text.replace("\"v\":1", "\"v\":2");
        assert_eq!(Cursor::decode(later.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_back_and_nothing_else_panics(log: u128, next: u64, cut in 0_usize..80, noise in prop::collection::vec(any::<u8>(), 0..80)) {
            let cursor = Cursor { log: LogId(log), next };
            let bytes = cursor.encode().unwrap();
            prop_assert_eq!(Cursor::decode(&bytes), Some(cursor));
            // A torn file is none, but for its line break.
            let torn = bytes.get(..cut.min(bytes.len() - 2)).unwrap();
            prop_assert_eq!(Cursor::decode(torn), None);
            let _ = Cursor::decode(&noise);
        }
    }
}
