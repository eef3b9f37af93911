//! The hot set: markers in force, looked up by what they cover.

use crate::id::{CredentialId, KeyId};
use dashmap::{DashMap, DashSet};
use jiff::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};

/// Everything about an issue that a marker could cover: checked when a credential is presented, and
/// once more by the log writer right before the record is appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    /// Every credential in the ancestry, the presented one and actors included.
    pub credentials: Vec<CredentialId>,
    /// The key that signed the new token and those that signed its ancestors.
    pub keys: Vec<KeyId>,
    /// The earliest `iat` of the tokens that were presented.
    pub issued: Option<Timestamp>,
}

/// Why a fence is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A credential is revoked or suspended, whatever its dates.
    Credential(CredentialId),
    /// A signing key is compromised.
    Key(KeyId),
    /// Every token issued up to this second is cut off.
    CutOff(Timestamp),
}

/// Markers in force. Reads take one shard lock for the time of a look-up, writes likewise.
#[derive(Debug, Default)]
pub struct HotSet {
    credentials: DashMap<CredentialId, Timestamp>,
    /// Credentials that are suspended: as good as revoked until somebody resumes them.
    held: DashSet<CredentialId>,
    keys: DashMap<KeyId, Timestamp>,
    /// The last second whose tokens are cut off; 0, before any token, for none.
    cut_off: AtomicI64,
}

impl HotSet {
    /// Puts a marker in force; `until` is when nothing it covers can be alive any more.
    /// Markers merge by maximum.
    pub fn insert(&self, marker: Marker, until: Timestamp) {
        match marker {
            Marker::Credential(id) => merge(&self.credentials, id, until),
            Marker::Key(id) => merge(&self.keys, id, until),
            // It has no end: what it covers ends by itself.
            Marker::CutOff(at) => {
                self.cut_off.fetch_max(at.as_second(), Ordering::AcqRel);
            }
        }
    }

    /// Suspends a credential until [`HotSet::release`].
    pub fn hold(&self, id: CredentialId) {
        self.held.insert(id);
    }

    /// Ends a suspension. What is revoked stays so.
    pub fn release(&self, id: &CredentialId) {
        self.held.remove(id);
    }

    /// The first marker that covers any part of `fence`.
    #[must_use]
    pub fn covers(&self, fence: &Fence) -> Option<Marker> {
        let last = self.cut_off.load(Ordering::Acquire);
        if let Some(issued) = fence.issued.filter(|issued| issued.as_second() <= last) {
            return Some(Marker::CutOff(
                Timestamp::from_second(last).unwrap_or(issued),
            ));
        }
        let credential = fence.credentials.iter().find(|id| self.credential(id));
        if let Some(id) = credential {
            return Some(Marker::Credential(*id));
        }
        fence
            .keys
            .iter()
            .find(|id| self.keys.contains_key(*id))
            .cloned()
            .map(Marker::Key)
    }

    /// Whether a credential is revoked or suspended.
    #[must_use]
    pub fn credential(&self, id: &CredentialId) -> bool {
        self.credentials.contains_key(id) || self.held.contains(id)
    }

    /// Drops markers whose `until` has passed.
    pub fn expire(&self, now: Timestamp) {
        self.credentials.retain(|_, until| *until > now);
        self.keys.retain(|_, until| *until > now);
    }

    /// How many markers are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        let cut_off = usize::from(self.cut_off.load(Ordering::Acquire) > 0);
        let credentials = self.credentials.len().saturating_add(self.held.len());
        credentials
            .saturating_add(self.keys.len())
            .saturating_add(cut_off)
    }

    /// Whether no marker is in force: a valid set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn merge<K: std::hash::Hash + Eq>(map: &DashMap<K, Timestamp>, key: K, until: Timestamp) {
    map.entry(key)
        .and_modify(|old| *old = (*old).max(until))
        .or_insert(until);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyPublicId;

    #[test]
    fn a_marker_covers_its_credential_and_no_other() {
        let set = HotSet::default();
        let id = |text| CredentialId::ApiKey(KeyPublicId::parse(text).unwrap());
        let (one, two) = (id("aaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbb"));
        set.insert(Marker::Credential(one), Timestamp::from_second(10).unwrap());
        let fence = |credentials| Fence {
            credentials,
            ..Fence::default()
        };
        assert_eq!(
            set.covers(&fence(vec![two, one])),
            Some(Marker::Credential(one))
        );
        assert_eq!(set.covers(&fence(vec![two])), None);
        set.expire(Timestamp::from_second(10).unwrap());
        assert!(set.is_empty());
    }

    #[test]
    fn a_held_credential_is_covered_until_it_is_released_and_a_revoked_one_for_good() {
        let set = HotSet::default();
        let id = CredentialId::ApiKey(KeyPublicId::parse("aaaaaaaaaaaaaaaa").unwrap());
        let fence = Fence {
            credentials: vec![id],
            ..Fence::default()
        };
        set.hold(id);
        assert_eq!(set.covers(&fence), Some(Marker::Credential(id)));
        set.release(&id);
        assert_eq!(set.covers(&fence), None);
        set.insert(Marker::Credential(id), Timestamp::MAX);
        set.hold(id);
        set.release(&id);
        assert_eq!(set.covers(&fence), Some(Marker::Credential(id)));
    }

    #[test]
    fn a_cut_off_covers_tokens_up_to_its_second_and_never_moves_back() {
        let set = HotSet::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let fence = |issued: Option<Timestamp>| Fence {
            issued,
            ..Fence::default()
        };
        assert_eq!(set.covers(&fence(Some(at(1)))), None);
        // Whole seconds count: what was issued later in the same one is cut off too.
        set.insert(Marker::CutOff(at(10)), Timestamp::MAX);
        set.insert(Marker::CutOff(at(9)), Timestamp::MAX);
        set.expire(at(1_000));
        assert_eq!(set.len(), 1);
        for (issued, covered) in [(9, true), (10, true), (11, false)] {
            let marker = set.covers(&fence(Some(at(issued))));
            assert_eq!(
                marker,
                covered.then_some(Marker::CutOff(at(10))),
                "{issued}"
            );
        }
        assert_eq!(set.covers(&fence(None)), None);
    }

    #[test]
    fn markers_merge_by_maximum() {
        let set = HotSet::default();
        let key = KeyId::parse("k").unwrap();
        set.insert(
            Marker::Key(key.clone()),
            Timestamp::from_second(20).unwrap(),
        );
        set.insert(
            Marker::Key(key.clone()),
            Timestamp::from_second(10).unwrap(),
        );
        set.expire(Timestamp::from_second(15).unwrap());
        assert_eq!(
            set.covers(&Fence {
                keys: vec![key.clone()],
                ..Fence::default()
            }),
            Some(Marker::Key(key))
        );
    }
}
