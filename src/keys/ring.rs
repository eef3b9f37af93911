//! The life cycle of a ring of signing keys, as a value: it is told the time and answers with changes.
//!
//! ```text
//! prepared ──▶ active ──▶ retired ──▶ gone          prepared, active, retired ──▶ compromised
//! (published, (published, (published,               (not published,
//!  unused)     signs)      unused)                   for ever)
//! ```
//!
//! - There is one active key and one spare, always.
//! - A spare becomes active not before every cache can have it ([`Timing::publish_ahead`]). The exceptions: the very
//!   first key, when nobody can have a cached set, and a compromise, when a known-bad key is worse than a cache miss.
//! - A retired key stays published until the last token that it signed has expired everywhere.
//! - A compromised key stays in the ring, by its public half: whoever has the private one signs tokens that end when they
//!   like, and verifiers with a fixed key set learn that they are worth nothing from the marker that follows from it.

use super::SigningAlgorithm;
use crate::id::KeyId;
use crate::limits;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where a key is in its life. A key that is gone has no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Life {
    /// Published since its creation, never used.
    Prepared,
    /// It signs.
    Active {
        /// Since when.
        since: Timestamp,
    },
    /// It signs no more; its tokens still verify.
    Retired {
        /// Since when.
        since: Timestamp,
    },
    /// Somebody else may have it; nothing it signed is believed, for good.
    Compromised {
        /// Since when.
        since: Timestamp,
    },
}

/// A key of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// When it was made, and with that published.
    pub created: Timestamp,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Where it is in its life.
    pub life: Life,
    /// How long it stays once it is retired: the most that any configuration asked for while it signed.
    pub keep: Duration,
}

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a key is published before it signs.
    publish_ahead: Duration,
    /// Age of the active key at which it is replaced.
    rotate_after: Duration,
    /// The longest lifetime of a token that a key of the ring signs.
    longest_token: Duration,
    /// How long a node may go on signing before it learns of a change.
    staleness: Duration,
}

/// Durations that do not fit together.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidTiming {
    /// Keys would be replaced before their successors may sign.
    #[error("keys must be rotated after more than the {} seconds that a successor is published ahead", limits::PUBLISH_AHEAD.as_secs())]
    RotatesTooFast,
    /// No token could be signed.
    #[error("the longest token lifetime must be at least a second")]
    NoLifetime,
}

/// Why the spare does not take over.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotYet {
    /// It may take over from this instant on.
    #[error("the next key may not sign before {0}: caches may not have it")]
    Until(Timestamp),
    /// Too many retired keys are still published.
    #[error("{} keys are published already; one must expire first", limits::PUBLISHED_KEYS)]
    Full,
    /// There is no active key or no spare: the ring is to be settled first.
    #[error("the ring has no spare")]
    NoSpare,
}

/// The ring has no such key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the ring has no such key")]
pub struct UnknownMember;

/// One key's change: its new state, or `None` when it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub id: KeyId,
    /// Its new state.
    pub member: Option<Member>,
}

/// A ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring(BTreeMap<KeyId, Member>);

impl Timing {
    /// Timing of a ring whose tokens live at most `longest_token`, on nodes whose view of it is at most `staleness` old.
    ///
    /// # Errors
    /// [`InvalidTiming`].
    pub fn new(
        rotate_after: Duration,
        longest_token: Duration,
        staleness: Duration,
    ) -> Result<Self, InvalidTiming> {
        if rotate_after <= limits::PUBLISH_AHEAD {
            return Err(InvalidTiming::RotatesTooFast);
        }
        if longest_token < Duration::from_secs(1) {
            return Err(InvalidTiming::NoLifetime);
        }
        Ok(Self {
            publish_ahead: limits::PUBLISH_AHEAD,
            rotate_after,
            longest_token,
            staleness,
        })
    }

    /// The longest lifetime of a token: what a key that is retired a moment later is still published for.
    #[must_use]
    pub fn longest_token(&self) -> Duration {
        self.longest_token
    }

