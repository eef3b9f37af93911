//! The hot set: markers in force, looked up by what they cover.

use crate::id::{CredentialId, KeyId};
use dashmap::DashMap;
use jiff::Timestamp;

/// Everything about an issue that a marker could cover: checked when a credential is presented, and
/// once more by the log writer right before the record is appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    /// Every credential in the ancestry, the presented one and actors included.
    pub credentials: Vec<CredentialId>,
    /// The key that signed the new token and those that signed its ancestors.
    pub keys: Vec<KeyId>,
}

/// Why a fence is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A credential is revoked, whatever its dates.
    Credential(CredentialId),
    /// A signing key is compromised.
    Key(KeyId),
}

/// Markers in force. Reads take one shard lock for the time of a look-up, writes likewise.
#[derive(Debug, Default)]
pub struct HotSet {
    credentials: DashMap<CredentialId, Timestamp>,
    keys: DashMap<KeyId, Timestamp>,
}

impl HotSet {
    /// Puts a marker in force; `until` is when nothing it covers can be alive any more.
    /// Markers merge by maximum.
    pub fn insert(&self, marker: Marker, until: Timestamp) {
        match marker {
            Marker::Credential(id) => merge(&self.credentials, id, until),
            Marker::Key(id) => merge(&self.keys, id, until),
        }
    }

    /// The first marker that covers any part of `fence`.
    #[must_use]
    pub fn covers(&self, fence: &Fence) -> Option<Marker> {
        let credential = fence
            .credentials
            .iter()
            .find(|id| self.credentials.contains_key(id));
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

    /// Whether a credential is revoked.
    #[must_use]
    pub fn credential(&self, id: &CredentialId) -> bool {
        self.credentials.contains_key(id)
    }

    /// Drops markers whose `until` has passed.
    pub fn expire(&self, now: Timestamp) {
        self.credentials.retain(|_, until| *until > now);
        self.keys.retain(|_, until| *until > now);
    }

    /// How many markers are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.credentials.len().saturating_add(self.keys.len())
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
