//! Markers in the store: set, taken back, listed, and removed once they have ended.

use super::RevocationAdmin;
use crate::administration::change::{
    Author, Committed, Note, Precondition, raced, too_large, unread,
};
use crate::audit::{ActKind, MARKER_REINSTATED, MARKER_SET};
use crate::id::{CredentialId, Owner, Tenant};
use crate::limits;
use crate::marker::{Cover, Kind, MarkerId, Second};
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::revocation::{self, PREFIX, StoredMarker};
use crate::store::{Batch, CommitError, Cursor, Entry, Expect, Key, Revision};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use tokio::time::{Instant, sleep};

impl RevocationAdmin {
    /// Stores a marker, together with the one of its id that is there: what is in force merges by maximum. A repeat is
    /// answered with what is stored where that reaches as far, and is carried out where it does not: it may ask for more than
    /// the first call did, at least for what began since, and whoever is told that it is in force relies on it.
    ///
    /// # Errors
    /// [`Code::Conflict`] for a repeat of what was taken back since; a failure where it cannot be written.
    pub(super) async fn set(
        &self,
        mut new: StoredMarker,
        author: &Author,
        on: &Precondition,
    ) -> Result<StoredMarker, Denial> {
        let action = MARKER_SET;
        let (wanted, whose) = (new.marker.cover, new.tenant.clone());
        let key = StoredMarker::key(&new.marker.id).map_err(too_large)?;
        let name = new.marker.id.to_string();
        let repeated = self.changes.repeated(action, &name, author, on).await?;
        let mut is_repeated = repeated.is_some();
        for _ in 0..limits::WRITE_ATTEMPTS {
            let entry = self.changes.store().read(&key).await.map_err(unread)?;
            let mut expect = Expect::Absent;
            new.marker.cover = wanted;
            new.tenant.clone_from(&whose);
            if let Some(entry) = entry {
                expect = Expect::Unmodified(entry.modified);
                // One that cannot be read is written anew.
                let old = StoredMarker::read(&entry).ok();
                if is_repeated && old.as_ref().is_some_and(StoredMarker::is_reinstated) {
                    return Err(decided_since(&name, "set", "taken back"));
                }
                if let Some(old) = old.filter(|old| !old.is_reinstated()) {
                    new.marker.cover = old.marker.cover.merge(wanted);
                    // What is of two is of none.
                    new.tenant = new.tenant.filter(|new| old.tenant.as_ref() == Some(new));
                    // It is one thing, which not everybody has in hand.
                    new.told.owner = new.told.owner.or_else(|| old.told.owner.clone());
                    if is_nothing_new(&new, &old, is_repeated) {
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
            // Whoever repeats it once more is known by what the first call left.
            let on = match is_repeated {
                true => &Precondition::default(),
                false => on,
            };
            let committed = self
                .changes
                .commit(batch.reserved(), &note, author, on, &name, &name);
            match committed.await? {
                Committed::Now(_) => return Ok(new),
                // The first call may have asked for less.
                Committed::Before(_) => is_repeated = true,
                // Again, on what is there by now.
                Committed::Raced => drop(self.changes.all_in_force().await?),
            }
        }
        Err(raced())
    }

    /// Takes a marker back.
    ///
    /// # Errors
    /// [`Code::NotFound`] where nobody set one; [`Code::Conflict`] for a repeat where it was set anew since; a failure where it
    /// cannot be written, and while it is in force here whatever is written, because revocations wait to be.
    pub async fn reinstate(
        &self,
        id: &MarkerId,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<(StoredMarker, Revision), Denial> {
        let action = MARKER_REINSTATED;
        if self.hot.is_pinned(id) {
            let cause =
                "it was revoked while nothing could be written, and not all of that is written yet";
            return Err(Denial::failed(Fault::StoreUnavailable, cause));
        }
        let name = id.to_string();
        let key = StoredMarker::key(id).map_err(too_large)?;
        let repeated = self.changes.repeated(action, &name, author, on).await?;
        let mut is_repeated = repeated.is_some();
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
            if old.is_reinstated() {
                return Ok((old, self.changes.all_in_force().await?));
            }
            if is_repeated {
                return Err(decided_since(&name, "taken back", "set anew"));
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
                Committed::Before(_) => is_repeated = true,
                Committed::Raced => drop(self.changes.all_in_force().await?),
            }
        }
        Err(raced())
    }

    /// The markers that are in force and wait to be written, as they are in force, by the names that their entries will have:
    /// those of keys and signing keys among them, which have entries of their own.
    #[must_use]
    pub fn waiting_markers(&self) -> BTreeMap<Key, StoredMarker> {
        let mut waiting = BTreeMap::new();
        for asked in self.undurable.all() {
            // Of what is no longer there nothing will be written.
            for mut stored in self.markers(&asked).unwrap_or_default() {
                let id = stored.marker.id;
                if let Some(cover) = self.hot.markers().get(&id) {
                    stored.marker.cover = cover;
                }
                if let Ok(key) = StoredMarker::key(&id) {
                    waiting.entry(key).or_insert(stored);
                }
            }
        }
        waiting
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

    /// Drops markers that have ended, here and in the store. `now` is the time guard's. It takes its time: however many end at
    /// once, exchanges have most of the machine meanwhile.
    ///
    /// # Errors
    /// When the store does not answer; what is left of those goes after the next start.
    pub async fn forget_ended(&self, now: Timestamp) -> Result<(), Denial> {
        loop {
            let ended = self.hot.expire(now);
            // Each takes a compare and a deletion.
            for some in ended.chunks(limits::STORE_BATCH / 2) {
                let start = Instant::now();
                self.forget(some, now).await?;
                sleep(start.elapsed().saturating_mul(limits::EXPIRY_REST)).await;
            }
            if ended.len() < limits::MARKERS_EXPIRED {
                return Ok(());
            }
        }
    }

    /// Removes what is stored of markers that have ended. One that was set anew meanwhile stays.
    async fn forget(&self, ended: &[MarkerId], now: Timestamp) -> Result<(), Denial> {
        let store = self.changes.store();
        let keys: Result<Vec<_>, _> = ended.iter().map(StoredMarker::key).collect();
        let found = store.read_each(&keys.map_err(too_large)?).await;
        let found = found.map_err(unread)?.into_iter().flatten();
        let has_ended = |entry: &Entry| {
            let marker = revocation::marker(&entry.key, &entry.value);
            marker.is_ok_and(|marker| marker.cover.until < Second::of(now))
        };
        let batch = found
            .filter(has_ended)
            .try_fold(Batch::new(), |batch, entry| {
                let expect = Expect::Unmodified(entry.modified);
                batch.expect(entry.key.clone(), expect)?.delete(entry.key)
            })
            .map_err(too_large)?;
        if batch.ops().is_empty() {
            return Ok(());
        }
        match store.commit(batch).await {
            // Again at the next start.
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(error) => Err(Denial::failed(Fault::StoreUnavailable, error.to_string())),
        }
    }
}

/// Whether a marker, merged with the one that is there, reaches no further.
fn is_nothing_new(new: &StoredMarker, old: &StoredMarker, is_repeated: bool) -> bool {
    let (cover, was) = (new.marker.cover, old.marker.cover);
    // The end of a repeat that is reckoned from now is later, and nothing it covers lives longer for that.
    let is_as_far = cover == was || (is_repeated && cover.before == was.before);
    is_as_far && new.tenant == old.tenant
}

/// A repeat may come late, and must not undo what somebody decided after the first call.
fn decided_since(name: &str, first: &str, since: &str) -> Denial {
    let cause = format!(
        "the marker `{name}` was {first} under this idempotency key and {since} since: take another key to go on with it"
    );
    Refusal::new(Code::Conflict, cause).into()
}

/// What the record says of a marker.
struct Noted {
    action: &'static str,
    target: String,
    credential: Option<CredentialId>,
    owner: Option<Owner>,
    tenant: Option<Tenant>,
    change: serde_json::Value,
}

fn noted(action: &'static str, stored: &StoredMarker, state: &str) -> Noted {
    let StoredMarker {
        marker,
        told,
        tenant,
    } = stored;
    let Cover { before, until } = marker.cover;
    let is_credential = told.kind == Kind::Credential.name();
    Noted {
        action,
        target: format!("{}:{}", told.kind, told.thing),
        credential: is_credential
            .then(|| CredentialId::parse(&told.thing).ok())
            .flatten(),
        owner: told.owner.clone(),
        tenant: tenant.clone(),
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
            owner: self.owner.as_ref(),
            tenant: self.tenant.as_ref(),
            change: self.change.clone(),
        }
    }
}
