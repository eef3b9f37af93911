//! What is held of the feed, and how a message changes it.
//!
//! Checks see one [`View`] at a time, a set of markers with how fresh it is, and never a part of a snapshot: it grows beside
//! the set in use and takes its place whole, so that a token that is revoked by both is refused at every instant. Deltas go
//! into the set in use, each before the freshness that goes with it.

use super::fresh::{Fresh, Pace, Reading};
use super::snapshot::Coming;
use super::told::{Fault, instant, is_taken_back, markers, revision, view};
use crate::clock::Clock;
use crate::limits;
use crate::limits::nearing::Nearing;
use crate::marker::{Marker, MarkerSet};
use crate::proto::watch_response::Event;
use crate::proto::{Delta, Heartbeat, SnapshotPart};
use crate::verify::stats::{FeedStats, count};
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What checks are made against.
#[derive(Debug)]
pub(super) struct View {
    pub(super) markers: Arc<MarkerSet>,
    pub(super) revision: Arc<str>,
    /// What of all markers they are, as the broker calls it.
    pub(super) of: Arc<[u8]>,
    /// None where the broker was not sure of anything yet.
    pub(super) fresh: Option<Fresh>,
    /// The earliest that it can be by the broker, where it has told.
    pub(super) earliest: Option<Timestamp>,
}

/// The view in use, for readers.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) view: ArcSwapOption<View>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stats: FeedStats,
    /// Whether nearly as many markers are held as may be, whichever feed brought them.
    pub(super) nearing: Nearing,
}

impl Held {
    pub(super) fn now(&self) -> Reading {
        Reading {
            wall: self.clock.now(),
            monotonic: self.clock.monotonic(),
        }
    }
}

/// One feed from its beginning to its end.
pub(super) struct Reader<'a> {
    held: &'a Held,
    most: usize,
    pace: Pace,
    coming: Option<Coming>,
    at: At,
}

/// What comes with a heartbeat, which says that this is all.
struct Beat {
    earliest: Option<Timestamp>,
}

/// What a feed goes on from.
enum At {
    /// Nothing that it has told.
    Nothing,
    /// What is held: it began where that ends, or has brought it.
    Held,
    /// A snapshot that it has brought, which is older than what is held. It may have been made for others a while ago, and
    /// what has changed since follows it: it is put in use once it is no older any more. Until then what was revoked in
    /// between would pass again.
    Behind(Arc<View>),
}

/// What a message did.
#[derive(Debug)]
pub(super) enum Done {
    /// It was taken.
    Applied,
    /// A snapshot has taken the place of this set, which nobody looks at any more; it may be large.
    Replaced(Option<Arc<View>>),
}

impl<'a> Reader<'a> {
    /// A feed that was asked to begin after what is held, or, where `resumed` is false, anew.
    pub(super) fn new(held: &'a Held, most: usize, resumed: bool) -> Self {
        Self {
            held,
            most,
            pace: Pace::default(),
            coming: None,
            at: if resumed { At::Held } else { At::Nothing },
        }
    }