    /// How long a key that signs by this timing stays once it is retired: its tokens' life, what verifiers forgive, and
    /// the time that a node may go on signing before it learns of the change. In whole seconds, as it is stored, rounded up.
    #[must_use]
    pub fn keep(&self) -> Duration {
        let exact = self
            .longest_token
            .saturating_add(limits::LEEWAY)
            .saturating_add(self.staleness);
        let part = u64::from(exact.subsec_nanos() > 0);
        Duration::from_secs(exact.as_secs().saturating_add(part))
    }
}

impl Life {
    /// The name in listings and records.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active { .. } => "active",
            Self::Retired { .. } => "retired",
            Self::Compromised { .. } => "compromised",
        }
    }
}

impl Member {
    /// Whether it is in the published set.
    #[must_use]
    pub fn is_published(&self) -> bool {
        !matches!(self.life, Life::Compromised { .. })
    }

    /// Whether it signs, or is going to.
    #[must_use]
    pub fn may_sign(&self) -> bool {
        matches!(self.life, Life::Prepared | Life::Active { .. })
    }
}

impl Ring {
    /// A ring of these keys.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = (KeyId, Member)>) -> Self {
        Self(members.into_iter().collect())
    }

    /// The keys.
    pub fn members(&self) -> impl Iterator<Item = (&KeyId, &Member)> {
        self.0.iter()
    }

    /// The key that signs: the one that became active last, should there be two for a moment.
    #[must_use]
    pub fn active(&self) -> Option<(&KeyId, &Member)> {
        let since = |member: &Member| match member.life {
            Life::Active { since } => Some(since),
            _ => None,
        };
        let actives = self.0.iter().filter(|(_, member)| since(member).is_some());
        actives.max_by_key(|(_, member)| since(member))
    }

    /// The oldest key that was never used.
    #[must_use]
    pub fn spare(&self) -> Option<(&KeyId, &Member)> {
        let prepared = self.0.iter().filter(|(_, m)| m.life == Life::Prepared);
        prepared.min_by_key(|(_, member)| member.created)
    }

    fn published(&self) -> usize {
        self.0.values().filter(|m| m.is_published()).count()
    }

    /// Brings the ring up to `now`: forgets what nobody needs, replaces an active key that is too old or of another
    /// algorithm, sees that there is one key to sign and one spare. `fresh` makes a key.
    ///
    /// # Errors
    /// As `fresh`.
    pub fn settle<E>(
        &mut self,
        now: Timestamp,
        timing: &Timing,
        algorithm: SigningAlgorithm,
        mut fresh: impl FnMut() -> Result<KeyId, E>,
    ) -> Result<(), E> {
        self.succeed(now, timing, algorithm, &mut fresh)?;
        self.age(now, timing, algorithm);
        self.prepare(now, timing, algorithm, fresh)
    }

    /// Sees that there is one key to sign and one spare, and does nothing that is due by age: for when `now` cannot be
    /// trusted, and what must be done cannot wait.
    ///
    /// # Errors
    /// As `fresh`.
    pub fn mend<E>(
        &mut self,
        now: Timestamp,
        timing: &Timing,
        algorithm: SigningAlgorithm,
        mut fresh: impl FnMut() -> Result<KeyId, E>,
    ) -> Result<(), E> {
        self.succeed(now, timing, algorithm, &mut fresh)?;
        self.prepare(now, timing, algorithm, fresh)
    }

    /// Sees that a key signs, the spare if there is one.
    fn succeed<E>(
        &mut self,
        now: Timestamp,
        timing: &Timing,
        algorithm: SigningAlgorithm,
        fresh: impl FnOnce() -> Result<KeyId, E>,
    ) -> Result<(), E> {
        if self.active().is_none() {
            let life = Life::Active { since: now };
            match self.spare().map(|(id, _)| id.clone()) {
                Some(id) => self.live(&id, life),
                None => self.add(fresh()?, now, timing, algorithm, life),
            }
        }
        Ok(())
    }

    /// Holds what signs, or is going to, against the configuration and a `now` that is trusted.
    fn judge(&mut self, now: Timestamp, timing: &Timing) {
        for member in self.0.values_mut().filter(|member| member.may_sign()) {
            member.keep = member.keep.max(timing.keep());
            // What was mended while the clock was ahead must not wait until the time is what it was taken for.
            member.created = member.created.min(now);
            if let Life::Active { since } = &mut member.life {
                *since = now.min(*since);
            }
        }
    }

    fn age(&mut self, now: Timestamp, timing: &Timing, algorithm: SigningAlgorithm) {
        self.judge(now, timing);
        self.0.retain(|_, member| match member.life {
            Life::Retired { since } => after(since, member.keep) > now,
            // Nothing was ever signed with a spare: another may take its place at once.
            Life::Prepared => member.algorithm == algorithm,
            Life::Active { .. } | Life::Compromised { .. } => true,
        });
        if let Some((_, active)) = self.active()
            && let Life::Active { since } = active.life
            && (after(since, timing.rotate_after) <= now || active.algorithm != algorithm)
        {
            // When it is too early the next settling finds it due again.
            let _ = self.rotate(now, timing);
        }
    }

    fn prepare<E>(
        &mut self,
        now: Timestamp,
        timing: &Timing,
        algorithm: SigningAlgorithm,
        fresh: impl FnOnce() -> Result<KeyId, E>,
    ) -> Result<(), E> {
        if self.spare().is_none() {
            self.add(fresh()?, now, timing, algorithm, Life::Prepared);
        }
        Ok(())
    }

    fn add(
        &mut self,
        id: KeyId,
        now: Timestamp,
        timing: &Timing,
        algorithm: SigningAlgorithm,
        life: Life,
    ) {
        let member = Member {
            created: now,
            algorithm,
            life,
            keep: timing.keep(),
        };
        self.0.insert(id, member);
    }

    /// Lets the spare take over from the active key. To be followed by [`Ring::settle`], which prepares the next one.
    ///
    /// # Errors
    /// [`NotYet`]; the same key signs.
    pub fn rotate(&mut self, now: Timestamp, timing: &Timing) -> Result<(), NotYet> {
        // A key keeps what it has when it is retired: it may have signed by this timing before the ring was settled by it.
        self.judge(now, timing);
        let (Some((active, _)), Some((spare, member))) = (self.active(), self.spare()) else {
            return Err(NotYet::NoSpare);
        };
        let ripe = after(member.created, timing.publish_ahead);
        if ripe > now {
            return Err(NotYet::Until(ripe));
        }
        if self.published() >= limits::PUBLISHED_KEYS {
            return Err(NotYet::Full);
        }
        let (active, spare) = (active.clone(), spare.clone());
        self.live(&active, Life::Retired { since: now });
        self.live(&spare, Life::Active { since: now });
        Ok(())
    }

    /// Takes a key out of publication; one that was taken out stays as it is. Where it was the active one, [`Ring::mend`] lets
    /// the spare take over at once.
    ///
    /// # Errors
    /// [`UnknownMember`].
    pub fn compromise(&mut self, id: &KeyId, now: Timestamp) -> Result<(), UnknownMember> {
        match self.0.get(id) {
            Some(member) if member.is_published() => {
                self.live(id, Life::Compromised { since: now });
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(UnknownMember),
        }
    }

    /// What is different from `old`: keys that sign first, so that a reader in the middle never finds none.
    #[must_use]
    pub fn changes_since(&self, old: &Self) -> Vec<Change> {
        let changed = self.0.iter().filter(|(id, m)| old.0.get(*id) != Some(*m));
        let mut changes: Vec<_> = changed
            .map(|(id, member)| Change {
                id: id.clone(),
                member: Some(*member),
            })
            .collect();
        let signs = |change: &Change| {
            matches!(
                change.member,
                Some(Member {
                    life: Life::Active { .. },
                    ..
                })
            )
        };
        changes.sort_by_key(|change| !signs(change));
        let gone = old.0.keys().filter(|id| !self.0.contains_key(*id));
        changes.extend(gone.map(|id| Change {
            id: id.clone(),
            member: None,
        }));
        changes
    }

    fn live(&mut self, id: &KeyId, life: Life) {
        if let Some(member) = self.0.get_mut(id) {
            member.life = life;
        }
    }
}

fn after(start: Timestamp, duration: Duration) -> Timestamp {
    start.saturating_add(duration).unwrap_or(Timestamp::MAX)
}
