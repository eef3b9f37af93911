//! Committing a ring's changes to the store.

use super::ring::{Change, NotYet, UnknownMember};
use super::stored::{HEAD, Head, PREFIX, StoredKey, entry_id, entry_key};
use super::{Kek, KeyFault, KeyRing, Life, Ring, SigningAlgorithm, SigningKey, Timing};
use crate::clock::Random;
use crate::id::KeyId;
use crate::jose::from_slice;
use crate::store::{
    Batch, CommitError, Expect, Key, Op, Revision, Store, StoreFault, Timed, TooLarge, Value,
    load_all,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Writes the audit record of a change, which is committed with it. An empty one means that none could be made: nothing is
/// changed then.
pub type Recorder<'a> = &'a (dyn Fn(&[Change]) -> Arc<[u8]> + Send + Sync);

/// How often a change is tried again when somebody else's came first.
const ATTEMPTS: usize = 8;

/// Changes rings. Knows no time of its own: each call is told `now`, as the clock guard allows it.
#[derive(Clone, Debug)]
pub struct Rotation {
    store: Arc<dyn Store>,
    kek: Arc<Kek>,
    random: Arc<dyn Random>,
    algorithm: SigningAlgorithm,
    timing: Timing,
}

/// Why a ring was not changed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RotationError {
    /// It is too early.
    #[error(transparent)]
    NotYet(#[from] NotYet),
    /// There is no such key.
    #[error(transparent)]
    UnknownKey(#[from] UnknownMember),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The store did not take the change, or others kept coming first.
    #[error("the change was not stored: {0}")]
    Refused(String),
    /// It may or may not have happened.
    #[error("whether the change was stored is not known: {0}")]
    Unknown(String),
    /// What is stored cannot be read.
    #[error("{0}")]
    Malformed(String),
}

impl From<TooLarge> for RotationError {
    fn from(error: TooLarge) -> Self {
        Self::Refused(error.to_string())
    }
}

/// What is asked of the ring besides settling.
#[derive(Clone, Debug)]
enum Wish {
    Settle,
    Rotate,
    Compromise(KeyId),
}

/// The ring as the store has it.
#[derive(Clone, Debug, Default)]
struct Stored {
    head: Option<(u64, Head)>,
    keys: BTreeMap<KeyId, StoredKey>,
}

/// A change that is ready to be committed.
struct Prepared {
    changes: Vec<Change>,
    values: BTreeMap<KeyId, StoredKey>,
}

impl Rotation {
    /// Changes the ring in `store`, which is waited for as [`Timed`] does; new keys are of `algorithm`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        kek: Arc<Kek>,
        random: Arc<dyn Random>,
        algorithm: SigningAlgorithm,
        timing: Timing,
    ) -> Self {
        Self {
            store: Arc::new(Timed::new(store)),
            kek,
            random,
            algorithm,
            timing,
        }
    }

    /// Sees at start that the ring has a key that signs and a spare. `None` when nothing had to change.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn ensure(
        &self,
        now: Timestamp,
        record: Recorder<'_>,
    ) -> Result<Option<Revision>, RotationError> {
        self.change(&Wish::Settle, now, &[], record).await
    }

    /// What is due by age. Looks at the store only when `ring`, which follows it, says that something is.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn tick(
        &self,
        ring: &KeyRing,
        now: Timestamp,
        record: Recorder<'_>,
    ) -> Result<Option<Revision>, RotationError> {
        let before = ring.ring();
        let mut after = before.clone();
        // Keys need not exist to tell whether one would be made.
        let missing = after.settle(now, &self.timing, self.algorithm, || Err(()));
        if missing.is_ok() && after == before {
            return Ok(None);
        }
        self.change(&Wish::Settle, now, &[], record).await
    }

    /// Lets the spare take over now. `with` is committed in the same transaction.
    ///
    /// # Errors
    /// [`RotationError::NotYet`] while the spare is not published long enough.
    pub async fn rotate_now(
        &self,
        now: Timestamp,
        with: &[Op],
        record: Recorder<'_>,
    ) -> Result<Option<Revision>, RotationError> {
        self.change(&Wish::Rotate, now, with, record).await
    }

    /// Takes a key out of publication; the spare takes over at once. `None` when it was taken out before. Nothing else is done
    /// that is due by age, so that `now` need not be trusted. `with` is committed in the same transaction: the marker on the
    /// key's id. The store's reserve may be used.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn compromise(
        &self,
        key: &KeyId,
        now: Timestamp,
        with: &[Op],
        record: Recorder<'_>,
    ) -> Result<Option<Revision>, RotationError> {
        self.change(&Wish::Compromise(key.clone()), now, with, record)
            .await
    }

    async fn change(
        &self,
        wish: &Wish,
        now: Timestamp,
        with: &[Op],
        record: Recorder<'_>,
    ) -> Result<Option<Revision>, RotationError> {
        for _ in 0..ATTEMPTS {
            let stored = self.load().await?;
            let (this, head, wish) = (self.clone(), stored.head, wish.clone());
            let reserved = matches!(wish, Wish::Compromise(_));
            // Making an RSA key takes long enough to hold up everything else on this thread.
            let prepared = tokio::task::spawn_blocking(move || this.prepare(stored, &wish, now))
                .await
                .map_err(|error| RotationError::Refused(error.to_string()))??;
            if prepared.changes.is_empty() {
                return Ok(None);
            }
            let record = record(&prepared.changes);
            if record.is_empty() {
                return Err(RotationError::Refused("no record could be made".to_owned()));
            }
            let mut batch = batch(head, &prepared)?.record(record)?;
            for op in with {
                batch = match op.clone() {
                    Op::Put(key, value) => batch.put(key, value)?,
                    Op::Delete(key) => batch.delete(key)?,
                };
            }
            if reserved {
                batch = batch.reserved();
            }
            match self.store.commit(batch).await {
                Ok(revision) => return Ok(Some(revision)),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Refused(reason)) => return Err(RotationError::Refused(reason)),
                Err(CommitError::Unknown(reason)) => return Err(RotationError::Unknown(reason)),
            }
        }
        Err(RotationError::Refused(
            "others kept changing the ring".to_owned(),
        ))
    }

    async fn load(&self) -> Result<Stored, RotationError> {
        let mut stored = Stored::default();
        for entry in load_all(&*self.store, PREFIX).await? {
            match entry_id(&entry.key).map_err(RotationError::Malformed)? {
                Some(id) => {
                    let key =
                        StoredKey::read(&id, &entry.value).map_err(RotationError::Malformed)?;
                    stored.keys.insert(id, key);
                }
                None => {
                    let head = from_slice(entry.value.as_bytes())
                        .map_err(|error| RotationError::Malformed(format!("{HEAD}: {error}")))?;
                    stored.head = Some((entry.modified, head));
                }
            }
        }
        Ok(stored)
    }

    fn prepare(
        &self,
        stored: Stored,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Prepared, RotationError> {
        let old = Ring::new(
            stored
                .keys
                .iter()
                .map(|(id, key)| (id.clone(), key.member())),
        );
        let mut ring = old.clone();
        match wish {
            Wish::Settle => {}
            Wish::Rotate => ring.rotate(now, &self.timing)?,
            Wish::Compromise(id) => ring.compromise(id, now)?,
        }
        let mut made = BTreeMap::new();
        let fresh = || {
            let key = SigningKey::generate(self.algorithm)?;
            let id = key.id().clone();
            made.insert(id.clone(), key);
            Ok::<_, KeyFault>(id)
        };
        match wish {
            Wish::Settle | Wish::Rotate => ring.settle(now, &self.timing, self.algorithm, fresh)?,
            Wish::Compromise(_) => ring.mend(now, &self.timing, self.algorithm, fresh)?,
        }
        let changes = ring.changes_since(&old);
        let mut values = BTreeMap::new();
        for change in &changes {
            let Some(member) = change.member else {
                continue;
            };
            let value = match (made.get(&change.id), stored.keys.get(&change.id)) {
                (Some(key), _) => StoredKey::seal(key, member, &self.kek, &*self.random)
                    .map_err(RotationError::Refused)?,
                (None, Some(before)) => before.moved(member),
                (None, None) => {
                    return Err(RotationError::Refused("a key came from nowhere".to_owned()));
                }
            };
            values.insert(change.id.clone(), value);
        }
        Ok(Prepared { changes, values })
    }
}

fn is_compromised(change: &Change) -> bool {
    let life = change.member.map(|member| member.life);
    matches!(life, Some(Life::Compromised { .. }))
}

fn batch(head: Option<(u64, Head)>, prepared: &Prepared) -> Result<Batch, TooLarge> {
    let key = Key::new(HEAD)?;
    let (expect, before) = match head {
        Some((modified, head)) => (Expect::Unmodified(modified), head),
        None => (Expect::Absent, Head::default()),
    };
    let head = Head {
        version: 1,
        changes: before.changes.saturating_add(1),
    };
    let head = Value::new(serde_json::to_vec(&head).map_err(|_| TooLarge)?)?;
    let mut batch = Batch::new().expect(key.clone(), expect)?.put(key, head)?;
    for change in &prepared.changes {
        let key = entry_key(&change.id)?;
        batch = match prepared.values.get(&change.id) {
            // A revocation: must survive even an old backup that is put back, in which the key still signs.
            Some(value) if is_compromised(change) => batch.put_lasting(key, value.value()?)?,
            Some(value) => batch.put(key, value.value()?)?,
            None => batch.delete(key)?,
        };
    }
    Ok(batch)
}