    /// Whether what it brings goes into what is held.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.at, At::Held)
    }

    pub(super) fn take(&mut self, event: Event) -> Result<Done, Fault> {
        let done = match event {
            Event::Snapshot(part) => self.part(part),
            Event::Delta(delta) => self.delta(delta),
            Event::Heartbeat(beat) => self.beat(beat),
        };
        if done.is_ok() {
            self.look_at_size();
        }
        done
    }

    /// Warns before what is told is more than is held: what is known grows stale from then on.
    fn look_at_size(&self) {
        let Some(view) = self.from() else {
            return;
        };
        let (markers, most) = (view.markers.len(), self.most);
        if self.held.nearing.look(markers, most) {
            tracing::warn!(
                markers,
                most,
                "nearly as many revocations are held as may be: past that they grow stale; `most_markers` allows more"
            );
        }
    }

    fn part(&mut self, part: SnapshotPart) -> Result<Done, Fault> {
        let SnapshotPart {
            markers,
            first,
            end,
        } = part;
        // What is held stays in use, and is no longer what this feed goes on from.
        self.at = At::Nothing;
        if first {
            self.coming = Some(Coming::new(self.most));
        }
        let coming = self.coming.as_mut();
        let coming = coming.ok_or(Fault("a part of a snapshot without the first one"))?;
        coming.add(&markers)?;
        let Some(end) = end else {
            return Ok(Done::Applied);
        };
        let coming = self.coming.take();
        let coming = coming.ok_or(Fault("the end of a snapshot that has none"))?;
        let view = View {
            revision: revision(&end.revision)?,
            of: view(&end.view)?,
            fresh: self.fresh(end.as_of)?,
            earliest: None,
            markers: Arc::new(coming.end(&end)?),
        };
        count(&self.held.stats.snapshots);
        let done = self.put(view, View::may_be_older);
        if let At::Behind(view) = &self.at {
            self.cover(|put| view.markers.for_each(|marker, ()| put(marker)))?;
        }
        Ok(done)
    }

    fn delta(&mut self, delta: Delta) -> Result<Done, Fault> {
        let Delta {
            revision: to,
            markers: bytes,
            as_of,
        } = delta;
        let old = self.from().ok_or(Fault("a change of what was not told"))?;
        let (to, fresh) = (revision(&to)?, self.fresh(as_of)?);
        let markers = markers(&bytes)?;
        if matches!(self.at, At::Behind(_)) {
            self.cover(|put| markers.clone().for_each(put))?;
        }
        for marker in markers {
            old.markers.put(marker);
        }
        if old.markers.len() > self.most {
            return Err(Fault("more markers than are held"));
        }
        count(&self.held.stats.deltas);
        Ok(self.advance(&old, to, fresh, None))
    }

    fn beat(&mut self, beat: Heartbeat) -> Result<Done, Fault> {
        let Heartbeat {
            revision: to,
            as_of,
            earliest,
        } = beat;
        let (to, fresh) = (revision(&to)?, self.fresh(as_of)?);
        let earliest = earliest.map(instant).transpose()?;
        // Between the parts of a snapshot it tells that somebody is there, and nothing of what is held.
        Ok(match self.from() {
            Some(old) => self.advance(&old, to, fresh, Some(Beat { earliest })),
            None => Done::Applied,
        })
    }

    /// What is held is not this feed's, but is what is asked: a revocation counts from its coming. What was taken back since is
    /// refused as well, until this feed has caught up.
    fn cover(&self, markers: impl FnOnce(&mut dyn FnMut(Marker))) -> Result<(), Fault> {
        match self.held.cover(markers) > self.most.saturating_mul(2) {
            true => Err(Fault("more markers than are held")),
            false => Ok(()),
        }
    }

    fn from(&self) -> Option<Arc<View>> {
        match &self.at {
            At::Nothing => None,
            At::Held => self.held.view.load_full(),
            At::Behind(view) => Some(Arc::clone(view)),
        }
    }

    /// How fresh something is that has come now; a broker that has just begun may not be sure of anything yet.
    fn fresh(&mut self, as_of: Option<prost_types::Timestamp>) -> Result<Option<Fresh>, Fault> {
        let as_of = as_of.map(instant).transpose()?;
        Ok(as_of.map(|as_of| self.pace.receive(as_of, self.held.now())))
    }

    /// Everything up to a revision is in the set: what is told comes in its order.
    fn advance(
        &mut self,
        old: &View,
        to: Arc<str>,
        fresh: Option<Fresh>,
        beat: Option<Beat>,
    ) -> Done {
        let now = self.held.now();
        // It may be told by another broker than before, which knows less of when, and not less of what.
        let fresh = match (fresh, old.fresh) {
            (Some(new), Some(old)) if new.age(now) > old.age(now) => Some(old),
            // The same instant is no fresher than it was when it came first.
            (Some(new), Some(old)) if new.as_of == old.as_of => Some(old),
            (new, old) => new.or(old),
        };
        let view = View {
            markers: Arc::clone(&old.markers),
            revision: to,
            of: Arc::clone(&old.of),
            fresh,
            earliest: beat.as_ref().map_or(old.earliest, |beat| beat.earliest),
        };
        // Only once all has come that there is is it known to have caught up.
        match &self.at {
            At::Behind(_) if beat.is_none() => {
                self.at = At::Behind(Arc::new(view));
                Done::Applied
            }
            _ => self.put(view, View::is_older),
        }
    }

    /// Puts a view in use, unless it is of another set than what is held and older.
    fn put(&mut self, mut view: View, is_older: fn(&View, &View, Reading) -> bool) -> Done {
        if matches!(self.at, At::Held) {
            self.held.view.store(Some(Arc::new(view)));
            return Done::Applied;
        }
        if let Some(held) = self.held.view.load().as_ref() {
            if is_older(&view, held, self.held.now()) {
                self.at = At::Behind(Arc::new(view));
                return Done::Applied;
            }
            // This feed may not have told the same instant before, and another one has.
            if let (Some(new), Some(old)) = (view.fresh, held.fresh)
                && new.as_of == old.as_of
            {
                view.fresh = Some(old);
            }
        }
        self.at = At::Held;
        Done::Replaced(self.held.view.swap(Some(Arc::new(view))))
    }
}

