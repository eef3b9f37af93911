//! A set of markers, shared by those who check and those who revoke.

use super::{Cover, Fence, Marker, MarkerId, Part, Second};
use dashmap::DashMap;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the map is divided: no part is large, so that none takes long to grow while others wait for it.
const SHARDS: usize = 4096;
/// Markers whose ends lie within so many seconds are dropped together.
const SLOT: u32 = 16;

/// Markers in force, each with something small that is kept beside its cover. A check takes one short lock for each part of
/// its fence; it sees every marker that was put before it began.
#[derive(Debug)]
pub struct MarkerSet<T = ()> {
    covers: DashMap<MarkerId, (Cover, T), BuildHasherDefault<AsItIs>>,
    /// Held while a marker changes, so that it knows each where it is.
    due: Mutex<Due>,
}

/// The ids by when they end, so that those that end are found without looking at the others. Each is there once, however
/// often its marker is prolonged, taken back and put again.
#[derive(Debug, Default)]
struct Due {
    ids: BTreeSet<(u32, MarkerId)>,
    /// The slots of those that were taken back: they are told of at their end, too.
    taken_back: HashMap<MarkerId, u32, BuildHasherDefault<AsItIs>>,
}

impl<T> Default for MarkerSet<T> {
    fn default() -> Self {
        let hasher = BuildHasherDefault::default();
        Self {
            covers: DashMap::with_hasher_and_shard_amount(hasher, SHARDS),
            due: Mutex::default(),
        }
    }
}

impl MarkerSet {
    /// Puts a marker in force in place of the one of that id, or takes it back where it covers nothing. Answers whether
    /// that changed anything.
    pub fn put(&self, marker: Marker) -> bool {
        self.put_with(marker, ())
    }
}

impl<T: Copy + PartialEq> MarkerSet<T> {
    /// As [`MarkerSet::put`], with what is kept beside it.
    pub fn put_with(&self, marker: Marker, beside: T) -> bool {
        let Marker { id, cover } = marker;
        let is_nothing = cover.before == Second::ZERO;
        let mut due = self.due();
        let old = match is_nothing {
            true => self.covers.remove(&id).map(|(_, old)| old),
            false => self.covers.insert(id, (cover, beside)),
        };
        due.change(
            id,
            old.and_then(|(old, _)| end(old)),
            end(cover),
            is_nothing,
        );
        drop(due);
        match is_nothing {
            true => old.is_some(),
            false => old != Some((cover, beside)),
        }
    }

    /// What is in force of an id.
    #[must_use]
    pub fn get(&self, id: &MarkerId) -> Option<Cover> {
        self.find(id).map(|(cover, _)| cover)
    }

    /// What is in force of an id, and what is kept beside it.
    #[must_use]
    pub fn find(&self, id: &MarkerId) -> Option<(Cover, T)> {
        self.covers.get(id).map(|found| *found)
    }

    /// The first part of a fence that a marker covers.
    #[must_use]
    pub fn covered(&self, fence: &Fence) -> Option<Part> {
        let mut parts = fence.parts().iter();
        parts.find(|part| self.covers(part)).copied()
    }

    /// Whether all that covers a fence are cut-offs of this second or the next one, of what began at `began` itself: not a ban, nor
    /// a marker of anything that began before. What begins in a moment is covered by none.
    #[must_use]
    pub fn is_too_early(&self, fence: &Fence, began: Second) -> bool {
        fence.parts().iter().all(|part| {
            let cover = self.get(&part.id);
            cover.is_none_or(|cover| {
                cover.before < part.since || (part.since >= began && cover.before <= began.next())
            })
        })
    }

    /// Whether a marker covers this.
    #[must_use]
    pub fn covers(&self, part: &Part) -> bool {
        let found = self.covers.get(&part.id);
        found.is_some_and(|found| found.0.before >= part.since)
    }

