//! Whether the log shows an issue after a revocation that covers it, told from its records alone.
//!
//! The writer holds each issue against what is in force right before it appends it, and a revocation is in force before its
//! record is queued. So a record of an issue after the record of a revocation that covers it says that the writer failed, or
//! that somebody wrote the log who is not it. What is in force is told by these:
//!
//! | record | what it covers | until |
//! |---|---|---|
//! | `marker.set` | a token's descendants, the tokens of a credential, a certificate, a subject, the issuer, a trust domain; each up to its cut-off | its end, or `marker.reinstate` |
//! | `key.suspend` | an API key | `key.resume` |
//! | `key.revoke`, `key.leaked`, `key.rotate` of a key that ends at once | an API key | for good |
//! | `signing_key.compromise` | what the key signed, and what descends from that | for good |
//! | `recovery.accept_rollback` | what was issued up to it | for good |
//!
//! A cut-off is held against `began` of the issue: where an older record does not have that, only a ban covers its subjects.
//! `estate.revoke` says what will be done: each key has a record of its own.
//!
//! A good log is never called bad:
//!
//! - What is taken back is so as soon as the store has it, and its record follows in the order of the store's outbox: an issue
//!   may come in between, also one before a crash after which the record comes. So what can be taken back is only held against
//!   an issue once the log has gone on for [`LAG`] without that record. Until then the issue is in doubt
//!   ([`Revocations::doubt`]), as it may be at the end of any log that somebody copied just now.
//! - What had ended by the time of any record so far covers nothing, also once the clock was set back. Where an operator
//!   confirms the clock, what ends may have ended by the time that it showed before. What is revoked after that is measured by
//!   the clock as it is since.
//! - What comes from the store's outbox may be told late, between records of now: by it no time is counted twice.
//! - Where a rollback is accepted, or a record of the store was unreadable, nobody knows what is still revoked of all before;
//!   nor of what stood in records that were removed.
//!
//! Memory is that of the revocations that are in force at once, at most [`limits::REVOCATIONS_VERIFIED`]: those that have ended
//! are dropped whenever twice as many are held as were left the last time.

mod told;

use crate::audit::record::{BEGUN_ANEW, UNREADABLE};
use crate::audit::{CLOCK_CONFIRMED, MARKER_REINSTATED, MARKER_SET, ROLLBACK_ACCEPTED};
use crate::limits;
use crate::marker::Second;
use jiff::{SignedDuration, Timestamp};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use told::{KeyChange, KeyState, RingChange, RolledBack, Thing, Told};

/// For how long a log goes on until what is not on it by then will not come any more. The outbox is drained in milliseconds,
/// and where the store does not answer for much less than this, nothing is issued.
const LAG: SignedDuration = SignedDuration::from_mins(10);
/// How much of that may pass between two records: a broker that was down did not go on. Records that are earlier than others
/// by no more than that only came past them; by more, the clock was set back.
const STEP: SignedDuration = SignedDuration::from_mins(1);
/// From how many revocations on those that have ended are looked for.
const FEW: usize = 4096;

/// An issue that a revocation covers whose record comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// The record of the issue.
    pub issue: u64,
    /// The record of the revocation.
    pub revocation: u64,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issue, revocation } = self;
        write!(
            f,
            "record {issue} is of a token that was issued although record {revocation}, before it, revokes it"
        )
    }
}

/// What the records that were read say is revoked, and the first issue that follows a revocation that covers it.
#[derive(Clone, Debug)]
pub struct Revocations {
    in_force: HashMap<Thing<'static>, Revoked>,
    /// The first issue after each, of those that may have been taken back by then.
    doubts: HashMap<Thing<'static>, Doubt>,
    late: Option<Late>,
    /// The latest time of any record since the clock was set back.
    latest: Timestamp,
    /// For how long the log goes on.
    age: SignedDuration,
    /// Up to where that is counted.
    counted: Timestamp,
    /// How many are held until those that have ended are looked for.
    full: usize,
    most: usize,
    read: u64,
    left_out: u64,
}

