//! Which refusals are recorded one by one, and the count of the rest.

use super::context::Context;
use super::record::Group;
use super::stats::Stats;
use crate::authn::Rejected;
use crate::limits;
use crate::refusal::Code;
use ipnet::IpNet;
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Length of the window in which [`limits::REFUSALS_PER_SECOND`] are recorded one by one.
const WINDOW: Duration = Duration::from_secs(1);
/// Prefix lengths that stand for one source: what one site usually has. Indexes find networks by them.
pub(super) const V4_PREFIX: u8 = 24;
pub(super) const V6_PREFIX: u8 = 48;

/// The rate and the table. A lock held for a look-up; the path of issues does not come here.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<State>);

#[derive(Debug)]
struct State {
    window: Duration,
    recorded: u32,
    since: Timestamp,
    groups: HashMap<Reason, u64>,
    known: Vec<(Note, Reason)>,
    strangers: Vec<(Note, Reason)>,
}

/// What a summary counts by: a code and the network that it went to.
pub(super) type Reason = (Code, Option<IpNet>);

impl State {
    fn count(&mut self, code: Code, source: Option<IpAddr>) -> Reason {
        self.add((code, source.and_then(network)), 1)
    }

    /// Past [`limits::REFUSAL_GROUPS`], by the code only.
    fn add(&mut self, mut reason: Reason, more: u64) -> Reason {
        if self.groups.len() >= limits::REFUSAL_GROUPS && !self.groups.contains_key(&reason) {
            reason.1 = None;
        }
        let count = self.groups.entry(reason).or_default();
        *count = count.saturating_add(more);
        reason
    }
}

/// What a record tells that nobody waits for: counted again where it is not written, so that a summary that is lost does not
/// lose its thousands.
#[derive(Debug)]
pub(super) struct Telling {
    refusals: Arc<Refusals>,
    since: Timestamp,
    groups: Vec<Group>,
    is_summary: bool,
}

impl Telling {
    /// One refusal, told by itself.
    pub(super) fn one(
        refusals: &Arc<Refusals>,
        time: Timestamp,
        code: Code,
        source: Option<IpAddr>,
    ) -> Self {
        let group = Group {
            code,
            network: source.and_then(network),
            count: 1,
        };
        Self {
            refusals: Arc::clone(refusals),
            since: time,
            groups: vec![group],
            is_summary: false,
        }
    }

    /// All that were counted since.
    pub(super) fn summary(refusals: &Arc<Refusals>, since: Timestamp, groups: &[Group]) -> Self {
        Self {
            refusals: Arc::clone(refusals),
            since,
            groups: groups.to_vec(),
            is_summary: true,
        }
    }

    /// Leaves it to the next summary.
    pub(super) fn take_back(self, stats: &Stats) {
        if !self.is_summary {
            stats.dropped.fetch_add(1, Ordering::Relaxed);
            stats.summarised.fetch_add(1, Ordering::Relaxed);
        }
        let mut state = self.refusals.lock();
        state.since = state.since.min(self.since);
        for group in self.groups {
            state.add((group.code, group.network), group.count);
        }
    }
}

/// A request that failed authentication, to be recorded or counted later.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) time: Timestamp,
    pub(super) rejected: Rejected,
    pub(super) context: Context,
}

impl Note {
    /// Whether it is about a credential that exists, or from a peer that the connection identifies.
    pub(super) fn is_known(&self) -> bool {
        self.rejected.is_registered | self.context.peer.is_identified()
    }
}

impl Refusals {
    pub(super) fn new(now: Timestamp) -> Self {
        Self(Mutex::new(State {
            window: Duration::ZERO,
            recorded: 0,
            since: now,
            groups: HashMap::new(),
            known: Vec::new(),
            strangers: Vec::new(),
        }))
    }

    /// Counts a failed authentication and keeps it to be recorded; answers that there is no room for that past
    /// [`limits::REFUSALS_NOTED`] of its sort. Strangers take no room from the known, and the same steps.
    pub(super) fn note(&self, note: Note) -> bool {
        let is_known = note.is_known();
        let code = note.rejected.refusal.code();
        let mut state = self.lock();
        let reason = state.count(code, note.context.peer.address);
        let notes = if is_known {
            &mut state.known
        } else {
            &mut state.strangers
        };
        let fits = notes.len() < limits::REFUSALS_NOTED;
        if fits {
            notes.push((note, reason));
        }
        fits
    }

    /// What was noted since the last call, in order of its sort.
    pub(super) fn take_notes(&self) -> Vec<(Note, Reason)> {
        let mut state = self.lock();
        let mut notes = std::mem::take(&mut state.known);
        notes.append(&mut state.strangers);
        notes
    }

    /// Whether a refusal of a known credential is within the rate at the monotonic time `now`.
    pub(super) fn admit(&self, now: Duration) -> bool {
        let mut state = self.lock();
        if now.saturating_sub(state.window) >= WINDOW {
            state.window = now;
            state.recorded = 0;
        }
        let within = state.recorded < limits::REFUSALS_PER_SECOND;
        if within {
            state.recorded = state.recorded.saturating_add(1);
        }
        within
    }

    /// Counts one towards the next summary.
    pub(super) fn count(&self, code: Code, source: Option<IpAddr>) {
        self.lock().count(code, source);
    }

    /// How many no record tells yet.
    pub(super) fn untold(&self) -> u64 {
        let state = self.lock();
        state.groups.values().copied().fold(0, u64::saturating_add)
    }

