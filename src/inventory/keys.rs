//! API keys in memory: what authentication looks up.

use super::{ApiKey, KeyState};
use crate::id::{Audience, CredentialId, KeyPublicId, Label};
use crate::marker::{Part, Second, Thing};
use crate::revocation::HotSet;
use crate::secret::api_key::Parsed;
use crate::store::{Entry, Op, Value};
use dashmap::DashMap;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use subtle::ConstantTimeEq as _;

/// Store prefix of keys.
pub const PREFIX: &str = "key/";

/// A key with everything that a request needs of it ready to be shared.
#[derive(Debug)]
pub struct KeyEntry {
    key: ApiKey,
    revision: u64,
    sub: Arc<str>,
    audiences: Arc<[Audience]>,
    labels: Arc<BTreeMap<Label, Label>>,
    usage: Arc<Usage>,
    parts: [Part; Self::PARTS],
}

impl KeyEntry {
    /// How many parts of a fence a key is.
    pub const PARTS: usize = 2;

    /// The key as it is stored.
    #[must_use]
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Counter of the store revision that last wrote it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The `sub` of its tokens: a URI under the issuer naming kind and id.
    #[must_use]
    pub fn sub(&self) -> &Arc<str> {
        &self.sub
    }

    /// The audiences it may ask for.
    #[must_use]
    pub fn audiences(&self) -> &Arc<[Audience]> {
        &self.audiences
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &Arc<BTreeMap<Label, Label>> {
        &self.labels
    }

    /// What a marker could cover of it: itself, and its subject since it was made.
    #[must_use]
    pub fn parts(&self) -> &[Part; Self::PARTS] {
        &self.parts
    }

    /// Its counters.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Its state at `now`; a key past its expiry has lapsed whatever is stored.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        Standing::of(self.key.state, self.key.spec.expires, now)
    }
}

/// A key's state at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Usable.
    Active,
    /// Suspended until resumed.
    Suspended,
    /// Past its expiry.
    Lapsed,
    /// Revoked.
    Revoked,
}

impl Standing {
    /// What is stored, at `now`.
    #[must_use]
    pub fn of(state: KeyState, expires: Timestamp, now: Timestamp) -> Self {
        match state {
            KeyState::Revoked => Self::Revoked,
            KeyState::Suspended => Self::Suspended,
            KeyState::Active if expires <= now => Self::Lapsed,
            KeyState::Active => Self::Active,
        }
    }

    /// The name in listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Lapsed => "lapsed",
            Self::Revoked => "revoked",
        }
    }
}

/// How a key was used: approximate, kept in memory, flushed in the background.
#[derive(Debug, Default)]
pub struct Usage {
    /// Second of the last use; 0 when never.
    last: AtomicI64,
    count: AtomicU64,
    /// The count that is stored.
    flushed: AtomicU64,
}

impl Usage {
    /// Notes a use.
    pub fn note(&self, now: Timestamp) {
        self.last.fetch_max(now.as_second(), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// When it was last used.
    #[must_use]
    pub fn last(&self) -> Option<Timestamp> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            second => Timestamp::from_second(second).ok(),
        }
    }

    /// How often it was used.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.count() == self.flushed.load(Ordering::Relaxed)
    }

    pub(super) fn mark_flushed(&self, count: u64) {
        self.flushed.fetch_max(count, Ordering::Relaxed);
    }

    /// Takes over stored counters, which are at least as old as those in memory.
    pub(super) fn restore(&self, count: u64, last: i64) {
        self.count.fetch_max(count, Ordering::Relaxed);
        self.flushed.fetch_max(count, Ordering::Relaxed);
        self.last.fetch_max(last, Ordering::Relaxed);
    }
}

/// What a key's text is to us.
#[derive(Clone, Debug)]
pub enum Shown {
    /// The text of this key.
    Ours(Arc<KeyEntry>),
    /// A key has this id and another secret.
    Wrong,
    /// No key has this id.
    Unknown,
}

/// All keys of this broker. Bounded by what administrators create.
#[derive(Debug)]
pub struct Keys {
    issuer: Arc<str>,
    hot: Arc<HotSet>,
    entries: DashMap<KeyPublicId, Arc<KeyEntry>>,
    usage: DashMap<KeyPublicId, Arc<Usage>>,
}

impl Keys {
    /// No keys yet. Revoked ones are put into `hot` as they are applied.
    #[must_use]
    pub fn new(issuer: Arc<str>, hot: Arc<HotSet>) -> Self {
        Self {
            issuer,
            hot,
            entries: DashMap::new(),
            usage: DashMap::new(),
        }
    }

