//! How old what is held can be at most.
//!
//! The broker tells with each message the last instant at which it was sure that nothing newer existed, by its clock. Three
//! clocks are thus at play, and none of them alone is believed:
//!
//! - From receipt on, age is counted by our monotonic clock, and by our wall clock as well; the greater counts. The monotonic
//!   clock may stand still while a machine sleeps, the wall clock may be set back: one of them sees it.
//! - At receipt, what was told has the age by which it lies behind our wall clock, and none where it lies in the future: a
//!   broker whose clock is ahead, or a clock of ours that is behind, makes nothing fresher than its receipt.
//! - A broker that has lost sight of its store tells the same instant again and again. With its clock ahead of ours that would
//!   look fresh at each receipt; so its instants are also held against our monotonic clock: what they fall behind since
//!   the message of this feed that was ahead the most is age too.

use jiff::Timestamp;
use std::time::Duration;

/// Our two clocks, read together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) wall: Timestamp,
    pub(super) monotonic: Duration,
}

/// How fresh something was when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    received: Duration,
    /// How old it was by then.
    lag: Duration,
    /// The same instant by the wall clock.
    since: Timestamp,
    /// As the broker told it.
    pub(super) as_of: Timestamp,
}

impl Fresh {
    /// At most how old it is now.
    pub(super) fn age(&self, now: Reading) -> Duration {
        let passed = now.monotonic.saturating_sub(self.received);
        let by_wall = between(self.since, now.wall);
        passed.saturating_add(self.lag).max(by_wall)
    }
}

/// What one feed's instants say of each other.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Our monotonic time less the broker's instant, in nanoseconds, where it was least.
    least: Option<i128>,
    last: Option<Timestamp>,
}

impl Pace {
    /// Something came `now`, of which the broker says that it was sure at `as_of`.
    pub(super) fn receive(&mut self, as_of: Timestamp, now: Reading) -> Fresh {
        let monotonic = i128::try_from(now.monotonic.as_nanos()).unwrap_or(i128::MAX);
        let offset = monotonic.saturating_sub(as_of.as_nanosecond());
        if self.last.replace(as_of).is_some_and(|last| last > as_of) {
            // Its clock was set back: what it said before tells nothing of what it says now.
            self.least = None;
        }
        let least = self.least.map_or(offset, |least| least.min(offset));
        self.least = Some(least);
        let behind = u64::try_from(offset.saturating_sub(least)).unwrap_or(u64::MAX);
        let lag = between(as_of, now.wall).max(Duration::from_nanos(behind));
        let since = now.wall.saturating_sub(lag).unwrap_or(Timestamp::MIN);
        Fresh {
            received: now.monotonic,
            lag,
            since,
            as_of,
        }
    }
}

/// From one instant to a later one; nothing where it is not later.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(wall: i64, monotonic: u64) -> Reading {
        Reading {
            wall: Timestamp::from_second(wall).unwrap(),
            monotonic: Duration::from_secs(monotonic),
        }
    }

    fn told(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn age_counts_from_what_was_told_and_by_both_clocks() {
        // The monotonic clock has just begun: what was told lies before its beginning.
        let fresh = Pace::default().receive(told(990), at(1_000, 1));
        assert_eq!(fresh.age(at(1_000, 1)), seconds(10));
        assert_eq!(fresh.age(at(1_007, 8)), seconds(17));
        // The wall clock was set back, and then forward, or the machine slept.
        assert_eq!(fresh.age(at(500, 8)), seconds(17));
        assert_eq!(fresh.age(at(1_100, 8)), seconds(110));
    }

    #[test]
    fn an_instant_in_the_future_is_no_fresher_than_its_receipt() {
        let fresh = Pace::default().receive(told(5_000), at(1_000, 100));
        assert_eq!(fresh.age(at(1_000, 100)), seconds(0));
        assert_eq!(fresh.age(at(1_030, 130)), seconds(30));
    }

    #[test]
    fn an_instant_that_stands_still_grows_old_even_in_the_future() {
        let mut pace = Pace::default();
        pace.receive(told(1_060), at(1_000, 100));
        pace.receive(told(1_061), at(1_001, 101));
        let fresh = pace.receive(told(1_061), at(1_031, 131));
        assert_eq!(fresh.age(at(1_031, 131)), seconds(30));
        // It goes on.
        let fresh = pace.receive(told(1_092), at(1_032, 132));
        assert_eq!(fresh.age(at(1_032, 132)), seconds(0));
    }

    #[test]
    fn a_clock_that_was_set_back_is_measured_anew() {
        let mut pace = Pace::default();
        pace.receive(told(9_000), at(1_000, 100));
        let fresh = pace.receive(told(1_001), at(1_001, 101));
        assert_eq!(fresh.age(at(1_001, 101)), seconds(0));
    }

    proptest! {
        /// Whatever the broker's clock is off by, as long as it runs: nothing looks fresher than it was at best when the feed
        /// began, and nothing fresher than its receipt.
        #[test]
        fn nothing_looks_fresher_than_it_is(
            off in -500_i64..500,
            ages in prop::collection::vec(0_i64..100, 1..20),
            later in 0_u64..100,
        ) {
            let mut pace = Pace::default();
            let mut now = 0;
            let mut best = i64::MAX;
            for (place, age) in ages.iter().enumerate() {
                now = i64::try_from(place).unwrap() * 200;
                best = best.min(*age);
                let reading = at(10_000 + now, now.unsigned_abs());
                let fresh = pace.receive(told(10_000 + now + off - age), reading);
                let then = at(10_000 + now + i64::try_from(later).unwrap(), now.unsigned_abs() + later);
                prop_assert!(fresh.age(then) >= seconds(later));
                let least = u64::try_from(age - best).unwrap() + later;
                prop_assert!(fresh.age(then) >= seconds(least));
                if off <= 0 {
                    prop_assert!(fresh.age(then) >= seconds(age.unsigned_abs() + later));
                }
            }
            let _ = now;
        }
    }
}
