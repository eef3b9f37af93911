//! Checkpoints on the record: so they go wherever records go, in order and at least once, and whoever keeps what a sink was
//! sent keeps checkpoints that the host cannot take back.

use super::issued::Receipt;
use super::log::Log;
use super::publisher::Published;
use super::record::{Act, ActKind, CHECKPOINT};
use crate::limits;
use crate::refusal::Denial;
use serde_json::json;
use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

/// Records the last checkpoint now and then.
///
/// Each says what the log held before it; that the log grows by these records themselves is no news, so that an idle log
/// stays as it is.
#[derive(Debug)]
pub struct Herald {
    /// When the last one was recorded, by the monotonic clock.
    at: Duration,
    /// How many records it was of.
    size: u64,
}

impl Herald {
    /// Begins at `now` with a log of which nothing was told that is beyond `size` records.
    #[must_use]
    pub const fn new(now: Duration, size: u64) -> Self {
        Self { at: now, size }
    }

    /// Records `last` if there is news in it, and the one before was recorded [`limits::LOG_CHECKPOINT_RECORDS`] ago.
    /// Where it cannot be recorded, the next call tries again.
    pub async fn tell(&mut self, last: &Published, log: &Log, now: Duration) {
        let size = last.checkpoint.size;
        if self.is_due(size, now) && record(last, log).await.is_ok() {
            *self = Self::new(now, size);
        }
    }

    fn is_due(&self, size: u64, now: Duration) -> bool {
        // The one that told of the last checkpoint.
        let news = size.saturating_sub(self.size).saturating_sub(1);
        news > 0 && now.saturating_sub(self.at) >= limits::LOG_CHECKPOINT_RECORDS
    }
}

/// Records a checkpoint of the log in itself.
///
/// # Errors
/// The future answers a fault when the record is not durable.
pub fn record(
    last: &Published,
    log: &Log,
) -> impl Future<Output = Result<Receipt, Denial>> + Send + use<> {
    let size = last.checkpoint.size;
    let change = json!({ "size": size, "note": noted(&last.note) }).to_string();
    log.event(&Act {
        target: Some(&format!("checkpoint:{size}")),
        change: Some(&change),
        ..Act::new(ActKind::Checkpoint, CHECKPOINT)
    })
}

/// The note; without the witnesses where it would not fit into a record.
fn noted(note: &str) -> Cow<'_, str> {
    if note.len() <= limits::RECORD / 2 {
        return note.into();
    }
    // The log signs first.
    let own = note.split_once("\n\n").and_then(|(text, signatures)| {
        let (first, _) = signatures.split_once('\n')?;
        Some(format!("{text}\n\n{first}\n"))
    });
    own.map_or(note.into(), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Checkpoint;
    use crate::audit::testing::{Memory, context, minted, open};
    use crate::audit::tree::Hash;

    fn published(size: u64, note: &str) -> Published {
        Published {
            checkpoint: Checkpoint {
                origin: "log.example/1".to_owned(),
                size,
                root: Hash::new([7; 32]),
            },
            note: note.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_checkpoint_is_told_at_its_interval_and_not_before_and_an_idle_log_does_not_grow() {
        let device = Memory::new();
        let opened = open(&device);
        let told = || device.records().len();
        let mut herald = Herald::new(Duration::ZERO, 0);
        let pace = limits::LOG_CHECKPOINT_RECORDS;
        let early = pace.saturating_sub(Duration::from_nanos(1));
        herald.tell(&published(5, "n"), &opened.log, early).await;
        assert_eq!(told(), 0, "n - 1");
        herald.tell(&published(5, "n"), &opened.log, pace).await;
        assert_eq!(told(), 1);
        // Five, and the record of it.
        for round in 2..5 {
            let now = pace.saturating_mul(round);
            herald.tell(&published(6, "n"), &opened.log, now).await;
            assert_eq!(told(), 1, "nothing but itself is new");
        }
        let later = pace.saturating_mul(5);
        herald.tell(&published(7, "n"), &opened.log, later).await;
        herald.tell(&published(99, "n"), &opened.log, later).await;
        assert_eq!(told(), 2, "once, whatever comes meanwhile");
        let record = device.records().pop().unwrap();
        assert_eq!(record["kind"], "checkpoint");
        assert_eq!(record["action"], "log.checkpoint");
        assert_eq!(record["target"], "checkpoint:7");
        assert_eq!(record["change"], json!({ "size": 7, "note": "n" }));
    }

    #[tokio::test]
    async fn what_could_not_be_recorded_is_told_by_the_next_call() {
        let device = Memory::new();
        let opened = open(&device);
        let mut herald = Herald::new(Duration::ZERO, 0);
        let now = limits::LOG_CHECKPOINT_RECORDS;
        device.break_down(crate::audit::testing::Step::Append);
        herald.tell(&published(5, "n"), &opened.log, now).await;
        device.mend();
        crate::audit::testing::until(&opened.log, |health| {
            *health == crate::audit::LogHealth::Writing
        })
        .await;
        opened.log.issue(minted(1), &context()).await.unwrap();
        herald.tell(&published(5, "n"), &opened.log, now).await;
        let kinds: Vec<_> = device.records().iter().map(|r| r["kind"].clone()).collect();
        assert_eq!(kinds, ["gap", "issue", "checkpoint"]);
    }

    /// As large as a note may be at all, it is recorded with what the log itself signed.
    #[tokio::test]
    async fn the_largest_note_fits_at_n_and_n_plus_one() {
        let text = "log.example/1\n5\nBwc=\n\n";
        let own = "\u{2014} log.example/1 AAAA\n";
        let of = |length: usize| {
            let rest = length - text.len() - own.len();
            format!("{text}{own}\u{2014} w {}\n", "A".repeat(rest - 7))
        };
        for (length, whole) in [
            (limits::RECORD / 2, true),
            (limits::RECORD / 2 + 1, false),
            (limits::NOTE, false),
        ] {
            let note = of(length);
            assert_eq!(note.len(), length);
            let device = Memory::new();
            let opened = open(&device);
            record(&published(5, &note), &opened.log).await.unwrap();
            let expected = if whole { note } else { format!("{text}{own}") };
            assert_eq!(device.records()[0]["change"]["note"], expected);
        }
    }
}
