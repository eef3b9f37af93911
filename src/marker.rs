//! Markers: what is revoked, in the form that everybody who checks tokens holds it (DESIGN.md section 4).
//!
//! A marker is an id and a cut-off. The id is deterministic, 128 bits of a hash over what is revoked, so that two who
//! revoke one thing make one marker, and so that a marker tells little to who does not know the thing. What a marker could
//! cover of a token or a caller is its [`Fence`]: a handful of ids, looked up in a [`MarkerSet`].

mod fence;
mod set;
mod thing;
mod wire;

pub use fence::{Fence, Part, TokenParts, subject};
pub use set::MarkerSet;
pub use thing::{Kind, MarkerId, NotAMarkerId, Thing};
pub use wire::{BadMarkers, SIZE as PACKED, pack, unpack};

use crate::limits;
use jiff::Timestamp;

/// A second of Unix time, as markers count: whole, from 1 on. What is later than 2106 is as good as never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Second(u32);

impl Second {
    /// Before everything: the time of what has none. A marker that covers nothing, because it was taken back, has it as its
    /// cut-off.
    pub const ZERO: Self = Self(0);
    /// The first second: when what has no time of its own is taken to begin.
    pub const FIRST: Self = Self(1);
    /// After everything: the cut-off of a ban, and the end of what has none.
    pub const NEVER: Self = Self(u32::MAX);

    /// The second that `at` lies in.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let second = at.as_second().max(1);
        Self(u32::try_from(second).unwrap_or(u32::MAX))
    }

    /// The first second that does not begin before `at`.
    #[must_use]
    pub fn after(at: Timestamp) -> Self {
        let whole = Self::of(at);
        match at.subsec_nanosecond() {
            0 => whole,
            _ => Self(whole.0.saturating_add(1)),
        }
    }

    /// The one after it, of those that are an instant.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1)).min(Self(u32::MAX - 1))
    }

    /// When a marker ends that covers what ends at `end`: as much later as verifiers may forgive.
    #[must_use]
    pub fn end_of(end: Timestamp) -> Self {
        let end = end.saturating_add(limits::VERIFIER_LEEWAY);
        end.map_or(Self::NEVER, Self::after)
    }

    /// The instant; none for [`Second::NEVER`].
    #[must_use]
    pub fn instant(self) -> Option<Timestamp> {
        let is_some = self != Self::NEVER;
        is_some
            .then(|| Timestamp::from_second(i64::from(self.0)).ok())
            .flatten()
    }

    pub(crate) const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    pub(crate) const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }
}

/// How far a marker reaches and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cover {
    /// What began up to this second is revoked: the cut-off. [`Second::NEVER`] covers all of it, [`Second::ZERO`] none.
    pub before: Second,
    /// When nothing that it covers can be alive any more.
    pub until: Second,
}

impl Cover {
    /// Everything, whenever it began.
    #[must_use]
    pub const fn all(until: Second) -> Self {
        let before = Second::NEVER;
        Self { before, until }
    }

    /// Both together: markers merge by maximum.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            before: self.before.max(other.before),
            until: self.until.max(other.until),
        }
    }
}

/// One revocation in force, or, with [`Second::ZERO`] as its cut-off, one that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// What is revoked.
    pub id: MarkerId,
    /// How far.
    pub cover: Cover,
}
