//! The hot set: the markers in force on this node, what has changed of them since the feed last looked, and which of them the
//! store is not known to have.

use super::View;
use super::partition::{Chosen, Partition, Partitions};
use crate::id::{CredentialId, Tenant};
use crate::limits;
use crate::marker::{Cover, Fence, Marker, MarkerId, MarkerSet, Part, Second, Thing};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Markers in force. Whoever puts one here and then queues its record for the log has every later issue checked against
/// it (DESIGN.md section 3).
#[derive(Debug, Default)]
pub struct HotSet {
    markers: MarkerSet<Partition>,
    partitions: Partitions,
    /// What the feed is to be told, and what of the markers the store is not known to have.
    changes: Mutex<Changes>,
    /// Is told of every change.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Changes {
    /// Which markers changed, and who is to be told. None before there is a feed.
    told: Option<HashMap<MarkerId, Partition>>,
    /// In force whatever is put, because they are not written yet.
    pinned: HashMap<MarkerId, (Cover, Partition)>,
    /// Of these the store is not known to hold as much as is in force, also once they are no longer pinned.
    unknown: HashSet<MarkerId>,
}

impl Changes {
    /// Notes that the store has so much of a marker, while that much is in force.
    fn stores(&mut self, id: &MarkerId, stored: (Cover, Partition), in_force: (Cover, Partition)) {
        if !reaches(stored, in_force) {
            if self.pinned.contains_key(id) {
                self.unknown.insert(*id);
            }
        } else if !self.unknown.is_empty() {
            self.unknown.remove(id);
        }
    }
}

/// Whether one marker is in force as far, and for all for whom the other one is. Their ends tell nothing: what is revoked
/// still has had nothing new since, and so nothing that outlives the first.
fn reaches((cover, of): (Cover, Partition), (other, other_of): (Cover, Partition)) -> bool {
    cover.before >= other.before && of.join(other_of) == of
}

/// Nothing is covered, ever.
const NOTHING: Cover = Cover {
    before: Second::ZERO,
    until: Second::ZERO,
};

impl HotSet {
    /// Puts a marker of no tenant in force, in place of the one of that id, or takes it back where it covers nothing.
    pub fn put(&self, marker: Marker) {
        self.put_of(marker, None);
    }

    /// As [`HotSet::put`], one of a tenant. One that is in force of another tenant, or of none, is of none.
    pub fn put_of(&self, marker: Marker, tenant: Option<&Tenant>) {
        self.put_with(marker, tenant, false);
    }

    /// Puts a marker in force that is not written: whatever is put of its id until [`HotSet::unpin`], it covers as much.
    pub fn pin(&self, marker: Marker, tenant: Option<&Tenant>) {
        self.put_with(marker, tenant, true);
    }

    /// Whether a marker is in force that is not written.
    #[must_use]
    pub fn is_pinned(&self, id: &MarkerId) -> bool {
        self.lock().pinned.contains_key(id)
    }

    /// Whether a marker is in force as far, as the store has it.
    #[must_use]
    pub fn is_stored(&self, marker: &Marker, tenant: Option<&Tenant>) -> bool {
        let wanted = (marker.cover, self.partitions.of(tenant));
        let changes = self.lock();
        let found = self.markers.find(&marker.id);
        found.is_some_and(|found| reaches(found, wanted)) && !changes.unknown.contains(&marker.id)
    }

    /// Everything that was pinned is written.
    pub fn unpin(&self) {
        let mut changes = self.lock();
        for id in std::mem::take(&mut changes.pinned).into_keys() {
            // It has ended meanwhile.
            if self.markers.get(&id).is_none() {
                changes.unknown.remove(&id);
            }
        }
    }

