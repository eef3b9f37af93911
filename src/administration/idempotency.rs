//! Repeats of a write: recognised by its caller's name for it, and answered like the first.

use super::change::{Author, Changes, Precondition, too_large, unread};
use crate::id::IdempotencyKey;
use crate::limits;
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::{Batch, Entry, Expect, Key, Op, TooLarge, Value, load_all};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// Store prefix of idempotency entries.
pub(super) const IDEMPOTENCY_PREFIX: &str = "idempotency/";

/// What an idempotency entry holds: what the first call did to what, which thing came of it, and until when that is
/// remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    version: u8,
    action: String,
    /// What the call named; empty where it made something new.
    named: String,
    thing: String,
    until: Timestamp,
}

impl Changes {
    /// What came of an earlier call of this author with the same idempotency key, once it is in force. `named` is what
    /// the call changes, empty where it makes something new.
    ///
    /// # Errors
    /// [`Code::Conflict`] when the earlier call did something else, or did it to another thing; a failure when the store
    /// does not answer.
    pub async fn repeated(
        &self,
        action: &str,
        named: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Option<String>, Denial> {
        let Some(name) = &on.idempotency_key else {
            return Ok(None);
        };
        let key = idempotency_key(author, name).map_err(too_large)?;
        let Some(entry) = self.store().read(&key).await.map_err(unread)? else {
            return Ok(None);
        };
        let remembered: Option<Remembered> = serde_json::from_slice(entry.value.as_bytes()).ok();
        let now = self.wall();
        let Some(earlier) = remembered.filter(|remembered| remembered.until > now) else {
            return Ok(None);
        };
        if (&*earlier.action, &*earlier.named) != (action, named) {
            let (action, named) = (earlier.action, earlier.named);
            let cause = format!("the idempotency key was used for `{action} {named}`");
            return Err(Refusal::new(Code::Conflict, cause).into());
        }
        // The earlier call may still be waiting for it, and both are answered alike.
        self.all_in_force().await?;
        Ok(Some(earlier.thing))
    }

    /// What makes a later call with the same idempotency key a repeat; to be committed with the change.
    ///
    /// # Errors
    /// [`Denial::Failed`] when it cannot be encoded.
    pub fn remembering(
        &self,
        action: &str,
        named: &str,
        author: &Author,
        on: &Precondition,
        thing: &str,
    ) -> Result<Vec<Op>, Denial> {
        let Some(name) = &on.idempotency_key else {
            return Ok(Vec::new());
        };
        let until = self
            .wall()
            .saturating_add(limits::IDEMPOTENCY_LIFE)
            .unwrap_or(Timestamp::MAX);
        let remembered = Remembered {
            version: 2,
            action: action.to_owned(),
            named: named.to_owned(),
            thing: thing.to_owned(),
            until,
        };
        let value = serde_json::to_vec(&remembered).map_err(|_| too_large(TooLarge))?;
        let value = Value::new(value).map_err(too_large)?;
        let key = idempotency_key(author, name).map_err(too_large)?;
        Ok(vec![Op::Put(key, value)])
    }

    /// Removes the entries that no longer count. `now` is the time guard's: expiry is told by a clock that can be trusted, or
    /// not at all.
    ///
    /// # Errors
    /// When the store does not answer, or an entry was renewed meanwhile; what is left goes the next time.
    pub async fn forget_lapsed(&self, now: Timestamp) -> Result<(), Denial> {
        self.forget(IDEMPOTENCY_PREFIX, counts, now).await
    }

    /// Removes what of `prefix` no longer `counts`.
    pub(super) async fn forget(
        &self,
        prefix: &str,
        counts: fn(&Entry, Timestamp) -> bool,
        now: Timestamp,
    ) -> Result<(), Denial> {
        let failed = |cause: String| Denial::failed(Fault::StoreUnavailable, cause);
        let entries = load_all(self.store(), prefix).await.map_err(unread)?;
        let lapsed: Vec<_> = entries.iter().filter(|entry| !counts(entry, now)).collect();
        // Each takes a compare and a deletion.
        for some in lapsed.chunks(limits::STORE_BATCH / 2) {
            let batch = some.iter().try_fold(Batch::new(), |batch, entry| {
                batch
                    .expect(entry.key.clone(), Expect::Unmodified(entry.modified))?
                    .delete(entry.key.clone())
            });
            let committed = self.store().commit(batch.map_err(too_large)?).await;
            committed.map_err(|error| failed(error.to_string()))?;
        }
        Ok(())
    }

    /// The revision of an idempotency entry that no longer counts; none for one that does, so that a
    /// commit which expects it fails.
    pub(super) async fn lapsed(&self, key: &Key) -> Result<Option<u64>, Denial> {
        let entry = self.store().read(key).await.map_err(unread)?;
        let now = self.wall();
        Ok(entry
            .filter(|entry| !counts(entry, now))
            .map(|entry| entry.modified))
    }
}

/// Whether an entry still makes a call a repeat.
fn counts(entry: &Entry, now: Timestamp) -> bool {
    serde_json::from_slice::<Remembered>(entry.value.as_bytes())
        .is_ok_and(|remembered| remembered.until > now)
}

/// Per author, so that nobody learns of another's calls; hashed, so that any name fits.
pub(super) fn idempotency_key(author: &Author, name: &IdempotencyKey) -> Result<Key, TooLarge> {
    let text = format!("{}\n{name}", author.who);
    let hash = digest(&SHA256, text.as_bytes());
    Key::new(&format!(
        "{IDEMPOTENCY_PREFIX}{}",
        URL_SAFE_NO_PAD.encode(hash)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::administration::Settled;
    use crate::audit::Context;
    use crate::authn::{Administrator, Face};
    use crate::clock::SystemRandomness;
    use crate::clock::guard::TimeGuard;
    use crate::clock::testing::TestClock;
    use crate::store::embedded::EmbeddedStore;
    use crate::store::{Reply, Revision, Store as _};
    use std::sync::Arc;

    #[derive(Debug)]
    struct AtOnce;

    impl Settled for AtOnce {
        fn settles(&self) -> Result<(), Denial> {
            Ok(())
        }

        fn settled(&self, _: Revision) -> Reply<'_, Result<(), Denial>> {
            Box::pin(async { Ok(()) })
        }

        fn reached(&self) -> Option<Revision> {
            None
        }
    }

    fn entry(until: i64) -> Value {
        let until = Timestamp::from_second(until).unwrap();
        let (action, thing) = ("key.create".to_owned(), "k".to_owned());
        let remembered = Remembered {
            version: 2,
            action,
            named: String::new(),
            thing,
            until,
        };
        Value::new(serde_json::to_vec(&remembered).unwrap()).unwrap()
    }

    fn author() -> Author {
        Author {
            who: Administrator::for_test(7).into(),
            context: Context {
                face: Face::Grpc,
                peer: Arc::default(),
                ask: None,
                request: None,
            },
        }
    }

    #[tokio::test]
    async fn a_repeat_is_known_for_its_time_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, random) = (TestClock::at(1000), SystemRandomness::shared());
        let path = folder.path().join("store.db");
        let store = Arc::new(EmbeddedStore::open(&path, clock.clone(), random.clone()).unwrap());
        let guard = Arc::new(TimeGuard::new(clock.clone(), None));
        let changes = Changes::new(store.clone(), Arc::new(AtOnce), guard, random);
        let on = Precondition {
            idempotency_key: Some("job-7".parse().unwrap()),
            expected_revision: None,
        };
        let author = author();
        for op in changes
            .remembering("key.rotate", "a", &author, &on, "b")
            .unwrap()
        {
            let Op::Put(key, value) = op else { panic!() };
            let batch = Batch::new().put(key, value).unwrap();
            store.commit(batch).await.unwrap();
        }
        let repeated = async |action, named| changes.repeated(action, named, &author, &on).await;
        let life = u32::try_from(limits::IDEMPOTENCY_LIFE.as_secs()).unwrap();
        clock.advance(life - 1);
        assert_eq!(
            repeated("key.rotate", "a").await.unwrap().as_deref(),
            Some("b")
        );
        for (action, named) in [("key.rotate", "c"), ("key.revoke", "a")] {
            assert!(repeated(action, named).await.is_err(), "{action} {named}");
        }
        clock.advance(1);
        assert_eq!(repeated("key.rotate", "a").await.unwrap(), None);
        store.close().await;
    }

