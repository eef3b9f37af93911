//! The hot set: the markers in force on this node, and what has changed of them since the feed last looked.

use crate::id::CredentialId;
use crate::limits;
use crate::marker::{Cover, Fence, Marker, MarkerId, MarkerSet, Part, Second, Thing};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Markers in force. Whoever puts one here and then queues its record for the log has every later issue checked against
/// it (DESIGN.md section 3).
#[derive(Debug, Default)]
pub struct HotSet {
    markers: MarkerSet,
    /// Changes for the feed; none are kept before there is one.
    changes: Mutex<Changes>,
    /// Is told of every change.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Changes {
    told: Option<Vec<Marker>>,
    /// In force whatever is put, because they are not written yet.
    pinned: HashMap<MarkerId, Cover>,
}

impl HotSet {
    /// Puts a marker in force in place of the one of that id, or takes it back where it covers nothing.
    pub fn put(&self, marker: Marker) {
        self.put_with(marker, |_| {});
    }

    /// Puts a marker in force that is not written: whatever is put of its id until [`HotSet::unpin`], it covers as much.
    pub fn pin(&self, marker: Marker) {
        self.put_with(marker, |changes| {
            let none = Cover {
                before: Second::ZERO,
                until: Second::ZERO,
            };
            let cover = changes.pinned.entry(marker.id).or_insert(none);
            *cover = cover.merge(marker.cover);
            if let Some(old) = self.markers.get(&marker.id) {
                *cover = cover.merge(old);
            }
        });
    }

    /// Whether a marker is in force that is not written.
    #[must_use]
    pub fn is_pinned(&self, id: &MarkerId) -> bool {
        self.lock().pinned.contains_key(id)
    }

    /// Everything that was pinned is written.
    pub fn unpin(&self) {
        self.lock().pinned.clear();
    }

    fn put_with(&self, mut marker: Marker, first: impl FnOnce(&mut Changes)) {
        // Held meanwhile, so that changes are told in the order in which they came into force.
        let mut changes = self.lock();
        first(&mut changes);
        if let Some(pinned) = changes.pinned.get(&marker.id) {
            marker.cover = marker.cover.merge(*pinned);
        }
        if self.markers.put(marker) {
            if let Some(told) = changes.told.as_mut() {
                told.push(marker);
            }
            drop(changes);
            self.changed.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is told whenever a marker was put or taken back.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Revokes a thing altogether.
    pub fn revoke(&self, thing: Thing<'_>, until: Second) {
        let cover = Cover::all(until);
        let id = thing.id();
        self.put(Marker { id, cover });
    }

    /// Takes back what was said of a thing.
    pub fn release(&self, thing: Thing<'_>) {
        let (id, cover) = (
            thing.id(),
            Cover {
                before: Second::ZERO,
                until: Second::ZERO,
            },
        );
        self.put(Marker { id, cover });
    }

    /// The first part of a fence that a marker covers.
    #[must_use]
    pub fn covered(&self, fence: &Fence) -> Option<Part> {
        self.markers.covered(fence)
    }

    /// Whether a credential is revoked or suspended.
    #[must_use]
    pub fn credential(&self, id: CredentialId) -> bool {
        self.markers.covers(&Part::absolute(Thing::Credential(id)))
    }

    /// Drops markers that have ended, at most [`limits::MARKERS_EXPIRED`] at once, and answers which.
    pub fn expire(&self, now: Timestamp) -> Vec<MarkerId> {
        self.markers.expire(now, limits::MARKERS_EXPIRED)
    }

    /// The markers.
    #[must_use]
    pub fn markers(&self) -> &MarkerSet {
        &self.markers
    }

    /// What changed since this was last asked, in order; the first time, from when on changes are kept.
    pub fn changes(&self) -> Vec<Marker> {
        let mut changes = self.lock();
        changes.told.replace(Vec::new()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyPublicId;

    #[test]
    fn a_credential_is_covered_until_it_is_released() {
        let set = HotSet::default();
        let id = |text| CredentialId::ApiKey(KeyPublicId::parse(text).unwrap());
        let (one, two) = (id("aaaaaaaaaaaaaaaa"), id("bbbbbbbbbbbbbbbb"));
        set.revoke(Thing::Credential(one), Second::NEVER);
        assert!(set.credential(one) && !set.credential(two));
        let fence = |id| Fence::from_iter([Part::absolute(Thing::Credential(id))]);
        assert!(set.covered(&fence(one)).is_some());
        assert!(set.covered(&fence(two)).is_none());
        set.release(Thing::Credential(one));
        assert!(!set.credential(one));
    }

    #[test]
    fn so_many_end_at_once_and_not_one_more() {
        let set = HotSet::default();
        let end = Second::of(Timestamp::from_second(1).unwrap());
        let later = Timestamp::from_second(1_000).unwrap();
        for n in 0..=limits::MARKERS_EXPIRED {
            set.revoke(Thing::Issuer(&n.to_string()), end);
        }
        assert_eq!(set.expire(later).len(), limits::MARKERS_EXPIRED);
        assert_eq!(set.markers().len(), 1);
        assert_eq!(set.expire(later).len(), 1);
    }

    #[test]
    fn what_is_not_written_stays_in_force_whatever_is_put() {
        let set = HotSet::default();
        let thing = Thing::Issuer("a");
        let marker = |before| Marker {
            id: thing.id(),
            cover: Cover {
                before,
                until: Second::NEVER,
            },
        };
        let before = || set.markers().get(&thing.id()).map(|cover| cover.before);
        set.put(marker(Second::FIRST));
        set.pin(marker(Second::NEVER));
        set.put(marker(Second::FIRST));
        set.release(thing);
        assert_eq!(before(), Some(Second::NEVER));
        set.unpin();
        set.put(marker(Second::FIRST));
        assert_eq!(before(), Some(Second::FIRST));
        set.release(thing);
        assert_eq!(before(), None);
    }

    #[test]
    fn changes_are_told_once_in_order_from_the_first_time_they_are_asked_for() {
        let set = HotSet::default();
        let marker = |thing: Thing<'_>, before| Marker {
            id: thing.id(),
            cover: Cover {
                before,
                until: Second::NEVER,
            },
        };
        let (a, b) = (Thing::Issuer("a"), Thing::Issuer("b"));
        set.put(marker(a, Second::FIRST));
        assert_eq!(set.changes(), []);
        let all = [
            marker(b, Second::NEVER),
            marker(a, Second::NEVER),
            marker(b, Second::ZERO),
        ];
        all.iter().for_each(|marker| set.put(*marker));
        // Nothing new.
        set.put(marker(a, Second::NEVER));
        assert_eq!(set.changes(), all);
        assert_eq!(set.changes(), []);
    }
}
