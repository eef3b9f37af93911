//! Administrative acts on keys: each one batch with its record, answered when it is in force.

use super::change::{Author, Changes, Note, Precondition, invalid, too_large, unread};
use super::spend;
use super::{ApiKey, Audiences, KeyEntry, KeySpec, KeyState, Keys, Standing, keys};
use crate::audit::ActKind;
use crate::id::{CredentialId, KeyPublicId};
use crate::limits;
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::secret::{Secret, api_key};
use crate::store::{Batch, Entry, Expect, Key, Revision, TooLarge, Value};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Creates, rotates, suspends, resumes and revokes API keys.
#[derive(Debug)]
pub struct KeyAdmin {
    keys: Arc<Keys>,
    audiences: Arc<Audiences>,
    changes: Arc<Changes>,
    max_life: Duration,
}

/// A key after a write, and its text when it was just made.
#[derive(Debug)]
pub struct Written {
    /// The key as it is now.
    pub key: Arc<KeyEntry>,
    /// The text of a new key, shown once. `None` when an earlier call with this idempotency key delivered it.
    pub secret: Option<Secret>,
    /// The revision at which it is in force.
    pub revision: Revision,
}

impl KeyAdmin {
    /// Administration of `keys`; `max_life` is the ceiling on a key's expiry.
    #[must_use]
    pub fn new(
        keys: Arc<Keys>,
        audiences: Arc<Audiences>,
        changes: Arc<Changes>,
        max_life: Duration,
    ) -> Self {
        Self {
            keys,
            audiences,
            changes,
            max_life,
        }
    }