    /// Drops markers that have ended by `now`, at most `most` at once, and answers which: those that were taken back before
    /// are among them. Where it answers with fewer, there are no more.
    pub fn expire(&self, now: Timestamp, most: usize) -> Vec<MarkerId> {
        let last = slot(Second::of(now));
        let mut due = self.due();
        let mut ended = Vec::new();
        while ended.len() < most {
            let Some(id) = due.take_before(last) else {
                break;
            };
            // Never one that is still in force, whatever was noted of it.
            let has_ended = |_: &MarkerId, found: &(Cover, T)| slot(found.0.until) < last;
            if self.covers.remove_if(&id, has_ended).is_some() || !self.covers.contains_key(&id) {
                ended.push(id);
            }
        }
        ended
    }

    /// Calls `each` with every marker in force and what is kept beside it, in no order. What is put meanwhile may be among
    /// them.
    pub fn for_each(&self, mut each: impl FnMut(Marker, T)) {
        for entry in &self.covers {
            let (id, (cover, beside)) = (*entry.key(), *entry.value());
            each(Marker { id, cover }, beside);
        }
    }

    /// How many markers are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.covers.len()
    }

    /// Whether no marker is in force: a valid set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.covers.is_empty()
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Due {
    /// An id that was in force until the slot `old` ends with `new` now, or was taken back.
    fn change(&mut self, id: MarkerId, old: Option<u32>, new: Option<u32>, is_nothing: bool) {
        let old = old.or_else(|| self.taken_back.remove(&id));
        if old != new {
            if let Some(old) = old {
                self.ids.remove(&(old, id));
            }
            if let Some(new) = new {
                self.ids.insert((new, id));
            }
        }
        if let Some(new) = new.filter(|_| is_nothing) {
            self.taken_back.insert(id, new);
        }
    }

    /// Takes an id out that ends before a slot.
    fn take_before(&mut self, slot: u32) -> Option<MarkerId> {
        let (due, id) = *self.ids.first()?;
        if due >= slot {
            return None;
        }
        self.ids.pop_first();
        self.taken_back.remove(&id);
        Some(id)
    }
}

/// The slot in which a cover ends; none where it does not.
fn end(cover: Cover) -> Option<u32> {
    let ends = cover.until != Second::NEVER && cover.until != Second::ZERO;
    ends.then(|| slot(cover.until))
}

/// The slot that a second lies in. What lies in an earlier one than now's has ended.
fn slot(until: Second) -> u32 {
    u32::from_be_bytes(until.to_bytes()) / SLOT
}

