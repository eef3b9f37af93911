//! The tenants of audiences that were, for as long as tokens from then may be alive.
//!
//! Who serves audiences of a tenant alone is not told what is revoked of others (`revocation/partition.rs`), because no token
//! of others is for these. An audience of the same name that was another tenant's, or that all shared, may have left some.
//! So what each was is stored, from its removal on and, of one that comes from configuration, all along; and nobody gets
//! its name for a tenant that it was not of until none of them can be alive. What of this is lost when a backup is put back,
//! nobody needs for as long (`parting.rs`).

use super::change::{Changes, too_large, unread};
use crate::id::{Audience, Tenant};
use crate::inventory::{AudienceSpec, FORMER_PREFIX};
use crate::limits;
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::{Batch, Entry, Key, Store, TooLarge, Value, load_all};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What one was.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Former {
    version: u8,
    tenant: Option<Tenant>,
    /// Who served it: they are told what is revoked of it until then, if they serve any other.
    #[serde(default)]
    servers: Vec<String>,
    /// When nothing from then can be alive any more; the end of time where it still is in the configuration.
    until: Timestamp,
}

impl Former {
    fn of(spec: &AudienceSpec, until: Timestamp) -> Self {
        Self {
            version: 1,
            tenant: spec.tenant.clone(),
            servers: spec.servers.clone(),
            until,
        }
    }

    fn read(entry: &Entry) -> Result<Self, Denial> {
        let read = serde_json::from_slice::<Self>(entry.value.as_bytes());
        let read = read.ok().filter(|former| former.version == 1);
        read.ok_or_else(|| {
            let cause = format!(
                "`{}` is of a form that this broker does not read",
                entry.key
            );
            Denial::failed(Fault::StoreUnavailable, cause)
        })
    }

    fn value(&self) -> Result<Value, TooLarge> {
        Value::new(serde_json::to_vec(self).map_err(|_| TooLarge)?)
    }

    /// Whether an audience may be what it is to be, after this.
    fn admits(&self, spec: &AudienceSpec, now: Timestamp) -> Result<(), Refusal> {
        if self.until <= now || spec.tenant.is_none() || spec.tenant == self.tenant {
            return Ok(());
        }
        let name = &spec.name;
        let was = match &self.tenant {
            Some(tenant) => format!("`{name}` was of tenant `{tenant}`"),
            None => format!("`{name}` was shared by all"),
        };
        let until = match self.until == Timestamp::MAX {
            true => "for a day and five minutes after it is removed".to_owned(),
            false => format!("until {:.0}", self.until),
        };
        let cause =
            format!("tenant: {was}, and tokens from then may be alive {until}: take another name");
        Err(Refusal::new(Code::Conflict, cause))
    }
}

/// When nothing can be alive any more that is issued up to `now`.
pub(super) fn end(now: Timestamp) -> Timestamp {
    let life = limits::LONGEST_LIFETIME.saturating_add(limits::VERIFIER_LEEWAY);
    now.saturating_add(life).unwrap_or(Timestamp::MAX)
}

/// Adds to the removal of an audience what it was.
pub(super) fn removed(
    batch: Batch,
    spec: &AudienceSpec,
    now: Timestamp,
) -> Result<Batch, TooLarge> {
    batch.put(key(&spec.name)?, Former::of(spec, end(now)).value()?)
}

/// Whether an audience may be registered that is not there.
///
/// # Errors
/// [`Code::Conflict`]; a failure when the store does not answer.
pub(super) async fn check(
    store: &dyn Store,
    spec: &AudienceSpec,
    now: Timestamp,
) -> Result<(), Denial> {
    let entry = store.read(&key(&spec.name).map_err(too_large)?).await;
    match entry.map_err(unread)? {
        Some(entry) => Ok(Former::read(&entry)?.admits(spec, now)?),
        None => Ok(()),
    }
}

impl Changes {
    /// Removes what is stored of audiences that were, once no token from then can be alive. `now` is the time guard's.
    ///
    /// # Errors
    /// When the store does not answer, or an entry was changed meanwhile; what is left goes the next time.
    pub async fn forget_former(&self, now: Timestamp) -> Result<(), Denial> {
        self.forget(FORMER_PREFIX, counts, now).await
    }
}

/// Whether an entry still says anything.
fn counts(entry: &Entry, now: Timestamp) -> bool {
    Former::read(entry).map_or(true, |former| former.until > now)
}