    #[tokio::test]
    async fn what_no_longer_counts_is_forgotten_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, random) = (TestClock::at(1000), SystemRandomness::shared());
        let path = folder.path().join("store.db");
        let store = Arc::new(EmbeddedStore::open(&path, clock.clone(), random.clone()).unwrap());
        let name = |name: String| Key::new(&format!("{IDEMPOTENCY_PREFIX}{name}")).unwrap();
        // More than one batch removes.
        for i in 0..i64::try_from(limits::STORE_BATCH).unwrap() {
            let batch = Batch::new()
                .put(name(format!("lapsed-{i}")), entry(1000 - i))
                .unwrap();
            store.commit(batch).await.unwrap();
        }
        let counts = Batch::new()
            .put(name("counts".to_owned()), entry(1001))
            .unwrap();
        store.commit(counts).await.unwrap();
        let guard = Arc::new(TimeGuard::new(clock, None));
        let changes = Changes::new(store.clone(), Arc::new(AtOnce), Arc::clone(&guard), random);
        changes.forget_lapsed(guard.now().unwrap()).await.unwrap();
        let left = load_all(&*store, IDEMPOTENCY_PREFIX).await.unwrap();
        let left: Vec<_> = left.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(left, ["idempotency/counts"]);
        store.close().await;
    }
}
