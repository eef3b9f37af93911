//! Revoking, and taking a revocation back: each one batch with its record, answered when it is in force.
//!
//! A key and a signing key are revoked where they are governed, and their markers follow from that; of everything else the
//! marker itself is what is stored. Where nothing can be written, the marker is in force here all the same: nothing is
//! issued until it is written, and that is tried again and again.

mod estate;
mod own;
mod revocable;
mod undurable;

pub use revocable::{Reach, Revocable};
pub use undurable::Undurable;

use super::change::{Author, Changes, Committed, Note, Precondition, raced, too_large, unread};
use super::{KeyAdmin, SigningAdmin};
use crate::audit::ActKind;
use crate::id::{CredentialId, KeyPublicId, Owner};
use crate::inventory::{KeyEntry, KeyState};
use crate::limits;
use crate::marker::{Cover, Kind, Marker, MarkerId, Second, Thing};
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::revocation::{self, Feed, HotSet, PREFIX, StoredMarker, Told};
use crate::store::{Batch, CommitError, Cursor, Entry, Expect, Key, Revision};
use jiff::Timestamp;
use revocable::{certificate, longest};
use serde_json::json;
use std::sync::Arc;

/// Revokes.
#[derive(Debug)]
pub struct RevocationAdmin {
    issuer: Arc<str>,
    hot: Arc<HotSet>,
    feed: Feed,
    keys: Arc<KeyAdmin>,
    signing: Arc<SigningAdmin>,
    changes: Arc<Changes>,
    undurable: Arc<Undurable>,
    given_up: own::Counts,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The markers that are in force.
    pub markers: Vec<StoredMarker>,
    /// The revision at which they are; none where it is in force here and not written.
    pub revision: Option<Revision>,
}

impl RevocationAdmin {
    /// Revokes tokens of `issuer` and what they are made from. What cannot be written is left to `undurable`.
    #[must_use]
    pub fn new(
        issuer: Arc<str>,
        hot: Arc<HotSet>,
        feed: Feed,
        keys: Arc<KeyAdmin>,
        signing: Arc<SigningAdmin>,
        changes: Arc<Changes>,
        undurable: Arc<Undurable>,
    ) -> Self {
        Self {
            issuer,
            hot,
            feed,
            keys,
            signing,
            changes,
            undurable,
            given_up: own::Counts::default(),
        }
    }

