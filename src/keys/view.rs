//! What a node signs and verifies with, kept current by the store's changes.

use super::stored::{StoredKey, entry_id};
use super::{Kek, Member, Ring, SigningKey, Timing};
use crate::id::KeyId;
use crate::jose::{Jwk, KeySet, VerifyingKey};
use crate::store::{Entry, Op};
use arc_swap::ArcSwap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A ring at one moment. Readers take it without waiting for anybody.
#[derive(Debug)]
pub struct RingView {
    /// The key that signs.
    pub active: Option<Arc<SigningKey>>,
    /// Every published key: prepared, active, retired.
    pub published: KeySet,
    /// The published JWK set: the active key first, for clients that look no further.
    pub jwks: Arc<str>,
    /// The names of the published keys' algorithms, each once.
    pub algorithms: Vec<&'static str>,
}

/// The ring of this node.
#[derive(Debug)]
pub struct KeyRing {
    kek: Arc<Kek>,
    timing: Timing,
    held: Mutex<BTreeMap<KeyId, Held>>,
    view: ArcSwap<RingView>,
}

#[derive(Clone, Debug)]
struct Held {
    member: Member,
    jwk: Jwk,
    verifying: VerifyingKey,
    signing: Option<Arc<SigningKey>>,
}

#[derive(Serialize)]
struct Document<'a> {
    keys: Vec<&'a Jwk>,
}

impl KeyRing {
    /// An empty ring, which signs nothing until it is given keys.
    #[must_use]
    pub fn new(kek: Arc<Kek>, timing: Timing) -> Self {
        let empty = RingView {
            active: None,
            published: KeySet::default(),
            jwks: r#"{"keys":[]}"#.into(),
            algorithms: Vec::new(),
        };
        Self {
            kek,
            timing,
            held: Mutex::default(),
            view: ArcSwap::from_pointee(empty),
        }
    }

    /// The ring as it is now.
    #[must_use]
    pub fn view(&self) -> Arc<RingView> {
        self.view.load_full()
    }

    /// How long things last in this ring.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The ring's state, for [`super::Rotation::tick`] to tell whether something is due.
    #[must_use]
    pub fn ring(&self) -> Ring {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        Ring::new(held.iter().map(|(id, held)| (id.clone(), held.member)))
    }

    /// Replaces everything by these entries of [`super::PREFIX`].
    ///
    /// # Errors
    /// When an entry is malformed, does not open, or its key fails our own verifier; everything stays as it was.
    pub fn reset(&self, entries: &[Entry]) -> Result<(), String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::new();
        for entry in entries {
            if let Some(id) = entry_id(&entry.key)? {
                let key = self.hold(&id, &entry.value, held.get(&id))?;
                next.insert(id, key);
            }
        }
        self.publish(&next)?;
        *held = next;
        Ok(())
    }

    /// Applies one change of an entry of [`super::PREFIX`].
    ///
    /// # Errors
    /// As [`KeyRing::reset`]; everything stays as it was.
    pub fn apply(&self, op: &Op) -> Result<(), String> {
        let Some(id) = entry_id(op.key())? else {
            return Ok(());
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = held.clone();
        match op {
            Op::Put(_, value) => {
                let key = self.hold(&id, value, held.get(&id))?;
                next.insert(id, key);
            }
            Op::Delete(_) => {
                next.remove(&id);
            }
        }
        self.publish(&next)?;
        *held = next;
        Ok(())
    }

    /// Reads one entry; a private key that is open already is not opened again.
    fn hold(
        &self,
        id: &KeyId,
        value: &crate::store::Value,
        before: Option<&Held>,
    ) -> Result<Held, String> {
        let stored = StoredKey::read(id, value)?;
        let member = stored.member();
        let signing = match before.and_then(|held| held.signing.as_ref()) {
            _ if !member.may_sign() => None,
            Some(key) if key.jwk() == stored.jwk() => Some(Arc::clone(key)),
            _ => Some(Arc::new(stored.open(id, &self.kek)?)),
        };
        Ok(Held {
            member,
            jwk: stored.jwk().clone(),
            verifying: stored.verifying(id)?,
            signing,
        })
    }

    fn publish(&self, held: &BTreeMap<KeyId, Held>) -> Result<(), String> {
        let ring = Ring::new(held.iter().map(|(id, held)| (id.clone(), held.member)));
        let active = ring.active().and_then(|(id, _)| held.get(id));
        let mut published: Vec<&Held> = held.values().filter(|h| h.member.is_published()).collect();
        let is_active = |held: &Held| active.is_some_and(|active| active.jwk == held.jwk);
        published.sort_by_key(|held| !is_active(held));
        let document = Document {
            keys: published.iter().map(|held| &held.jwk).collect(),
        };
        let jwks = serde_json::to_string(&document).map_err(|error| error.to_string())?;
        let keys = published.iter().map(|held| held.verifying.clone());
        let mut algorithms = Vec::new();
        for held in &published {
            let name = held.verifying.algorithm().name();
            if !algorithms.contains(&name) {
                algorithms.push(name);
            }
        }
        self.view.store(Arc::new(RingView {
            active: active.and_then(|held| held.signing.clone()),
            published: KeySet::new(keys).map_err(|error| error.to_string())?,
            jwks: jwks.into(),
            algorithms,
        }));
        Ok(())
    }
}

#[cfg(test)]
impl KeyRing {
    /// A ring without keys.
    pub(crate) fn empty_for_test() -> Arc<Self> {
        use crate::limits;

        let kek = Kek::new(zeroize::Zeroizing::new([1; Kek::LENGTH])).unwrap();
        let (after, longest) = (limits::ROTATE_AFTER, limits::MAX_LIFETIME);
        let timing = Timing::new(after, longest, limits::STALENESS).unwrap();
        Arc::new(Self::new(Arc::new(kek), timing))
    }

    /// A ring with one active key, without a store.
    pub(crate) fn for_test(
        algorithm: super::SigningAlgorithm,
        longest_token: std::time::Duration,
    ) -> Arc<Self> {
        use super::stored::entry_key;
        use crate::clock::SystemRandomness;
        use crate::limits;

        let kek = Arc::new(Kek::new(zeroize::Zeroizing::new([1; Kek::LENGTH])).unwrap());
        let timing = Timing::new(limits::ROTATE_AFTER, longest_token, limits::STALENESS).unwrap();
        let ring = Self::new(Arc::clone(&kek), timing);
        let key = SigningKey::generate(algorithm).unwrap();
        let since = jiff::Timestamp::UNIX_EPOCH;
        let member = Member {
            created: since,
            algorithm,
            life: super::Life::Active { since },
            keep: timing.keep(),
        };
        let stored = StoredKey::seal(&key, member, &kek, &SystemRandomness::default()).unwrap();
        let entry = Entry {
            key: entry_key(key.id()).unwrap(),
            value: stored.value().unwrap(),
            modified: 1,
        };
        ring.reset(&[entry]).unwrap();
        Arc::new(ring)
    }
}
