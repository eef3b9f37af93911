//! How much may be asked by whom nobody knows.

use crate::clock::Clock;
use crate::limits;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A source is an address, of IPv6 a network: what one customer of a provider has.
const V4: u8 = 32;
const V6: u8 = 64;

/// Counts requests that have not proven whose they are, by source, in each [`limits::LEAK_WINDOW`]. Each is counted when it
/// comes and taken off when it is proven, so that many at a time are no more than one after the other.
#[derive(Debug)]
pub struct Strangers {
    clock: Arc<dyn Clock>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// When the window began.
    began: Duration,
    /// What has no address, and what there was no more room for, is one source.
    sources: HashMap<Option<IpNet>, u32>,
}

/// A request that was let in: taken off again when it is proven.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    source: Option<IpNet>,
    window: Duration,
}

impl Strangers {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            counts: Mutex::default(),
        }
    }

    /// Lets a request in, unless there were too many from there that were not proven.
    pub fn admit(&self, address: Option<IpAddr>) -> Option<Admitted> {
        let now = self.clock.monotonic();
        let mut counts = self.counts();
        if now.saturating_sub(counts.began) >= limits::LEAK_WINDOW {
            *counts = Counts {
                began: now,
                sources: HashMap::new(),
            };
        }
        let named = address.and_then(source);
        let is_full = counts.sources.len() >= limits::LEAK_SOURCES;
        let source = named.filter(|_| !is_full || counts.sources.contains_key(&named));
        let count = counts.sources.entry(source).or_default();
        if *count >= limits::LEAK_STRANGERS {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Admitted {
            source,
            window: counts.began,
        })
    }

    /// It is known whose it is.
    pub fn proven(&self, admitted: Admitted) {
        let mut counts = self.counts();
        if counts.began == admitted.window
            && let Some(count) = counts.sources.get_mut(&admitted.source)
        {
            *count = count.saturating_sub(1);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn source(address: IpAddr) -> Option<IpNet> {
    let address = address.to_canonical();
    let prefix = if address.is_ipv4() { V4 } else { V6 };
    IpNet::new(address, prefix).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing::TestClock;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn window() -> u32 {
        u32::try_from(limits::LEAK_WINDOW.as_secs()).unwrap()
    }

    #[test]
    fn a_source_may_ask_in_vain_so_often_and_others_are_not_held_to_it() {
        let clock = TestClock::at(1_000);
        let strangers = Strangers::new(clock.clone());
        let admits = |address| strangers.admit(address).is_some();
        for address in [at("192.0.2.1"), at("2001:db8::1"), None] {
            for _ in 0..limits::LEAK_STRANGERS {
                assert!(admits(address));
            }
            assert!(!admits(address), "{address:?}");
        }
        assert!(!admits(at("2001:db8::2")), "the same network");
        assert!(!admits(at("::ffff:192.0.2.1")), "the same address");
        assert!(admits(at("192.0.2.2")) && admits(at("2001:db8:0:1::1")));
        clock.advance(window());
        assert!(admits(at("192.0.2.1")));
    }

    #[test]
    fn what_is_proven_does_not_count() {
        let clock = TestClock::at(1_000);
        let strangers = Strangers::new(clock.clone());
        for _ in 0..limits::LEAK_STRANGERS * 2 {
            let admitted = strangers.admit(at("192.0.2.1")).unwrap();
            strangers.proven(admitted);
        }
        // What was let in before the window was another takes nothing off this one.
        let late = strangers.admit(at("192.0.2.1")).unwrap();
        clock.advance(window());
        for _ in 0..limits::LEAK_STRANGERS {
            assert!(strangers.admit(at("192.0.2.1")).is_some());
        }
        strangers.proven(late);
        assert!(strangers.admit(at("192.0.2.1")).is_none());
    }

    #[test]
    fn so_many_sources_are_told_apart_and_no_more() {
        let strangers = Strangers::new(TestClock::at(1_000));
        let nth = |n: usize| Some(IpAddr::from(u32::try_from(n).unwrap().to_be_bytes()));
        for n in 0..limits::LEAK_SOURCES * 10 {
            let _ = strangers.admit(nth(n));
        }
        let known = strangers.counts().sources.len();
        assert_eq!(known, limits::LEAK_SOURCES + 1, "and all others as one");
        assert!(strangers.admit(nth(limits::LEAK_SOURCES - 1)).is_some());
        assert!(strangers.admit(nth(limits::LEAK_SOURCES)).is_none());
    }
}