    /// Looks a key up.
    #[must_use]
    pub fn find(&self, id: &KeyPublicId) -> Option<Arc<KeyEntry>> {
        self.entries.get(id).map(|entry| Arc::clone(&entry))
    }

    /// Whether a key's text is one of ours, in use or not. An id that no key has takes the steps that a known one does.
    #[must_use]
    pub fn recognise(&self, shown: &Parsed) -> Shown {
        let entry = self.find(&shown.id);
        let digest = entry.as_ref().map_or([0; 32], |entry| entry.key.digest);
        let is_right = bool::from(digest.ct_eq(&shown.digest));
        match entry {
            Some(entry) if is_right => Shown::Ours(entry),
            Some(_) => Shown::Wrong,
            None => Shown::Unknown,
        }
    }

    /// All keys in the order of their ids, from the one after `after`.
    #[must_use]
    pub fn list(&self, after: Option<KeyPublicId>) -> Vec<Arc<KeyEntry>> {
        let is_later = |id: &KeyPublicId| after.is_none_or(|after| *id > after);
        let later = self.entries.iter().filter(|entry| is_later(entry.key()));
        let mut all: Vec<_> = later.map(|entry| Arc::clone(&entry)).collect();
        all.sort_by_key(|entry| entry.key.id);
        all
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The `sub` of a key's tokens.
    #[must_use]
    pub fn sub(&self, id: &KeyPublicId) -> Arc<str> {
        format!("{}/keys/{id}", self.issuer).into()
    }

    /// The key whose tokens have this `sub`.
    #[must_use]
    pub fn of_sub(&self, sub: &str) -> Option<Arc<KeyEntry>> {
        let path = sub.strip_prefix(&*self.issuer)?;
        let id = path.strip_prefix("/keys/")?;
        self.find(&KeyPublicId::parse(id).ok()?)
    }

    pub(super) fn counters(&self, id: KeyPublicId) -> Arc<Usage> {
        Arc::clone(&self.usage.entry(id).or_default())
    }

    /// Takes over the whole stored set.
    ///
    /// # Errors
    /// What is wrong with the first value that cannot be read; nothing is changed then.
    pub fn reset(&self, entries: &[Entry]) -> Result<(), String> {
        let parsed: Vec<_> = entries
            .iter()
            .map(|e| Ok((parse(&e.value)?, e.modified)))
            .collect::<Result<_, String>>()?;
        let ids: std::collections::HashSet<_> = parsed.iter().map(|(key, _)| key.id).collect();
        parsed
            .into_iter()
            .for_each(|(key, revision)| self.insert(key, revision));
        self.entries.retain(|id, _| ids.contains(id));
        self.usage.retain(|id, _| ids.contains(id));
        Ok(())
    }

    /// Takes over one change.
    ///
    /// # Errors
    /// What is wrong with the value; the old state stays.
    pub fn apply(&self, op: &Op, revision: u64) -> Result<(), String> {
        match op {
            Op::Put(_, value) => self.insert(parse(value)?, revision),
            Op::Delete(key) => {
                let id = key.as_str().strip_prefix(PREFIX).unwrap_or_default();
                let id = KeyPublicId::parse(id).map_err(|error| error.to_string())?;
                self.entries.remove(&id);
                self.usage.remove(&id);
            }
        }
        Ok(())
    }

    fn insert(&self, key: ApiKey, revision: u64) {
        // The log writer asks once more: no issue is recorded after a suspension or revocation was acknowledged.
        let credential = Thing::Credential(CredentialId::ApiKey(key.id));
        match key.state {
            KeyState::Active => self.hot.release(credential),
            KeyState::Suspended | KeyState::Revoked => {
                // No later than its tokens: of a key that was rotated they may have been made when it had longer to go.
                let (end, tenant) = (key.end_of_tokens(), key.spec.tenant.as_ref());
                self.hot.revoke_of(credential, Second::end_of(end), tenant);
            }
        }
        let sub = self.sub(&key.id);
        let subject = Thing::Subject(&self.issuer, &sub);
        let entry = KeyEntry {
            revision,
            parts: [
                Part::absolute(credential),
                Part::dated(subject, key.created),
            ],
            sub,
            audiences: key.spec.audiences.clone().into(),
            labels: Arc::new(key.spec.labels.clone()),
            usage: self.counters(key.id),
            key,
        };
        self.entries.insert(entry.key.id, Arc::new(entry));
    }
}

fn parse(value: &Value) -> Result<ApiKey, String> {
    let key: ApiKey =
        serde_json::from_slice(value.as_bytes()).map_err(|error| error.to_string())?;
    if key.version != 1 {
        return Err(format!(
            "key {} is of version {}, this broker reads version 1",
            key.id, key.version
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests;