    fn put_with(&self, mut marker: Marker, tenant: Option<&Tenant>, is_pinned: bool) {
        let mut of = self.partitions.of(tenant);
        // Held meanwhile, so that changes are told in the order in which they came into force.
        let mut changes = self.lock();
        let old = self.markers.find(&marker.id);
        let comes = (marker.cover, of);
        if is_pinned && old.is_none_or(|old| !reaches(old, comes)) {
            changes.unknown.insert(marker.id);
        }
        if is_pinned {
            let pinned = changes.pinned.entry(marker.id).or_insert((NOTHING, of));
            let in_force = old.map_or(NOTHING, |(cover, _)| cover);
            pinned.0 = pinned.0.merge(marker.cover).merge(in_force);
            pinned.1 = pinned.1.join(of);
        }
        let mut is_taken_back = marker.cover.before == Second::ZERO;
        if let Some((cover, pinned)) = changes.pinned.get(&marker.id) {
            marker.cover = marker.cover.merge(*cover);
            // What is taken back says nothing of whose it is.
            of = if is_taken_back {
                *pinned
            } else {
                of.join(*pinned)
            };
            is_taken_back = marker.cover.before == Second::ZERO;
        }
        of = match old {
            // Those are told who have it.
            Some((_, old)) if is_taken_back => old,
            Some((_, old)) => of.join(old),
            None => of,
        };
        if !is_pinned {
            changes.stores(&marker.id, comes, (marker.cover, of));
        }
        if let Some(told) = changes.told.as_ref().and_then(|told| told.get(&marker.id)) {
            of = of.join(*told);
        }
        if self.markers.put_with(marker, of) {
            if let Some(told) = changes.told.as_mut() {
                told.insert(marker.id, of);
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

    /// Revokes a thing altogether, for everybody who watches.
    pub fn revoke(&self, thing: Thing<'_>, until: Second) {
        self.revoke_of(thing, until, None);
    }

    /// Revokes a thing altogether that is of a tenant.
    pub fn revoke_of(&self, thing: Thing<'_>, until: Second, tenant: Option<&Tenant>) {
        let cover = Cover::all(until);
        let id = thing.id();
        self.put_of(Marker { id, cover }, tenant);
    }

    /// Takes back what was said of a thing.
    pub fn release(&self, thing: Thing<'_>) {
        let (id, cover) = (thing.id(), NOTHING);
        self.put(Marker { id, cover });
    }

    /// The first part of a fence that a marker covers.
    #[must_use]
    pub fn covered(&self, fence: &Fence) -> Option<Part> {
        self.markers.covered(fence)
    }

    /// As [`MarkerSet::is_too_early`].
    #[must_use]
    pub fn is_too_early(&self, fence: &Fence, began: Second) -> bool {
        self.markers.is_too_early(fence, began)
    }

    /// Whether a credential is revoked or suspended.
    #[must_use]
    pub fn credential(&self, id: CredentialId) -> bool {
        self.markers.covers(&Part::absolute(Thing::Credential(id)))
    }

    /// Drops markers that have ended, at most [`limits::MARKERS_EXPIRED`] at once, and answers which.
    pub fn expire(&self, now: Timestamp) -> Vec<MarkerId> {
        // Held meanwhile, so that none is pinned anew in between.
        let mut changes = self.lock();
        let ended = self.markers.expire(now, limits::MARKERS_EXPIRED);
        if !changes.unknown.is_empty() {
            for id in &ended {
                // What is pinned comes back with whatever is put of it.
                if !changes.pinned.contains_key(id) {
                    changes.unknown.remove(id);
                }
            }
        }
        ended
    }

    /// The markers.
    #[must_use]
    pub fn markers(&self) -> &MarkerSet<Partition> {
        &self.markers
    }

    /// Which markers changed since this was last asked, and who is to be told; the first time, from when on changes are kept.
    pub(super) fn changes(&self) -> HashMap<MarkerId, Partition> {
        let mut changes = self.lock();
        changes.told.replace(HashMap::new()).unwrap_or_default()
    }

    /// What is so of a marker for those who are told of a partition: that it is not in force, where it is another tenant's.
    pub(super) fn told(&self, id: &MarkerId, of: Partition) -> Marker {
        let found = self.markers.find(id);
        let theirs = found.filter(|(_, is)| *is == Partition::SHARED || *is == of);
        let cover = theirs.map_or(NOTHING, |(cover, _)| cover);
        Marker { id: *id, cover }
    }

    pub(super) fn chosen(&self, view: &View) -> Chosen {
        self.partitions.chosen(view)
    }
}

#[cfg(test)]
mod stress;

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
        set.pin(marker(Second::NEVER), None);
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
    fn what_is_pinned_is_stored_only_once_as_much_is_put() {
        let set = HotSet::default();
        let (one, other) = (tenant("one"), tenant("other"));
        let thing = Thing::Issuer("a");
        let (some, all) = (marker(thing, Second::FIRST), marker(thing, Second::NEVER));
        set.pin(all, None);
        assert!(!set.is_stored(&all, None) && !set.is_stored(&some, Some(&one)));
        // Less, and for fewer.
        set.put(some);
        set.put_of(all, Some(&one));
        set.release(thing);
        assert!(!set.is_stored(&all, None) && !set.is_stored(&some, Some(&one)));
        // Nor is it because what else was pinned is written.
        set.unpin();
        assert!(!set.is_stored(&all, None));
        set.pin(all, None);
        assert!(!set.is_stored(&all, None));
        set.put(all);
        assert!(set.is_stored(&all, None) && set.is_stored(&some, Some(&other)));
        // What is known to be stored stays so, until it is taken back there.
        set.pin(some, None);
        assert!(set.is_stored(&all, None));
        set.release(thing);
        assert!(!set.is_stored(&all, None) && !set.is_stored(&some, None));
        set.unpin();
        assert!(!set.is_stored(&all, None));
        set.put(some);
        assert!(set.is_stored(&some, None) && !set.is_stored(&all, None));
        set.release(thing);
        assert!(!set.is_stored(&some, None));
    }

    /// As long as that is not written; another that is stored is not it.
    #[test]
    fn what_was_pinned_when_it_ended_is_not_stored_because_less_is_put() {
        let set = HotSet::default();
        let thing = Thing::Issuer("a");
        let second = |second| Second::of(Timestamp::from_second(second).unwrap());
        let ends = |before, at| {
            let (id, until) = (thing.id(), second(at));
            let cover = Cover { before, until };
            Marker { id, cover }
        };
        let (all, some) = (ends(Second::NEVER, 100), ends(Second::FIRST, 2_000));
        set.pin(all, None);
        assert_eq!(set.expire(Timestamp::from_second(1_000).unwrap()).len(), 1);
        set.put(some);
        assert!(!set.is_stored(&all, None));
        set.unpin();
        assert!(!set.is_stored(&all, None));
        // Nothing is kept of what ended while it was pinned.
        let other = Thing::Issuer("b").id();
        let cover = all.cover;
        set.pin(Marker { id: other, cover }, None);
        set.expire(Timestamp::from_second(1_000).unwrap());
        set.unpin();
        assert!(!set.lock().unknown.contains(&other));
    }

    #[test]
    fn a_tenants_marker_that_is_stored_is_not_everybodys() {
        let set = HotSet::default();
        let (one, other) = (tenant("one"), tenant("other"));
        let marker = marker(Thing::Issuer("a"), Second::NEVER);
        set.put_of(marker, Some(&one));
        assert!(set.is_stored(&marker, Some(&one)));
        assert!(!set.is_stored(&marker, Some(&other)) && !set.is_stored(&marker, None));
    }

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    fn marker(thing: Thing<'_>, before: Second) -> Marker {
        let (id, until) = (thing.id(), Second::NEVER);
        let cover = Cover { before, until };
        Marker { id, cover }
    }

    #[test]
    fn what_changed_is_told_once_from_the_first_time_it_is_asked_for() {
        let set = HotSet::default();
        let (a, b) = (Thing::Issuer("a"), Thing::Issuer("b"));
        set.put(marker(a, Second::FIRST));
        assert!(set.changes().is_empty());
        for one in [
            marker(b, Second::NEVER),
            marker(a, Second::NEVER),
            marker(b, Second::ZERO),
        ] {
            set.put(one);
        }
        let shared = |thing: Thing<'_>| (thing.id(), Partition::SHARED);
        assert_eq!(set.changes(), HashMap::from([a, b].map(shared)));
        // Nothing new.
        set.put(marker(a, Second::NEVER));
        assert!(set.changes().is_empty());
    }

    #[test]
    fn a_tenants_marker_that_is_not_written_stays_the_tenants_whatever_is_put() {
        let set = HotSet::default();
        let one = tenant("one");
        let thing = Thing::Issuer("a");
        let (id, cover) = (thing.id(), Cover::all(Second::NEVER));
        set.pin(Marker { id, cover }, Some(&one));
        // As of a key that is loaded again, and is not known to be revoked.
        set.release(thing);
        let (_, of) = set.markers.find(&id).unwrap();
        assert_eq!(of, set.partitions.of(Some(&one)));
    }

    #[test]
    fn what_is_of_a_tenant_is_told_to_those_who_have_it() {
        let set = HotSet::default();
        let thing = Thing::Issuer("a");
        let (one, other) = (tenant("one"), tenant("other"));
        let of = |tenant| set.partitions.of(Some(tenant));
        let told = || set.changes().get(&thing.id()).copied();
        set.changes();
        set.put_of(marker(thing, Second::NEVER), Some(&one));
        assert_eq!(told(), Some(of(&one)));
        // It is taken back, by whomever.
        set.release(thing);
        assert_eq!(told(), Some(of(&one)));
        // Both at once, of two tenants: those who had it are told, and those who have it now.
        set.put_of(marker(thing, Second::NEVER), Some(&one));
        set.release(thing);
        set.put_of(marker(thing, Second::NEVER), Some(&other));
        assert_eq!(told(), Some(Partition::SHARED));
        let found = set.markers().find(&thing.id()).unwrap();
        assert_eq!(found.1, Partition::SHARED);
    }

    #[test]
    fn what_is_put_with_a_tenant_and_without_is_of_none() {
        let (one, other) = (tenant("one"), tenant("other"));
        let both = [
            (Some(&one), None),
            (None, Some(&one)),
            (Some(&one), Some(&other)),
        ];
        for (first, second) in both {
            for is_pinned in [false, true] {
                let set = HotSet::default();
                set.changes();
                let marker = marker(Thing::Issuer("a"), Second::NEVER);
                match is_pinned {
                    true => set.pin(marker, first),
                    false => set.put_of(marker, first),
                }
                set.changes();
                set.put_of(marker, second);
                let told = set.changes();
                // Whoever was not told of it is told now.
                let is_news = first.is_some();
                assert_eq!(told.contains_key(&marker.id), is_news);
                let (_, is) = set.markers().find(&marker.id).unwrap();
                assert_eq!(is, Partition::SHARED, "{first:?} {second:?}");
            }
        }
    }

    /// What is told of it may be made a moment after it changed.
    #[test]
    fn nobody_is_told_of_a_marker_that_has_become_another_tenants() {
        let set = HotSet::default();
        let (one, other) = (tenant("one"), tenant("other"));
        let marker = marker(Thing::Issuer("a"), Second::NEVER);
        set.put_of(marker, Some(&one));
        let told = |tenant| set.told(&marker.id, set.partitions.of(tenant)).cover;
        assert_eq!(told(Some(&one)), marker.cover);
        assert_eq!(told(Some(&other)), NOTHING);
        assert_eq!(told(None), NOTHING);
        set.put(marker);
        assert_eq!(told(Some(&other)), marker.cover);
    }
}