    /// The keys in memory.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Uses that a finite-use key has left.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn uses_left(&self, entry: &KeyEntry) -> Result<Option<u32>, Denial> {
        let Some(limit) = entry.key().spec.uses else {
            return Ok(None);
        };
        let counter = spend::counter(&entry.key().id).map_err(too_large)?;
        let stored = self.changes.store().read(&counter).await.map_err(unread)?;
        spend::left(stored.as_ref(), limit).map(Some)
    }

    /// Creates a key.
    ///
    /// # Errors
    /// A refusal that names the field, or a failure of ours.
    pub async fn create(
        &self,
        spec: KeySpec,
        author: &Author,
        on: &Precondition,
    ) -> Result<Written, Denial> {
        let now = self.changes.now()?;
        let spec = self.checked(spec, now)?;
        if let Some(earlier) = self.changes.repeated(author, on).await? {
            return self.delivered(&earlier).await;
        }
        let (secret, key) = self.fresh(spec, now)?;
        let target = format!("key:{}", key.id);
        let note = note("key.create", &target, &key, json!({ "spec": key.spec }));
        let batch = put_new(Batch::new(), &key).map_err(too_large)?;
        let revision = match self
            .changes
            .commit(batch, &note, author, on, key.id.as_str())
            .await
        {
            // Two calls with one idempotency key: the other one won.
            Err(Denial::Refused(refusal)) if refusal.code() == Code::Conflict => {
                let earlier = self.changes.repeated(author, on).await?;
                return self
                    .delivered(&earlier.ok_or(Denial::Refused(refusal))?)
                    .await;
            }
            outcome => outcome?,
        };
        Ok(Written {
            key: self.found(&key.id)?,
            secret: Some(secret),
            revision,
        })
    }

    /// Makes a successor of the same reach. The old key goes on for `overlap`, then lapses; with no overlap
    /// it is revoked at once. What is left of a finite-use key's uses goes over to the successor.
    ///
    /// # Errors
    /// A refusal, or a failure of ours.
    pub async fn rotate(
        &self,
        id: &KeyPublicId,
        overlap: Duration,
        expires: Option<Timestamp>,
        author: &Author,
        on: &Precondition,
    ) -> Result<Written, Denial> {
        let now = self.changes.now()?;
        if let Some(earlier) = self.changes.repeated(author, on).await? {
            return self.delivered(&earlier).await;
        }
        let old = self.found(id)?;
        if old.standing(now) != Standing::Active || old.key().successor.is_some() {
            return Err(Refusal::new(
                Code::Conflict,
                "only an active key without a successor is rotated",
            )
            .into());
        }
        let mut spec = old.key().spec.clone();
        spec.expires = expires.unwrap_or(spec.expires);
        let left = self.uses_left(&old).await?;
        spec.uses = left.or(spec.uses);
        let (secret, new) = self.fresh(self.checked(spec, now)?, now)?;

        let mut retired = old.key().clone();
        retired.successor = Some(new.id);
        if overlap.is_zero() || left.is_some() {
            // A finite-use key cannot overlap: its uses would be there twice.
            retired.state = KeyState::Revoked;
        } else {
            let end = now
                .checked_add(overlap)
                .map_err(|_| invalid("overlap", "too long"))?;
            retired.spec.expires = retired.spec.expires.min(end);
        }
        let target = format!("key:{id}");
        let change =
            json!({ "successor": new.id, "spec": new.spec, "old_expires": retired.spec.expires });
        let note = note("key.rotate", &target, &retired, change);
        let batch = put_new(Batch::new(), &new)
            .and_then(|batch| put_stricter(batch, &retired, old.revision()));
        let revision = self
            .changes
            .commit(
                batch.map_err(too_large)?,
                &note,
                author,
                on,
                new.id.as_str(),
            )
            .await?;
        Ok(Written {
            key: self.found(&new.id)?,
            secret: Some(secret),
            revision,
        })
    }

    /// Suspends, resumes or revokes a key. Revoking what is revoked changes nothing and is no error.
    ///
    /// # Errors
    /// A refusal, or a failure of ours.
    pub async fn set_state(
        &self,
        id: &KeyPublicId,
        state: KeyState,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Written, Denial> {
        let old = self.found(id)?;
        if let Some(expected) = on
            .expected_revision
            .filter(|expected| *expected != old.revision())
        {
            let cause = format!("key {id} is at revision {}, not {expected}", old.revision());
            return Err(Refusal::new(Code::Conflict, cause).into());
        }
        if old.key().state == state {
            let revision = self.changes.store().revision().await.map_err(unread)?;
            return Ok(Written {
                key: old,
                secret: None,
                revision,
            });
        }
        if old.key().state == KeyState::Revoked {
            return Err(
                Refusal::new(Code::Conflict, format!("key {id} is revoked for good")).into(),
            );
        }
        let verb = match state {
            KeyState::Active => "key.resume",
            KeyState::Suspended => "key.suspend",
            KeyState::Revoked => "key.revoke",
        };
        let mut key = old.key().clone();
        key.state = state;
        let target = format!("key:{id}");
        let note = note(
            verb,
            &target,
            &key,
            json!({ "state": state, "reason": reason }),
        );
        let batch = put_again(Batch::new(), &key, old.revision()).map_err(too_large)?;
        let batch = if state == KeyState::Active {
            batch
        } else {
            batch.reserved()
        };
        let revision = self
            .changes
            .commit(batch, &note, author, on, id.as_str())
            .await?;
        Ok(Written {
            key: self.found(id)?,
            secret: None,
            revision,
        })
    }

    /// A key by id.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub fn found(&self, id: &KeyPublicId) -> Result<Arc<KeyEntry>, Denial> {
        let missing = || Refusal::new(Code::NotFound, format!("no key `{id}`")).into();
        self.keys.find(id).ok_or_else(missing)
    }

    async fn delivered(&self, id: &str) -> Result<Written, Denial> {
        let id = KeyPublicId::parse(id)
            .map_err(|error| Denial::failed(Fault::Internal, error.to_string()))?;
        let revision = self.changes.store().revision().await.map_err(unread)?;
        Ok(Written {
            key: self.found(&id)?,
            secret: None,
            revision,
        })
    }

    fn fresh(&self, spec: KeySpec, now: Timestamp) -> Result<(Secret, ApiKey), Denial> {
        let failed =
            |error: crate::clock::NoRandomness| Denial::failed(Fault::Internal, error.to_string());
        let (secret, parsed) = api_key::generate(self.changes.random()).map_err(failed)?;
        let key = ApiKey {
            version: 1,
            id: parsed.id,
            digest: parsed.digest,
            spec,
            created: now,
            state: KeyState::Active,
            successor: None,
        };
        Ok((secret, key))
    }

    /// Every rule on a key's reach, with audiences brought to their registered names.
    fn checked(&self, mut spec: KeySpec, now: Timestamp) -> Result<KeySpec, Denial> {
        let within = |field, count: usize, limit| match count {
            count if count > limit => Err(invalid(field, format!("more than {limit}"))),
            _ => Ok(()),
        };
        within("audiences", spec.audiences.len(), limits::KEY_AUDIENCES)?;
        within("networks", spec.networks.len(), limits::NETWORKS)?;
        within("labels", spec.labels.len(), limits::LABELS)?;
        if spec.audiences.is_empty() {
            return Err(invalid("audiences", "a key needs at least one"));
        }
        if spec.uses == Some(0) {
            return Err(invalid("uses", "a key needs at least one use"));
        }
        let ceiling = now
            .checked_add(self.max_life)
            .map_err(|_| invalid("expires_at", "out of range"))?;
        if spec.expires <= now || spec.expires > ceiling {
            return Err(invalid(
                "expires_at",
                format!("must be after now and at most {ceiling}"),
            ));
        }
        let mut names = Vec::with_capacity(spec.audiences.len());
        let mut vocabulary = Vec::new();
        for audience in &spec.audiences {
            let entry = self.audiences.find(audience);
            let entry = entry
                .ok_or_else(|| invalid("audiences", format!("`{audience}` is not registered")))?;
            if entry.spec.tenant.is_some() && entry.spec.tenant != spec.tenant {
                return Err(invalid(
                    "audiences",
                    format!("`{audience}` belongs to another tenant"),
                ));
            }
            vocabulary.push(entry.spec.scopes.clone());
            if !names.contains(&entry.spec.name) {
                names.push(entry.spec.name.clone());
            }
        }
        if let Some(scope) = spec
            .scopes
            .iter()
            .find(|scope| !vocabulary.iter().any(|known| known.contains(scope)))
        {
            return Err(invalid(
                "scopes",
                format!("`{scope}` is in the vocabulary of none of the audiences"),
            ));
        }
        spec.audiences = names;
        Ok(spec)
    }
}