    /// Revokes a thing. What is revoked already, as far, is no error.
    ///
    /// # Errors
    /// A refusal. That nothing can be written is none: see [`Revoked::revision`].
    pub async fn revoke(
        &self,
        what: &Revocable,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Revoked, Denial> {
        let revoked = self.revoke_durably(what, reason, author, on).await;
        match revoked {
            Err(Denial::Failed { cause, .. }) => {
                tracing::error!(%cause, "a revocation is in force and not written");
                let markers = self.in_force_here(what, reason, author)?;
                self.undurable.push(what, reason, author)?;
                Ok(Revoked {
                    markers,
                    revision: None,
                })
            }
            answered => answered,
        }
    }

    async fn revoke_durably(
        &self,
        what: &Revocable,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Revoked, Denial> {
        match what {
            Revocable::ApiKey(id) => self.revoke_key(id, reason, author, on).await,
            Revocable::SigningKey(id) => {
                let compromised = Some(id.clone());
                self.signing.rotate(compromised, reason, author, on).await?;
                let markers = self.told(what, reason, author)?;
                self.all(markers).await
            }
            Revocable::Owner(owner) => self.revoke_estate(owner, reason, author, on).await,
            _ => {
                let markers = self.told(what, reason, author)?;
                let mut set = Vec::new();
                for marker in markers {
                    set.push(self.set(marker, author, on).await?);
                }
                self.all(set).await
            }
        }
    }

    /// Everything that was committed so far is in force, these markers among it.
    async fn all(&self, markers: Vec<StoredMarker>) -> Result<Revoked, Denial> {
        let revision = self.changes.all_in_force().await?;
        Ok(Revoked {
            markers,
            revision: Some(revision),
        })
    }

    async fn revoke_key(
        &self,
        id: &KeyPublicId,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Revoked, Denial> {
        let state = self
            .keys
            .set_state(id, KeyState::Revoked, reason, author, on);
        let written = state.await?;
        Ok(Revoked {
            markers: self.told(&Revocable::ApiKey(*id), reason, author)?,
            revision: Some(written.revision),
        })
    }

    /// Puts markers into force where they cannot be written.
    fn in_force_here(
        &self,
        what: &Revocable,
        reason: &str,
        author: &Author,
    ) -> Result<Vec<StoredMarker>, Denial> {
        let markers = match what {
            Revocable::Owner(owner) => self
                .estate(owner, self.changes.now_or_latest())
                .iter()
                .map(|entry| self.told(&Revocable::ApiKey(entry.key().id), reason, author))
                .collect::<Result<Vec<_>, _>>()?
                .concat(),
            _ => self.told(what, reason, author)?,
        };
        markers
            .iter()
            .for_each(|stored| self.hot.pin(stored.marker));
        self.feed.nudge();
        Ok(markers)
    }

    /// The markers of a thing that has any of its own, with what is told of them.
    fn told(
        &self,
        what: &Revocable,
        reason: &str,
        author: &Author,
    ) -> Result<Vec<StoredMarker>, Denial> {
        let at = self.changes.now_or_latest();
        let token: String;
        let of = |thing: Thing<'_>, before: Second, until: Second| {
            let (id, cover) = (thing.id(), Cover { before, until });
            vec![StoredMarker {
                marker: Marker { id, cover },
                told: Told {
                    kind: thing.kind().name().to_owned(),
                    thing: thing.name().into_owned(),
                    reason: reason.to_owned(),
                    author: author.who.to_string(),
                    at,
                },
            }]
        };
        Ok(match what {
            Revocable::Token(id, end) => {
                token = id.to_string();
                let end = end.unwrap_or_else(|| longest(at));
                of(
                    Thing::Token(&self.issuer, &token),
                    Second::NEVER,
                    Second::end_of(end),
                )
            }
            Revocable::Certificate(digest, end) => {
                // A token that is bound to it may live longer than itself.
                let end = end.map(|end| Second::end_of(end.max(longest(at))));
                of(
                    certificate(digest),
                    Second::NEVER,
                    end.unwrap_or(Second::NEVER),
                )
            }
            Revocable::Subject(sub, reach) => {
                let thing = Thing::Subject(&self.issuer, sub);
                of(thing, (*reach).into(), Second::NEVER)
            }
            Revocable::Issuer(before) => {
                let thing = Thing::Issuer(&self.issuer);
                of(thing, Second::of(*before), Second::end_of(longest(*before)))
            }
            Revocable::TrustDomain(domain, reach) => {
                let thing = Thing::TrustDomain(domain.as_str());
                of(thing, (*reach).into(), Second::NEVER)
            }
            Revocable::ApiKey(id) => {
                let end = self.keys.found(id)?.key().spec.expires;
                let thing = Thing::Credential(CredentialId::ApiKey(*id));
                of(thing, Second::NEVER, Second::end_of(end))
            }
            Revocable::SigningKey(id) => of(Thing::SigningKey(id), Second::NEVER, Second::NEVER),
            Revocable::Owner(_) => Vec::new(),
        })
    }

    /// Stores a marker, together with the one of its id that is there: what is in force merges by maximum.
    async fn set(
        &self,
        mut new: StoredMarker,
        author: &Author,
        on: &Precondition,
    ) -> Result<StoredMarker, Denial> {
        let action = "marker.set";
        let wanted = new.marker.cover;
        let key = StoredMarker::key(&new.marker.id).map_err(too_large)?;
        let name = new.marker.id.to_string();
        if self
            .changes
            .repeated(action, &name, author, on)
            .await?
            .is_some()
        {
            return Ok(new);
        }
        for _ in 0..limits::WRITE_ATTEMPTS {
            let entry = self.changes.store().read(&key).await.map_err(unread)?;
            let mut expect = Expect::Absent;
            new.marker.cover = wanted;
            if let Some(entry) = entry {
                expect = Expect::Unmodified(entry.modified);
                // One that cannot be read is written anew.
                let old = StoredMarker::read(&entry)
                    .ok()
                    .filter(|old| !old.is_reinstated());
                if let Some(old) = old {
                    new.marker.cover = old.marker.cover.merge(wanted);
                    if new.marker.cover == old.marker.cover {
                        return Ok(old);
                    }
                }
            }
            let value = new.value().map_err(too_large)?;
            let batch = Batch::new()
                .expect(key.clone(), expect)
                .and_then(|batch| batch.put_lasting(key.clone(), value))
                .map_err(too_large)?;
            let note = noted(action, &new, "set");
            let note = note.note();
            let committed = self
                .changes
                .commit(batch.reserved(), &note, author, on, &name, &name);
            match committed.await? {
                Committed::Now(_) | Committed::Before(_) => return Ok(new),
                // Again, on what is there by now.
                Committed::Raced => drop(self.changes.all_in_force().await?),
            }
        }
        Err(raced())
    }

    /// Takes a marker back.
    ///
    /// # Errors
    /// [`Code::NotFound`] where nobody set one; a failure where it cannot be written.
    pub async fn reinstate(
        &self,
        id: &MarkerId,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<(StoredMarker, Revision), Denial> {
        let action = "marker.reinstate";
        let name = id.to_string();
        let key = StoredMarker::key(id).map_err(too_large)?;
        let repeated = self.changes.repeated(action, &name, author, on).await?;
        for _ in 0..limits::WRITE_ATTEMPTS {
            let entry = self.changes.store().read(&key).await.map_err(unread)?;
            let missing = || {
                let cause = format!(
                    "no marker `{id}` was set; keys are resumed, and what is revoked for good stays so"
                );
                Denial::from(Refusal::new(Code::NotFound, cause))
            };
            let entry = entry.ok_or_else(missing)?;
            let old = StoredMarker::read(&entry)
                .map_err(|error| Refusal::new(Code::Conflict, error.to_string()))?;
            if repeated.is_some() || old.is_reinstated() {
                return Ok((old, self.changes.all_in_force().await?));
            }
            let mut new = old;
            new.marker.cover.before = Second::ZERO;
            new.told.reason = reason.to_owned();
            new.told.author = author.who.to_string();
            new.told.at = self.changes.now()?;
            let value = new.value().map_err(too_large)?;
            let batch = Batch::new()
                .expect(key.clone(), Expect::Unmodified(entry.modified))
                .and_then(|batch| batch.put(key.clone(), value))
                .map_err(too_large)?;
            let note = noted(action, &new, "reinstated");
            let note = note.note();
            let committed = self.changes.commit(batch, &note, author, on, &name, &name);
            match committed.await? {
                Committed::Now(revision) => return Ok((new, revision)),
                Committed::Before(_) | Committed::Raced => drop(self.changes.all_in_force().await?),
            }
        }
        Err(raced())
    }

    /// Writes what could not be written. Called regularly.
    ///
    /// # Errors
    /// What still stands in the way.
    pub async fn settle(&self) -> Result<(), Denial> {
        while let Some(waiting) = self.undurable.first() {
            let on = Precondition::default();
            let written = self.revoke_durably(&waiting.what, &waiting.reason, &waiting.author, &on);
            match written.await {
                Ok(_) => {}
                Err(Denial::Refused(refusal)) if refusal.code() == Code::NotFound => {
                    tracing::warn!(
                        detail = refusal.detail(),
                        "what was revoked is no longer there"
                    );
                }
                Err(failed) => return Err(failed),
            }
            self.undurable.pop();
        }
        self.hot.unpin();
        Ok(())
    }

    /// A page of the stored markers, in the order of their ids, from the one after the entry `after`; and whether there is
    /// more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn stored(&self, after: Option<Key>) -> Result<(Vec<Entry>, bool), Denial> {
        let store = self.changes.store();
        let revision = store.revision().await.map_err(unread)?;
        let cursor = after.map(|after| Cursor { after, revision });
        let page = store.load(PREFIX, cursor).await;
        let page =
            page.map_err(|error| Denial::failed(Fault::StoreUnavailable, error.to_string()))?;
        Ok((page.entries, page.next.is_some()))
    }

    /// Drops markers that have ended, here and in the store. `now` is the time guard's.
    ///
    /// # Errors
    /// When the store does not answer; what is left of those goes after the next start.
    pub async fn forget_ended(&self, now: Timestamp) -> Result<(), Denial> {
        loop {
            let ended = self.hot.expire(now);
            // Each takes a compare and a deletion.
            for some in ended.chunks(limits::STORE_BATCH / 2) {
                self.forget(some, now).await?;
            }
            if ended.len() < limits::MARKERS_EXPIRED {
                return Ok(());
            }
        }
    }

    /// Removes what is stored of markers that have ended. One that was set anew meanwhile stays.
    async fn forget(&self, ended: &[MarkerId], now: Timestamp) -> Result<(), Denial> {
        let store = self.changes.store();
        let mut batch = Batch::new();
        for id in ended {
            let key = StoredMarker::key(id).map_err(too_large)?;
            let Some(entry) = store.read(&key).await.map_err(unread)? else {
                continue;
            };
            let marker = revocation::marker(&entry.key, &entry.value);
            if marker.is_ok_and(|marker| marker.cover.until < Second::of(now)) {
                let expect = Expect::Unmodified(entry.modified);
                let grown = batch.expect(key.clone(), expect);
                batch = grown
                    .and_then(|batch| batch.delete(key))
                    .map_err(too_large)?;
            }
        }
        if batch.ops().is_empty() {
            return Ok(());
        }
        match store.commit(batch).await {
            // Again at the next start.
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(error) => Err(Denial::failed(Fault::StoreUnavailable, error.to_string())),
        }
    }

    /// The keys of an owner that were made up to an instant and are not revoked.
    fn estate(&self, owner: &Owner, at: Timestamp) -> Vec<Arc<KeyEntry>> {
        let mut keys = self.keys.keys().list(None);
        keys.retain(|entry| {
            let key = entry.key();
            key.spec.owner == *owner && key.created <= at && key.state != KeyState::Revoked
        });
        keys
    }
}

/// What the record says of a marker.
struct Noted {
    action: &'static str,
    target: String,
    credential: Option<CredentialId>,
    change: serde_json::Value,
}

fn noted(action: &'static str, stored: &StoredMarker, state: &str) -> Noted {
    let StoredMarker { marker, told } = stored;
    let Cover { before, until } = marker.cover;
    let is_credential = told.kind == Kind::Credential.name();
    Noted {
        action,
        target: format!("{}:{}", told.kind, told.thing),
        credential: is_credential
            .then(|| CredentialId::parse(&told.thing).ok())
            .flatten(),
        change: json!({
            "marker": marker.id.to_string(), "state": state, "before": before.instant(), "until": until.instant(),
            "reason": told.reason,
        }),
    }
}

impl Noted {
    fn note(&self) -> Note<'_> {
        Note {
            kind: ActKind::Admin,
            action: self.action,
            target: &self.target,
            credential: self.credential,
            owner: None,
            tenant: None,
            change: self.change.clone(),
        }
    }
}