/// Takes 64 bits as they are: ids are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Thing};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn second(second: i64) -> Second {
        Second::of(at(second))
    }

    fn marker(thing: Thing<'_>, before: Second, until: Second) -> Marker {
        let cover = Cover { before, until };
        Marker {
            id: thing.id(),
            cover,
        }
    }

    const ISSUER: Thing<'static> = Thing::Issuer("a");

    #[test]
    fn a_cut_off_covers_what_began_up_to_its_second() {
        let set = MarkerSet::default();
        let part = |second| Part::dated(ISSUER, at(second));
        assert!(!set.covers(&part(1)));
        assert!(set.put(marker(ISSUER, second(10), Second::NEVER)));
        assert!(!set.put(marker(ISSUER, second(10), Second::NEVER)));
        for (began, covered) in [(9, true), (10, true), (11, false)] {
            assert_eq!(set.covers(&part(began)), covered, "{began}");
        }
        // A ban covers what is yet to begin.
        set.put(marker(ISSUER, Second::NEVER, Second::NEVER));
        assert!(set.covers(&part(i64::from(u32::MAX))));
        assert!(set.put(marker(ISSUER, Second::ZERO, Second::NEVER)));
        assert!(!set.covers(&part(1)) && set.is_empty());
        assert!(!set.put(marker(ISSUER, Second::ZERO, Second::NEVER)));
    }

    #[test]
    fn what_has_no_time_is_covered_by_any_cut_off_but_one_taken_back() {
        let set = MarkerSet::default();
        let part = Part::absolute(ISSUER);
        set.put(marker(ISSUER, Second::ZERO, Second::NEVER));
        assert!(!set.covers(&part));
        set.put(marker(ISSUER, Second::FIRST, Second::NEVER));
        assert!(set.covers(&part));
    }

    #[test]
    fn the_first_part_that_is_covered_is_named() {
        let set = MarkerSet::default();
        let fence: Fence = [Part::absolute(Thing::Issuer("b")), Part::absolute(ISSUER)]
            .into_iter()
            .collect();
        assert_eq!(set.covered(&fence), None);
        set.put(marker(ISSUER, Second::NEVER, Second::NEVER));
        let found = set.covered(&fence).unwrap();
        assert_eq!((found.id, found.kind), (ISSUER.id(), Kind::Issuer));
    }

    #[test]
    fn too_early_is_what_only_cut_offs_cover_and_only_by_its_own_time() {
        let (older, own, later) = (second(9), second(10), second(11));
        let subject = Thing::Subject("a", "b");
        // The cut-off of the issuer, since when that is looked at, and the cut-off of a subject that began at nine.
        for (issuer, since, others, expected) in [
            (own, 10, Second::ZERO, true),
            (later, 10, Second::ZERO, true),
            (second(12), 10, Second::ZERO, false),
            (own, 9, Second::ZERO, false),
            (older, 9, Second::ZERO, false),
            (Second::NEVER, 10, Second::ZERO, false),
            (own, 10, second(8), true),
            (own, 10, older, false),
            (Second::ZERO, 10, Second::ZERO, true),
        ] {
            let set = MarkerSet::default();
            set.put(marker(ISSUER, issuer, Second::NEVER));
            set.put(marker(subject, others, Second::NEVER));
            let parts = [Part::dated(ISSUER, at(since)), Part::dated(subject, at(9))];
            let fence: Fence = parts.into_iter().collect();
            let is_too_early = set.is_too_early(&fence, own);
            assert_eq!(is_too_early, expected, "{issuer:?} {since} {others:?}");
        }
    }

    #[test]
    fn markers_end_in_their_own_time_however_they_were_prolonged() {
        let set = MarkerSet::default();
        let all = ["a", "b", "c"].map(Thing::Issuer);
        let [early, prolonged, lasting] = all;
        set.put(marker(early, Second::NEVER, second(100)));
        set.put(marker(prolonged, Second::NEVER, second(100)));
        set.put(marker(prolonged, Second::NEVER, second(200)));
        set.put(marker(lasting, Second::NEVER, Second::NEVER));
        // Not before its end, wherever in a slot that lies.
        assert_eq!(set.expire(at(100), 10), []);
        assert_eq!(set.len(), 3);
        assert_eq!(set.expire(at(116), 10), [early.id()]);
        assert_eq!(set.get(&early.id()), None);
        assert!(set.get(&prolonged.id()).is_some());
        assert_eq!(set.expire(at(1_000), 10), [prolonged.id()]);
        assert_eq!(set.len(), 1);
        assert!(set.get(&lasting.id()).is_some());
    }

    #[test]
    fn so_many_end_at_once_and_not_one_more() {
        let set = MarkerSet::default();
        for n in 0..5_u8 {
            let id = MarkerId::new([n; 16]);
            let cover = Cover::all(second(1));
            set.put(Marker { id, cover });
        }
        assert_eq!(set.expire(at(1_000), 4).len(), 4);
        assert_eq!(set.len(), 1);
        assert_eq!(set.expire(at(1_000), 4).len(), 1);
        assert!(set.is_empty() && set.expire(at(1_000), 4).is_empty());
    }

    /// How many ids are known to end.
    fn due(set: &MarkerSet) -> usize {
        let due = set.due();
        assert!(due.taken_back.len() <= due.ids.len());
        due.ids.len()
    }

    #[test]
    fn an_id_is_due_once_however_often_its_end_moves() {
        let set = MarkerSet::default();
        let of = |before, until| marker(ISSUER, before, second(until));
        for n in 1..10_000 {
            // Later each time, to and fro, and taken back at one end and put again with another.
            set.put(of(Second::NEVER, n * 16));
            assert_eq!(due(&set), 1);
            set.put(of(Second::NEVER, 160_000 + n % 2 * 16));
            set.put(of(Second::ZERO, 160_000 + n % 3 * 16));
            assert_eq!(due(&set), 1);
        }
        assert!(set.is_empty());
        // What does not end, and what is taken back for good, is not waited for.
        set.put(of(Second::NEVER, 100));
        set.put(marker(ISSUER, Second::NEVER, Second::NEVER));
        assert_eq!(due(&set), 0);
        set.put(of(Second::NEVER, 100));
        set.put(marker(ISSUER, Second::ZERO, Second::ZERO));
        assert_eq!(due(&set), 0);
        set.put(of(Second::ZERO, 100));
        set.put(of(Second::NEVER, 50));
        assert_eq!(set.expire(at(90), 10), [ISSUER.id()]);
        assert_eq!(due(&set), 0);
    }

    #[test]
    fn what_was_prolonged_costs_those_that_end_nothing() {
        let set = MarkerSet::default();
        let id = |n: u16| {
            let mut bits = [0; 16];
            bits[..2].copy_from_slice(&n.to_be_bytes());
            MarkerId::new(bits)
        };
        let put = |n, until| {
            let cover = Cover::all(second(until));
            set.put(Marker { id: id(n), cover });
        };
        for n in 0..1_000 {
            put(n, 100);
        }
        for n in 5..1_000 {
            put(n, 10_000);
        }
        // Each step takes as many out as it tells of, and looks at no other.
        assert_eq!(due(&set), 1_000);
        assert_eq!(set.expire(at(1_000), 2), [id(0), id(1)]);
        assert_eq!((due(&set), set.len()), (998, 998));
        assert_eq!(set.expire(at(1_000), 4), [id(2), id(3), id(4)]);
        assert_eq!((due(&set), set.len()), (995, 995));
    }

    #[test]
    fn what_was_taken_back_ends_too() {
        let set = MarkerSet::default();
        set.put(marker(ISSUER, Second::ZERO, second(100)));
        assert!(set.is_empty());
        assert_eq!(set.expire(at(1_000), 4), [ISSUER.id()]);
    }

    #[test]
    fn what_is_kept_beside_a_marker_changes_with_it() {
        let set = MarkerSet::<u16>::default();
        let marker = marker(ISSUER, Second::NEVER, Second::NEVER);
        assert!(set.put_with(marker, 1));
        assert!(!set.put_with(marker, 1));
        assert!(set.put_with(marker, 2));
        assert_eq!(set.find(&marker.id), Some((marker.cover, 2)));
        let mut all = Vec::new();
        set.for_each(|marker, beside| all.push((marker, beside)));
        assert_eq!(all, [(marker, 2)]);
        // Ten million stay under a gigabyte: so much in the table, and what says when they end.
        assert_eq!(size_of::<(MarkerId, (Cover, u16))>(), 28);
    }

    /// Whoever is told that a marker is in force finds it, whatever else happens to the set.
    #[test]
    fn no_check_that_begins_after_a_marker_was_put_misses_it() {
        use std::sync::atomic::{AtomicU64, Ordering};
        const COUNT: u64 = 10_000;
        let of = |salt: u8, number: u64| {
            let mut bits = [salt; 16];
            let places = bits.iter_mut().zip(number.to_le_bytes());
            places.for_each(|(bit, byte)| *bit = byte);
            MarkerId::new(bits)
        };
        let marker = |id, before, until| Marker {
            id,
            cover: Cover { before, until },
        };
        let (set, told) = (MarkerSet::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=COUNT {
                    set.put(marker(of(0, number), Second::NEVER, second(2_000)));
                    told.store(number, Ordering::Release);
                }
            });
            // Others come and go, end, and make the map grow and shrink.
            scope.spawn(|| {
                for number in 1..=COUNT {
                    set.put(marker(of(1, number), Second::NEVER, second(100)));
                    set.put(marker(of(1, number / 2), Second::ZERO, second(100)));
                    set.expire(at(1_000), 8);
                }
            });
            for reader in 0..2 {
                let (set, told) = (&set, &told);
                scope.spawn(move || {
                    let mut number = reader;
                    loop {
                        let last = told.load(Ordering::Acquire);
                        for number in [last, number % last.max(1)] {
                            let part = Part::known(of(0, number), Kind::Token, Second::FIRST);
                            assert!(number == 0 || set.covers(&part), "{number} of {last}");
                        }
                        number = number
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        if last == COUNT {
                            return;
                        }
                    }
                });
            }
        });
    }
}
