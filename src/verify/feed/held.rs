//! What is held of the feed, and how a message changes it.
//!
//! Checks see one [`View`] at a time, a set of markers with how fresh it is, and never a part of a snapshot: it grows beside
//! the set in use and takes its place whole, so that a token that is revoked by both is refused at every instant. Deltas go
//! into the set in use, each before the freshness that goes with it.

use super::fresh::{Fresh, Pace, Reading};
use super::snapshot::Coming;
use super::told::{Fault, instant, markers, revision};
use crate::clock::Clock;
use crate::limits;
use crate::marker::MarkerSet;
use crate::proto::watch_response::Event;
use crate::proto::{Delta, Heartbeat, SnapshotPart};
use crate::verify::stats::{FeedStats, count};
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::time::Duration;

/// What checks are made against.
#[derive(Debug)]
pub(super) struct View {
    pub(super) markers: Arc<MarkerSet>,
    pub(super) revision: Arc<str>,
    pub(super) fresh: Fresh,
}

/// The view in use, for readers.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) view: ArcSwapOption<View>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stats: FeedStats,
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
    /// Whether what comes continues what is held: the feed began where that ends, or has brought a snapshot.
    joined: bool,
}

/// What a message did.
#[derive(Debug)]
pub(super) enum Done {
    /// It is in force.
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
            joined: resumed,
        }
    }

    pub(super) fn take(&mut self, event: Event) -> Result<Done, Fault> {
        match event {
            Event::Snapshot(part) => self.part(part),
            Event::Delta(delta) => self.delta(delta).map(|()| Done::Applied),
            Event::Heartbeat(beat) => self.beat(beat).map(|()| Done::Applied),
        }
    }

    fn part(&mut self, part: SnapshotPart) -> Result<Done, Fault> {
        let SnapshotPart {
            markers,
            first,
            end,
        } = part;
        // What is held stays in use, and is no longer what this feed goes on from.
        self.joined = false;
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
            fresh: self.pace.receive(instant(end.as_of)?, self.held.now()),
            markers: Arc::new(coming.end(&end)?),
        };
        self.replace(view)
    }

    /// Puts a snapshot in place of what is held, unless it is older: what was revoked in between would pass again. By age as
    /// we count it, or by the broker's own instants, so that two that are of the same one are not told apart by our clocks.
    /// Nothing is lost by staying: the other would be too old for whomever this is too old for.
    fn replace(&mut self, view: View) -> Result<Done, Fault> {
        let now = self.held.now();
        if let Some(old) = &*self.held.view.load()
            && view.fresh.age(now) > old.fresh.age(now)
            && view.fresh.as_of < old.fresh.as_of
        {
            return Err(Fault("a snapshot that is older than what is held"));
        }
        count(&self.held.stats.snapshots);
        self.joined = true;
        Ok(Done::Replaced(self.held.view.swap(Some(Arc::new(view)))))
    }

    fn delta(&mut self, delta: Delta) -> Result<(), Fault> {
        let Delta {
            revision: to,
            markers: bytes,
            as_of,
        } = delta;
        let old = self.held.view.load_full().filter(|_| self.joined);
        let old = old.ok_or(Fault("a change of what was not told"))?;
        let (to, as_of) = (revision(&to)?, instant(as_of)?);
        for marker in markers(&bytes)? {
            old.markers.put(marker);
        }
        if old.markers.len() > self.most {
            return Err(Fault("more markers than are held"));
        }
        self.advance(&old, to, as_of);
        count(&self.held.stats.deltas);
        Ok(())
    }

    fn beat(&mut self, beat: Heartbeat) -> Result<(), Fault> {
        let Heartbeat {
            revision: to,
            as_of,
        } = beat;
        let (to, as_of) = (revision(&to)?, instant(as_of)?);
        // Between the parts of a snapshot it tells that somebody is there, and nothing of what is held.
        if let Some(old) = self.held.view.load_full().filter(|_| self.joined) {
            self.advance(&old, to, as_of);
        }
        Ok(())
    }

    /// Everything up to a revision is in the set: what was told comes in its order.
    fn advance(&mut self, old: &View, to: Arc<str>, as_of: jiff::Timestamp) {
        let now = self.held.now();
        let fresh = self.pace.receive(as_of, now);
        // It may be told by another broker than before, which knows less of when, and not less of what.
        let fresh = if fresh.age(now) <= old.fresh.age(now) {
            fresh
        } else {
            old.fresh
        };
        self.held.view.store(Some(Arc::new(View {
            markers: Arc::clone(&old.markers),
            revision: to,
            fresh,
        })));
    }
}

impl Held {
    /// Drops markers that have ended, some of them. By our clock and by the broker's: one that is ahead would drop markers of
    /// tokens that are alive again once it is set right. Answers whether there may be more.
    pub(super) fn expire(&self) -> bool {
        let view = self.view.load();
        view.as_ref().is_some_and(|view| {
            let now = self.clock.now().min(view.fresh.as_of);
            view.markers.expire(now, limits::MARKERS_EXPIRED)
        })
    }

    /// At most how old what is held is; none before there is anything.
    pub(super) fn age(&self) -> Option<Duration> {
        let view = self.view.load();
        view.as_ref().map(|view| view.fresh.age(self.now()))
    }
}
