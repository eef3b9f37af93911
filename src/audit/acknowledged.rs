//! How far the log had been acknowledged, kept when its writer found that the log does not hold all of that any more.
//!
//! What a log has lost it cannot tell by itself: cut in front of a record it is a shorter log, cut within one it ends as a crash
//! leaves it. While the broker runs, its writer knows better. So that the next start does, the device keeps a small file.
//!
//! | crash after | the next start |
//! |---|---|
//! | acknowledged records are gone | refuses only if somebody else had seen them: a checkpoint, the store, a sink's cursor |
//! | the writer noticed, and the file is kept | refuses, and changes nothing, while the log ends before what the file says |
//! | the records are put back | sees that the log reaches as far, drops the file and goes on |
//! | the file is dropped | goes on |
//!
//! The running writer drops it as well, once it goes on from a segment that was put back. Where a rollback is accepted
//! instead, the log becomes another one first, then what was issued is cut off, and only then the file goes: until then it is
//! of another log than the one that is there, and a start is refused as before.
//!
//! The file is written as well as can be: on a full disk, or where the whole folder is gone, it may not be. That is told with
//! the log's state, and tried again whenever the log is. The one way past it is then to end the broker before there is room
//! again, where nothing else had seen the records.
//!
//! [`super::verify()`] reads the file as a start does.

use super::device::Device;
use crate::store::LogId;
use serde::{Deserialize, Serialize};
use std::io;

/// What the file's `cambist` field says.
const KIND: &str = "acknowledged";
const VERSION: u8 = 1;

/// How many records of which log were acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) log: LogId,
    pub(super) records: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    cambist: String,
    version: u8,
    log: LogId,
    records: u64,
}

/// Why a log is known not to hold all that was acknowledged.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Lack {
    /// It ends too early.
    #[error("the log ends at {log} records, and {acknowledged} had been acknowledged")]
    Behind {
        /// Records there are.
        log: u64,
        /// Records that were acknowledged.
        acknowledged: u64,
    },
    /// It is not the log of which that is known.
    #[error(
        "a log lost records that had been acknowledged, as the file `acknowledged` says, and another log is in its place"
    )]
    Other,
    /// What is known cannot be read.
    #[error("the file `acknowledged` cannot be read: it is damaged, or of a later version")]
    Unreadable,
}

impl Acknowledged {
    pub(super) fn encode(self) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(&Kept {
            cambist: KIND.to_owned(),
            version: VERSION,
            log: self.log,
            records: self.records,
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(bytes).ok()?;
        let known = kept.cambist == KIND && kept.version == VERSION;
        known.then_some(Self {
            log: kept.log,
            records: kept.records,
        })
    }
}

/// What a log lacks by what was kept. `there` is which log it is and how many records it holds; none where there is no log.
pub(super) fn lack(kept: &[u8], there: Option<Acknowledged>) -> Option<Lack> {
    let Some(kept) = Acknowledged::decode(kept) else {
        return Some(Lack::Unreadable);
    };
    match there {
        Some(there) if there.log != kept.log => Some(Lack::Other),
        Some(there) if there.records >= kept.records => None,
        there => Some(Lack::Behind {
            log: there.map_or(0, |there| there.records),
            acknowledged: kept.records,
        }),
    }
}

/// The writer's part: keeps the file while records are missing.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// It stands.
    kept: bool,
    /// By this writer, which may drop it then.
    ours: bool,
}

impl Keeping {
    /// Keeps that so much was acknowledged, unless it is known already.
    pub(super) fn keep(
        &mut self,
        device: &dyn Device,
        acknowledged: Acknowledged,
    ) -> io::Result<()> {
        if self.kept {
            return Ok(());
        }
        let stands = device.acknowledged()?;
        // What a start was told to accept stands until whoever accepted it is through.
        let known = stands.is_some_and(|stands| {
            Acknowledged::decode(&stands).is_none_or(|stands| {
                stands.log != acknowledged.log || stands.records >= acknowledged.records
            })
        });
        if !known {
            device.keep_acknowledged(&acknowledged.encode()?)?;
        }
        (self.kept, self.ours) = (true, !known);
        Ok(())
    }

    /// Nothing is missing any more.
    pub(super) fn drop_it(&mut self, device: &dyn Device) {
        if std::mem::take(self).ours {
            // One that stays says nothing that the log does not hold; the next start drops it.
            let _ = device.forget_acknowledged();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId(7);

    fn of(log: LogId, records: u64) -> Acknowledged {
        Acknowledged { log, records }
    }

    #[test]
    fn its_bytes_are_these() {
        let bytes = of(LOG, 42).encode().unwrap();
        let log = String::from(LOG);
        let text = format!(
            "{{\"cambist\":\"acknowledged\",\"version\":1,\"log\":\"{log}\",\"records\":42}}\n"
        );
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), text);
        assert_eq!(Acknowledged::decode(&bytes), Some(of(LOG, 42)));
    }

    #[test]
    fn a_log_lacks_what_it_does_not_reach_and_what_cannot_be_read() {
        let kept = of(LOG, 42).encode().unwrap();
        let behind = |log| {
            let acknowledged = 42;
            Some(Lack::Behind { log, acknowledged })
        };
        assert_eq!(lack(&kept, Some(of(LOG, 41))), behind(41));
        assert_eq!(lack(&kept, None), behind(0));
        for enough in [42, 43] {
            assert_eq!(lack(&kept, Some(of(LOG, enough))), None);
        }
        assert_eq!(lack(&kept, Some(of(LogId(8), 43))), Some(Lack::Other));
        let text = String::from_utf8(kept).unwrap();
        for other in [
            text.replace(":1,", ":2,"),
            text.replace("acknowledged\"", "log\""),
            text.replace("records", "more"),
            String::new(),
        ] {
            let unread = lack(other.as_bytes(), Some(of(LOG, 43)));
            assert_eq!(unread, Some(Lack::Unreadable), "{other}");
        }
    }
}