impl View {
    /// Whether it is older by age as we count it, and by the broker's own instants as well: two that are of the same one are
    /// not told apart by our clocks. Nothing is lost by staying with the other: this would be too old for whomever that is
    /// too old for.
    fn is_older(&self, held: &Self, now: Reading) -> bool {
        match (&self.fresh, &held.fresh) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(this), Some(held)) => this.age(now) > held.age(now) && this.as_of < held.as_of,
        }
    }
}

impl View {
    /// Whether a snapshot is not surely newer than what is held. Instants of the store come once a second, and a broker's clock
    /// may be ahead of ours: an old snapshot can look like a new one.
    fn may_be_older(&self, held: &Self, _now: Reading) -> bool {
        match (&self.fresh, &held.fresh) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(this), Some(held)) => this.as_of <= held.as_of,
        }
    }
}

impl Held {
    /// Has markers cover as much more of what is held. Answers how many that are.
    fn cover(&self, markers: impl FnOnce(&mut dyn FnMut(Marker))) -> usize {
        let view = self.view.load();
        let Some(held) = view.as_ref() else {
            return 0;
        };
        markers(&mut |mut marker| {
            if is_taken_back(&marker) {
                return;
            }
            if let Some(old) = held.markers.get(&marker.id) {
                marker.cover = marker.cover.merge(old);
            }
            held.markers.put(marker);
        });
        held.markers.len()
    }

    /// Drops markers that have ended, some of them. By our clock and by the earliest that it can be by the broker, whose own
    /// may be ahead together with ours: either would drop markers of tokens that are alive again once it is set right. Answers
    /// whether there may be more.
    pub(super) fn expire(&self) -> bool {
        let view = self.view.load();
        let told = view.as_ref().and_then(|view| Some((view, view.earliest?)));
        told.is_some_and(|(view, earliest)| {
            let now = self.clock.now().min(earliest);
            view.markers.expire(now, limits::MARKERS_EXPIRED).len() == limits::MARKERS_EXPIRED
        })
    }

    /// At most how old what is held is; none where that is not known.
    pub(super) fn age(&self) -> Option<Duration> {
        let view = self.view.load();
        let fresh = view.as_ref().and_then(|view| view.fresh);
        fresh.map(|fresh| fresh.age(self.now()))
    }
}