#[derive(Clone, Copy, Debug)]
struct Revoked {
    record: u64,
    before: Second,
    until: Second,
    /// Never taken back.
    for_good: bool,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    late: Late,
    /// The log's age then.
    age: SignedDuration,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::of_at_most(limits::REVOCATIONS_VERIFIED)
    }
}

impl Revocations {
    fn of_at_most(most: usize) -> Self {
        Self {
            in_force: HashMap::new(),
            doubts: HashMap::new(),
            late: None,
            latest: Timestamp::MIN,
            age: SignedDuration::ZERO,
            counted: Timestamp::MIN,
            full: FEW.min(most),
            most,
            read: 0,
            left_out: 0,
        }
    }

    /// Takes the next record, a line without its newline. What is no record tells nothing.
    pub fn read(&mut self, line: &[u8]) {
        // The first one is enough.
        if self.late.is_some() {
            return;
        }
        let Ok(told) = serde_json::from_slice::<Told<'_>>(line) else {
            return;
        };
        self.pass(&told);
        match &*told.kind {
            "issue" => self.issue(&told),
            "refuse" => {}
            "gap" if told.detail.as_deref() == Some(BEGUN_ANEW) => self.forget(),
            _ => self.act(&told),
        }
    }

    /// The first issue that follows a revocation that covers it.
    #[must_use]
    pub fn late(&self) -> Option<Late> {
        self.late
    }

    /// The first issue that follows a revocation that covers it, unless what comes after the last record says that it was
    /// taken back before. None where one is late for certain.
    #[must_use]
    pub fn doubt(&self) -> Option<Late> {
        if self.late.is_some() {
            return None;
        }
        let doubts = self.doubts.values().map(|doubt| doubt.late);
        doubts.min_by_key(|late| late.issue)
    }

    /// How many revocations were read.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.read
    }

    /// How many of them no issue was held against, because there were too many at once.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Time goes by.
    fn pass(&mut self, told: &Told<'_>) {
        let (now, latest) = (told.time, self.latest);
        let is_behind = |time: Timestamp| time.duration_since(now) > STEP;
        self.latest = latest.max(now);
        if is_behind(latest) {
            // What had ended stays so.
            self.in_force.retain(|_, one| !one.has_ended(latest));
            self.latest = now;
        }
        if is_behind(self.counted) && told.store.is_none() {
            self.counted = now;
        }
        if now > self.counted {
            let gone = now.duration_since(self.counted).min(STEP);
            self.age = self.age.saturating_add(gone);
            self.counted = now;
        }
        if self.doubts.is_empty() {
            return;
        }
        let age = self.age;
        let certain = |doubt: &&Doubt| age.saturating_sub(doubt.age) >= LAG;
        let certain = self.doubts.values().filter(certain);
        let first = certain.map(|doubt| doubt.late).min_by_key(|l| l.issue);
        self.late = self.late.or(first);
    }

    /// Nobody knows any more what is revoked.
    fn forget(&mut self) {
        self.in_force.clear();
        self.doubts.clear();
    }

    fn issue(&mut self, told: &Told<'_>) {
        if self.in_force.is_empty() {
            return;
        }
        for (thing, since) in told.parts() {
            // By a shared borrow a key may be looked up that lives less long.
            let in_force: &HashMap<Thing<'_>, Revoked> = &self.in_force;
            let Some(revoked) = in_force.get(&thing).copied() else {
                continue;
            };
            if revoked.before < since || revoked.has_ended(self.latest) {
                continue;
            }
            let late = Late {
                issue: told.seq,
                revocation: revoked.record,
            };
            if revoked.for_good {
                self.late = self.late.or(Some(late));
            } else {
                let age = self.age;
                let doubt = Doubt { late, age };
                self.doubts.entry(thing.owned()).or_insert(doubt);
            }
        }
    }

    fn act(&mut self, told: &Told<'_>) {
        match told.action.as_deref() {
            Some(MARKER_SET) => self.marker(told),
            Some(MARKER_REINSTATED) => {
                if let Some((thing, _)) = told.marker() {
                    self.take_back(&thing);
                }
            }
            Some(ROLLBACK_ACCEPTED) => {
                if let Some(RolledBack { cut_off }) = told.change() {
                    let before = Second::of(cut_off);
                    self.revoke(Thing::Rollback, told.seq, before, Second::NEVER, true);
                }
            }
            Some(CLOCK_CONFIRMED) => {
                self.in_force.retain(|_, one| one.until == Second::NEVER);
                self.latest = told.time;
            }
            Some(UNREADABLE) => self.forget(),
            Some(action) if action.starts_with("key.") => self.key(told),
            Some(action) if action.starts_with("signing_key.") => self.signing_keys(told),
            _ => {}
        }
    }

    fn marker(&mut self, told: &Told<'_>) {
        let Some((thing, change)) = told.marker() else {
            return;
        };
        let second = |at: Option<Timestamp>| at.map_or(Second::NEVER, Second::of);
        let (before, until) = (second(change.before), second(change.until));
        self.revoke(thing.owned(), told.seq, before, until, false);
    }

    fn key(&mut self, told: &Told<'_>) {
        let (Some(credential), Some(change)) = (&told.credential, told.change::<KeyChange>())
        else {
            return;
        };
        let thing = Thing::Credential(Cow::Borrowed(credential));
        let Some(state) = change.state.or(change.old_state) else {
            return;
        };
        let for_good = state == KeyState::Revoked;
        match state {
            KeyState::Active => self.take_back(&thing),
            KeyState::Suspended | KeyState::Revoked => {
                let never = Second::NEVER;
                self.revoke(thing.owned(), told.seq, never, never, for_good);
            }
        }
    }

    fn signing_keys(&mut self, told: &Told<'_>) {
        let Some(RingChange { keys }) = told.change() else {
            return;
        };
        for key in keys.into_iter().filter(|key| key.state == "compromised") {
            let never = Second::NEVER;
            if let Some(thing) = Thing::signing_key(&key.kid) {
                self.revoke(thing, told.seq, never, never, true);
            }
        }
    }

    fn revoke(
        &mut self,
        thing: Thing<'static>,
        record: u64,
        before: Second,
        until: Second,
        for_good: bool,
    ) {
        self.read = self.read.saturating_add(1);
        let mut new = Revoked {
            record,
            before,
            until,
            for_good,
        };
        let latest = self.latest;
        if let Some(old) = self.in_force.get_mut(&thing) {
            if before < old.before {
                self.doubts.remove(&thing);
            }
            // Whatever is said of it once more, it is the first one that must not be followed.
            if before == old.before && for_good == old.for_good && !old.has_ended(latest) {
                new.record = old.record;
            }
            *old = new;
            return;
        }
        if self.in_force.len() >= self.full {
            self.in_force.retain(|_, one| !one.has_ended(latest));
            let twice = self.in_force.len().saturating_mul(2);
            self.full = twice.clamp(FEW.min(self.most), self.most);
        }
        if self.in_force.len() >= self.most {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.in_force.insert(thing, new);
    }

    fn take_back(&mut self, thing: &Thing<'_>) {
        let thing = thing.clone().owned();
        self.in_force.remove(&thing);
        self.doubts.remove(&thing);
    }
}

impl Revoked {
    /// Whether nothing that it covers can be alive by `now`: markers outlive that by what verifiers forgive.
    fn has_ended(&self, now: Timestamp) -> bool {
        let gone = now.saturating_add(limits::VERIFIER_LEEWAY);
        self.until != Second::NEVER && gone.is_ok_and(|gone| Second::of(gone) >= self.until)
    }
}

#[cfg(test)]
mod tests;
