//! Administrative acts on keys: each one batch with its record, answered when it is in force.

mod batch;
mod rules;

pub use batch::suspend_limited;

use super::change::{Author, Changes, Committed, Precondition, raced, too_large};
use crate::id::KeyPublicId;
use crate::inventory::{ApiKey, Audiences, KeyEntry, KeySpec, KeyState, Keys, Standing, Uses};
use crate::limits;
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::secret::{Secret, api_key};
use crate::store::{Batch, Revision};
use batch::{note, put_again, put_new, put_stricter};
use jiff::Timestamp;
use rules::{check_revision, checked, retired};
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
        Ok(self.uses(entry).await?.map(|uses| uses.left()))
    }

    async fn uses(&self, entry: &KeyEntry) -> Result<Option<Uses>, Denial> {
        let Some(limit) = entry.key().spec.uses else {
            return Ok(None);
        };
        Uses::read(self.changes.store(), &entry.key().id, limit)
            .await
            .map(Some)
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
        // A repeat is answered like the first, whatever has become of its expiry or its audiences since.
        if let Some(earlier) = self.changes.repeated("key.create", "", author, on).await? {
            return self.delivered(&earlier).await;
        }
        self.changes.settles()?;
        let now = self.changes.now()?;
        let spec = checked(spec, &self.audiences, self.max_life, now)?;
        let (secret, key) = self.fresh(spec, now)?;
        let target = format!("key:{}", key.id);
        let note = note("key.create", &target, &key, json!({ "spec": key.spec }));
        let batch = put_new(Batch::new(), &key).map_err(too_large)?;
        let made = key.id.as_str();
        let committed = self.changes.commit(batch, &note, author, on, "", made);
        self.made(committed.await?, &key.id, secret).await
    }

    /// Makes a successor of the same reach. The old key goes on for `overlap`, then lapses; with no overlap
    /// it is revoked at once. What is left of a finite-use key's uses goes over to the successor, so such keys do not
    /// overlap.
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
        let action = "key.rotate";
        let repeated = self.changes.repeated(action, id.as_str(), author, on);
        if let Some(earlier) = repeated.await? {
            return self.delivered(&earlier).await;
        }
        let now = self.changes.now()?;
        let old = self.found(id)?;
        check_revision(&old, on)?;
        if old.standing(now) != Standing::Active || old.key().successor.is_some() {
            return Err(Refusal::new(
                Code::Conflict,
                "only an active key without a successor is rotated",
            )
            .into());
        }
        self.changes.settles()?;
        let uses = self.uses(&old).await?;
        let mut spec = old.key().spec.clone();
        spec.expires = expires.unwrap_or(spec.expires);
        spec.uses = uses.as_ref().map(Uses::left);
        if spec.uses == Some(0) {
            let cause = format!("key {id} has no uses left to hand on");
            return Err(Refusal::new(Code::Conflict, cause).into());
        }
        let (secret, new) = self.fresh(checked(spec, &self.audiences, self.max_life, now)?, now)?;
        let retired = retired(&old, new.id, overlap, now)?;

        let target = format!("key:{id}");
        let change = json!({
            "successor": new.id, "spec": new.spec, "old_expires": retired.spec.expires, "old_state": retired.state,
        });
        let note = note(action, &target, &retired, change);
        let batch = put_new(Batch::new(), &new)
            .and_then(|batch| put_stricter(batch, &retired, old.revision()));
        let mut batch = batch.map_err(too_large)?;
        if let Some(uses) = uses {
            // All of them go over: a use spent of the old key, now or later, would be there twice.
            batch = uses.fall_to(0, batch).map_err(too_large)?;
        }
        let made = new.id.as_str();
        let committed = self
            .changes
            .commit(batch, &note, author, on, id.as_str(), made);
        self.made(committed.await?, &new.id, secret).await
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
        let verb = match state {
            KeyState::Active => "key.resume",
            KeyState::Suspended => "key.suspend",
            KeyState::Revoked => "key.revoke",
        };
        let change = json!({ "state": state, "reason": reason });
        self.set(id, state, (verb, &change), author, on).await
    }

    /// The same, called `verb` on the record, where `change` says what it is.
    pub(super) async fn set(
        &self,
        id: &KeyPublicId,
        state: KeyState,
        (verb, change): (&'static str, &serde_json::Value),
        author: &Author,
        on: &Precondition,
    ) -> Result<Written, Denial> {
        let repeated = self.changes.repeated(verb, id.as_str(), author, on);
        if repeated.await?.is_some() {
            return self.delivered(id.as_str()).await;
        }
        for _ in 0..limits::WRITE_ATTEMPTS {
            let set = self.set_once(id, state, (verb, change), author, on);
            if let Some(written) = set.await? {
                return Ok(written);
            }
            // Again, on what is there by now.
            self.changes.all_in_force().await?;
        }
        Err(raced())
    }

    /// Nothing where somebody else changed the key meanwhile.
    async fn set_once(
        &self,
        id: &KeyPublicId,
        state: KeyState,
        (verb, change): (&'static str, &serde_json::Value),
        author: &Author,
        on: &Precondition,
    ) -> Result<Option<Written>, Denial> {
        let old = self.found(id)?;
        check_revision(&old, on)?;
        if old.key().state == state {
            return self.delivered(id.as_str()).await.map(Some);
        }
        if old.key().state == KeyState::Revoked {
            return Err(
                Refusal::new(Code::Conflict, format!("key {id} is revoked for good")).into(),
            );
        }
        let mut key = old.key().clone();
        key.state = state;
        let target = format!("key:{id}");
        let note = note(verb, &target, &key, change.clone());
        let batch = put_again(Batch::new(), &key, old.revision()).map_err(too_large)?;
        let batch = if state == KeyState::Active {
            batch
        } else {
            batch.reserved()
        };
        let committed = self
            .changes
            .commit(batch, &note, author, on, id.as_str(), id.as_str())
            .await?;
        match committed {
            Committed::Now(revision) => Ok(Some(Written {
                key: self.found(id)?,
                secret: None,
                revision,
            })),
            Committed::Before(_) => self.delivered(id.as_str()).await.map(Some),
            Committed::Raced => Ok(None),
        }
    }

    /// Whether whoever revokes a key saw it as it is now, or does not care; asked where the change itself cannot be made.
    ///
    /// # Errors
    /// [`Code::Conflict`] where it was changed meanwhile, but for one that is revoked.
    pub(super) fn is_as_expected(&self, id: &KeyPublicId, on: &Precondition) -> Result<(), Denial> {
        let entry = self.found(id)?;
        match entry.key().state {
            KeyState::Revoked => Ok(()),
            KeyState::Active | KeyState::Suspended => check_revision(&entry, on),
        }
    }

    /// A key by id.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub fn found(&self, id: &KeyPublicId) -> Result<Arc<KeyEntry>, Denial> {
        let missing = || Refusal::new(Code::NotFound, format!("no key `{id}`")).into();
        self.keys.find(id).ok_or_else(missing)
    }

    /// A key that was just made, or the one that an earlier call made in its place.
    async fn made(
        &self,
        committed: Committed,
        id: &KeyPublicId,
        secret: Secret,
    ) -> Result<Written, Denial> {
        match committed {
            Committed::Now(revision) => Ok(Written {
                key: self.found(id)?,
                secret: Some(secret),
                revision,
            }),
            Committed::Before(earlier) => self.delivered(&earlier).await,
            Committed::Raced => Err(raced()),
        }
    }

    async fn delivered(&self, id: &str) -> Result<Written, Denial> {
        let id = KeyPublicId::parse(id)
            .map_err(|error| Denial::failed(Fault::Internal, error.to_string()))?;
        // Whoever made it so may still be waiting for it, and all are answered alike.
        let revision = self.changes.all_in_force().await?;
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
}

#[cfg(test)]
mod tests;