/// Holds what is configured against what was, and stores it. Before anything is issued.
///
/// # Errors
/// [`Code::Conflict`] where one was another tenant's; a failure when the store does not answer.
pub async fn keep_tenants(
    store: &dyn Store,
    configured: &[AudienceSpec],
    now: Timestamp,
) -> Result<(), Denial> {
    let mut new: Vec<_> = configured
        .iter()
        .map(|spec| (spec.name.clone(), Former::of(spec, Timestamp::MAX)))
        .collect();
    for entry in load_all(store, FORMER_PREFIX).await.map_err(unread)? {
        let mut former = Former::read(&entry)?;
        let name = entry
            .key
            .as_str()
            .strip_prefix(FORMER_PREFIX)
            .unwrap_or_default();
        match configured.iter().find(|spec| spec.name.as_str() == name) {
            Some(spec) => {
                former.admits(spec, now)?;
                new.retain(|(name, new)| *name != spec.name || *new != former);
            }
            None if former.until == Timestamp::MAX => {
                former.until = end(now);
                let name = Audience::parse(name);
                new.extend(name.map(|name| (name, former)));
            }
            None => {}
        }
    }
    for some in new.chunks(limits::STORE_BATCH_BYTES / (2 * limits::AUDIENCE_SPEC)) {
        let batch = some.iter().try_fold(Batch::new(), |batch, (name, former)| {
            batch.put(key(name)?, former.value()?)
        });
        // Also on a full disk: who cannot start cannot revoke.
        let batch = batch.map_err(too_large)?.reserved();
        let committed = store.commit(batch).await;
        committed.map_err(|error| Denial::failed(Fault::StoreUnavailable, error.to_string()))?;
    }
    Ok(())
}

/// Names are bounded so that they fit into a store key.
fn key(name: &Audience) -> Result<Key, TooLarge> {
    Key::new(&format!("{FORMER_PREFIX}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandomness;
    use crate::clock::testing::TestClock;
    use crate::store::embedded::EmbeddedStore;

    fn spec(tenant: Option<&str>) -> AudienceSpec {
        let json = serde_json::json!({ "name": "shop", "owner": "team", "tenant": tenant });
        serde_json::from_value(json).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn open(folder: &std::path::Path) -> EmbeddedStore {
        let (clock, random) = (TestClock::at(1_000), SystemRandomness::shared());
        EmbeddedStore::open(&folder.join("store.db"), clock, random).unwrap()
    }

    const LIFE: i64 = 24 * 60 * 60 + 5 * 60;

    #[tokio::test]
    async fn a_name_is_not_anothers_until_nothing_from_then_can_be_alive() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let (a, b, shared) = (spec(Some("a")), spec(Some("b")), spec(None));
        check(&store, &b, at(1_000)).await.unwrap();
        for (was, may) in [(&a, [&a, &shared]), (&shared, [&shared, &shared])] {
            let batch = removed(Batch::new(), was, at(1_000)).unwrap();
            store.commit(batch).await.unwrap();
            for spec in may {
                check(&store, spec, at(1_000)).await.unwrap();
            }
            let told = check(&store, &b, at(1_000 + LIFE - 1)).await.unwrap_err();
            assert_eq!(told.code(), Code::Conflict.code());
            check(&store, &b, at(1_000 + LIFE)).await.unwrap();
            let entry = &load_all(&store, FORMER_PREFIX).await.unwrap()[0];
            assert!(counts(entry, at(1_000 + LIFE - 1)) && !counts(entry, at(1_000 + LIFE)));
        }
        store.close().await;
    }

    #[tokio::test]
    async fn what_is_configured_is_held_against_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let keep =
            async |specs: &[AudienceSpec], second| keep_tenants(&store, specs, at(second)).await;
        let (a, b) = ([spec(Some("a"))], [spec(Some("b"))]);
        keep(&a, 1_000).await.unwrap();
        keep(&a, 2_000).await.unwrap();
        // However long it has been there.
        keep(&b, 2_000 + 10 * LIFE).await.unwrap_err();
        // One from the store would be another's as well.
        check(&store, &b[0], at(2_000)).await.unwrap_err();
        keep(&[], 3_000).await.unwrap();
        keep(&[], 4_000).await.unwrap();
        keep(&b, 3_000 + LIFE - 1).await.unwrap_err();
        keep(&b, 3_000 + LIFE).await.unwrap();
        keep(&[spec(None)], 3_000 + LIFE).await.unwrap();
        keep(&b, 3_000 + LIFE).await.unwrap_err();
        assert_eq!(load_all(&store, FORMER_PREFIX).await.unwrap().len(), 1);
        store.close().await;
    }
}
