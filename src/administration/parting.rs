//! From when on tenants part the feed, where the data was put back.
//!
//! What audiences were since a backup was taken is lost with what it replaces: one that became shared is a tenant's again,
//! somebody who came to serve one serves it no longer, and one that was removed may never have been, or its name be given
//! to a tenant. Tokens from then may be alive, and whoever is shown them has to be told what is revoked, of whichever tenant.
//! So from the first start with such data on, everybody is told everything until none of those tokens can be alive.
//!
//! That data was put back shows in its incarnation, which is not the one that it began with: a copy begins another one when
//! it is opened, and whatever is behind the log when it is recovered. When each first started is stored with it, so that the
//! time runs on over further starts, and anew for what is put back once more.

use super::change::{too_large, unread};
use super::former::end;
use crate::refusal::{Denial, Fault};
use crate::store::recovery::Lineage;
use crate::store::{Batch, Entry, Key, Revision, Store, TooLarge, Value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Key of what is stored of it.
const PARTING: &str = "meta/parting";

#[derive(Debug, Serialize, Deserialize)]
struct Parting {
    version: u8,
    /// The revision at the first start.
    started: String,
    from: Timestamp,
}

impl Parting {
    /// What is stored of the incarnation that the data is of. Of another one it says nothing, nor in another form.
    fn read(entry: &Entry, lineage: &Lineage) -> Option<Self> {
        let read = serde_json::from_slice::<Self>(entry.value.as_bytes()).ok();
        let read = read.filter(|parting| parting.version == 1)?;
        let started = read.started.parse::<Revision>().ok()?;
        (started.incarnation == lineage.revision.incarnation).then_some(read)
    }

    fn batch(&self) -> Result<Batch, TooLarge> {
        let value = Value::new(serde_json::to_vec(self).map_err(|_| TooLarge)?)?;
        Batch::new().put(Key::new(PARTING)?, value)
    }
}

/// From when on tenants part the feed of this data: all along where it goes on as it began. Settled at the first start of
/// an incarnation, which is `now`.
///
/// # Errors
/// A failure when the store does not answer, or takes no more.
pub async fn parted_from(
    store: &dyn Store,
    lineage: &Lineage,
    now: Timestamp,
) -> Result<Timestamp, Denial> {
    if lineage.ancestors.is_empty() {
        return Ok(Timestamp::MIN);
    }
    let key = Key::new(PARTING).map_err(too_large)?;
    let entry = store.read(&key).await.map_err(unread)?;
    if let Some(known) = entry.and_then(|entry| Parting::read(&entry, lineage)) {
        return Ok(known.from);
    }
    let parting = Parting {
        version: 1,
        started: lineage.revision.to_string(),
        from: end(now),
    };
    // Also on a full disk: who cannot start cannot revoke.
    let batch = parting.batch().map_err(too_large)?.reserved();
    let committed = store.commit(batch).await;
    committed.map_err(|error| Denial::failed(Fault::StoreUnavailable, error.to_string()))?;
    tracing::warn!(
        until = %parting.from,
        "the data was put back: whoever watches revocations is told those of all tenants"
    );
    Ok(parting.from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandomness;
    use crate::clock::testing::TestClock;
    use crate::store::embedded::EmbeddedStore;

    const LIFE: i64 = 24 * 60 * 60 + 5 * 60;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn what_was_put_back_is_parted_once_nothing_from_before_can_be_alive() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, random) = (TestClock::at(1_000), SystemRandomness::shared());
        let path = folder.path().join("store.db");
        let store = EmbeddedStore::open(&path, clock, random).unwrap();
        let from = async |now| {
            let lineage = store.lineage().await.unwrap();
            parted_from(&store, &lineage, at(now)).await.unwrap()
        };
        assert_eq!(from(1_000).await, Timestamp::MIN);
        store.renew().await.unwrap();
        // However often it is started, from the first time on.
        for now in [2_000, 3_000, 2_000 + 2 * LIFE] {
            assert_eq!(from(now).await, at(2_000 + LIFE));
        }
        store.renew().await.unwrap();
        for now in [4_000, 5_000] {
            assert_eq!(from(now).await, at(4_000 + LIFE));
        }
        // What is stored in another form says nothing.
        let other = Value::new(*b"{}").unwrap();
        let batch = Batch::new().put(Key::new(PARTING).unwrap(), other).unwrap();
        store.commit(batch).await.unwrap();
        assert_eq!(from(6_000).await, at(6_000 + LIFE));
        store.close().await;
    }
}