    /// Takes one off the next summary: it has a record of its own.
    pub(super) fn uncount(&self, reason: &Reason) {
        let mut state = self.lock();
        if let Some(count) = state.groups.get_mut(reason) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.groups.remove(reason);
            }
        }
    }

    /// Hands what was counted to `write`, and forgets it if that answers that it was taken. What is noted may still get a
    /// record of its own, and is not told yet.
    pub(super) fn flush(&self, now: Timestamp, write: impl FnOnce(Timestamp, &[Group]) -> bool) {
        let mut state = self.lock();
        let mut noted: HashMap<Reason, u64> = HashMap::new();
        for (_, reason) in state.known.iter().chain(&state.strangers) {
            let count = noted.entry(*reason).or_default();
            *count = count.saturating_add(1);
        }
        let told = state.groups.iter().map(|(&reason, &count)| {
            let later = noted.get(&reason).copied().unwrap_or_default();
            (reason, count.saturating_sub(later))
        });
        let mut groups: Vec<Group> = told
            .filter(|(_, count)| *count > 0)
            .map(|((code, network), count)| Group {
                code,
                network,
                count,
            })
            .collect();
        groups.sort_unstable_by_key(|group| (group.code, group.network));
        if groups.is_empty() || write(state.since, &groups) {
            state.groups = noted;
            state.since = now;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn network(address: IpAddr) -> Option<IpNet> {
    let address = address.to_canonical();
    let prefix = if address.is_ipv4() {
        V4_PREFIX
    } else {
        V6_PREFIX
    };
    IpNet::new(address, prefix).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::context;
    use crate::refusal::Refusal;

    fn groups(refusals: &Refusals) -> Vec<Group> {
        let mut all = Vec::new();
        refusals.flush(Timestamp::UNIX_EPOCH, |_, groups| {
            all = groups.to_vec();
            true
        });
        all
    }

    #[test]
    fn the_rate_holds_at_n_and_n_plus_one_and_begins_anew_each_second() {
        let refusals = Refusals::new(Timestamp::UNIX_EPOCH);
        for second in [5, 6] {
            let now = Duration::from_secs(second);
            assert!((0..limits::REFUSALS_PER_SECOND).all(|_| refusals.admit(now)));
            assert!(!refusals.admit(now));
            assert!(!refusals.admit(now + Duration::from_millis(999)));
        }
    }

    #[test]
    fn sources_are_told_apart_by_network() {
        let refusals = Refusals::new(Timestamp::UNIX_EPOCH);
        for source in ["192.0.2.1", "192.0.2.77", "::ffff:192.0.2.9", "192.0.3.1"] {
            refusals.count(Code::CredentialRefused, source.parse().ok());
        }
        for source in ["2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:2::1"] {
            refusals.count(Code::CredentialRefused, source.parse().ok());
        }
        refusals.count(Code::TokenRefused, None);
        let told: Vec<_> = groups(&refusals)
            .iter()
            .map(|g| (g.network.map(|net| net.to_string()), g.count))
            .collect();
        let net = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                (net("192.0.2.0/24"), 3),
                (net("192.0.3.0/24"), 1),
                (net("2001:db8:1::/48"), 2),
                (net("2001:db8:2::/48"), 1),
                (None, 1),
            ]
        );
        assert!(groups(&refusals).is_empty());
    }

    #[test]
    fn the_table_holds_its_bound_and_loses_no_count() {
        let refusals = Refusals::new(Timestamp::UNIX_EPOCH);
        let sources = u32::try_from(limits::REFUSAL_GROUPS * 10).unwrap();
        for n in 0..sources {
            let source = IpAddr::from((n << 8).to_be_bytes());
            refusals.count(Code::CredentialMalformed, Some(source));
        }
        let groups = groups(&refusals);
        assert_eq!(groups.len(), limits::REFUSAL_GROUPS + 1);
        let counted: u64 = groups.iter().map(|group| group.count).sum();
        assert_eq!(counted, u64::from(sources));
    }

    #[test]
    fn what_is_noted_is_told_once() {
        let refusals = Refusals::new(Timestamp::UNIX_EPOCH);
        let note = || Note {
            time: Timestamp::UNIX_EPOCH,
            rejected: Rejected {
                refusal: Refusal::new(Code::CredentialRefused, "expired"),
                named: None,
                is_registered: true,
                key: None,
                made_from: crate::authn::MadeFrom::default(),
            },
            context: context(),
        };
        assert!(refusals.note(note()) && refusals.note(note()));
        assert!(groups(&refusals).is_empty(), "they may get their own");
        let mut taken = refusals.take_notes();
        // A third comes while those are looked at.
        assert!(refusals.note(note()));
        refusals.uncount(&taken.pop().unwrap().1);
        let told = |all: &[Group]| all.iter().map(|group| group.count).sum::<u64>();
        assert_eq!(told(&groups(&refusals)), 1);
        let last = refusals.take_notes();
        assert_eq!(last.len(), 1);
        refusals.uncount(&last[0].1);
        assert!(groups(&refusals).is_empty());
    }

    #[test]
    fn what_was_not_taken_is_told_the_next_time() {
        let refusals = Refusals::new(Timestamp::UNIX_EPOCH);
        refusals.count(Code::TokenRefused, None);
        refusals.flush(Timestamp::UNIX_EPOCH, |_, _| false);
        assert_eq!(groups(&refusals).len(), 1);
    }
}