/// Batches that suspend every active key of finite use, for an operator who accepts that uses may have been
/// forgotten.
///
/// # Errors
/// [`TooLarge`] never: each value was stored before. Values that cannot be read are left as they are.
pub fn suspend_limited(entries: &[Entry]) -> Result<Vec<Batch>, TooLarge> {
    let limited = entries.iter().filter_map(|entry| {
        let mut key: ApiKey = serde_json::from_slice(entry.value.as_bytes()).ok()?;
        (key.spec.uses.is_some() && key.state == KeyState::Active).then(|| {
            key.state = KeyState::Suspended;
            (key, entry.modified)
        })
    });
    limited
        .map(|(key, revision)| {
            let at = store_key(&key.id)?;
            Batch::new()
                .expect(at.clone(), Expect::Unmodified(revision))?
                .put(at, value(&key)?)
        })
        .collect()
}

fn note<'a>(
    action: &'static str,
    target: &'a str,
    key: &'a ApiKey,
    change: serde_json::Value,
) -> Note<'a> {
    Note {
        kind: ActKind::Admin,
        action,
        target,
        credential: Some(CredentialId::ApiKey(key.id)),
        owner: Some(&key.spec.owner),
        tenant: key.spec.tenant.as_ref(),
        change,
    }
}

fn store_key(id: &KeyPublicId) -> Result<Key, TooLarge> {
    Key::new(&format!("{}{id}", keys::PREFIX))
}

fn value(key: &ApiKey) -> Result<Value, TooLarge> {
    Value::new(serde_json::to_vec(key).map_err(|_| TooLarge)?)
}

fn put_new(batch: Batch, key: &ApiKey) -> Result<Batch, TooLarge> {
    batch
        .expect(store_key(&key.id)?, Expect::Absent)?
        .put(store_key(&key.id)?, value(key)?)
}

fn put_again(batch: Batch, key: &ApiKey, revision: u64) -> Result<Batch, TooLarge> {
    match key.state {
        KeyState::Active => batch
            .expect(store_key(&key.id)?, Expect::Unmodified(revision))?
            .put(store_key(&key.id)?, value(key)?),
        KeyState::Suspended | KeyState::Revoked => put_stricter(batch, key, revision),
    }
}

/// For a change that only takes away: it must survive even an old backup that is put back.
fn put_stricter(batch: Batch, key: &ApiKey, revision: u64) -> Result<Batch, TooLarge> {
    batch
        .expect(store_key(&key.id)?, Expect::Unmodified(revision))?
        .put_lasting(store_key(&key.id)?, value(key)?)
}
