//! When to renew, and how long to stay away after a "no".
//!
//! Everything is jittered: clients that were started together, or that lost their broker together,
//! must not come back together.

use super::Error;
use crate::clock::{Random, random};
use crate::limits;
use std::time::Duration;

/// Renewal begins at this share of the lifetime at the earliest, in percent.
pub(super) const EARLIEST: u32 = 70;
/// Renewal begins at this share of the lifetime at the latest, in percent: what is left must do for retries.
pub(super) const LATEST: u32 = 85;
/// A lease whose successor has not come at this share of the lifetime is given up, in percent.
pub(super) const OVERDUE: u32 = 90;

/// Shortest and longest wait after an outage.
const OUTAGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// Shortest and longest wait after a definitive refusal: asking again hardly helps before somebody acts.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// First ceiling of an outage's wait; it doubles with each failure. A refusal's begins at twice its shortest wait.
const FIRST: Duration = Duration::from_millis(500);

/// The age at which a token is renewed: uniform between [`EARLIEST`] and [`LATEST`] of its lifetime.
/// `draw` is 64 uniform bits.
#[must_use]
pub(crate) fn renewal_age(lifetime: Duration, draw: u64) -> Duration {
    between(share(lifetime, EARLIEST), share(lifetime, LATEST), draw)
}

/// `percent` of a duration.
pub(super) fn share(whole: Duration, percent: u32) -> Duration {
    nanos(whole.as_nanos() * u128::from(percent) / 100)
}

/// The point between two durations that `draw` picks.
fn between(low: Duration, high: Duration, draw: u64) -> Duration {
    let span = high.saturating_sub(low).as_nanos().min(u64::MAX.into());
    low + nanos((span * u128::from(draw)) >> 64)
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// 64 uniform bits; the middle where there is no randomness, which costs jitter and nothing else.
pub(crate) fn draw(source: &dyn Random) -> u64 {
    random::<8>(source).map_or(u64::MAX / 2, u64::from_ne_bytes)
}

/// Exponential backoff with full jitter.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something worked: the next failure starts from the bottom.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after `error`.
    pub(crate) fn after(&mut self, error: &Error, draw: u64) -> Duration {
        let (floor, cap) = if error.is_refusal() { REFUSED } else { OUTAGE };
        let ceiling = (floor * 2).max(FIRST) * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let wait = between(floor, ceiling.clamp(floor, cap), draw);
        wait.max(
            error
                .retry_after()
                .unwrap_or_default()
                .min(limits::CLIENT_LONGEST_STAY),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn renewal_lies_between_its_shares_and_before_expiry(seconds in 1_u32.., draw: u64) {
            let lifetime = Duration::from_secs(seconds.into());
            let age = renewal_age(lifetime, draw);
            prop_assert!(age >= share(lifetime, EARLIEST), "{age:?}");
            prop_assert!(age <= share(lifetime, LATEST), "{age:?}");
            prop_assert!(age < lifetime);
            prop_assert!(share(lifetime, OVERDUE) < lifetime);
        }

        #[test]
        fn no_duration_overflows(seconds: u64, nanos in 0_u32..1_000_000_000, draw: u64) {
            let lifetime = Duration::new(seconds, nanos);
            prop_assert!(renewal_age(lifetime, draw) <= lifetime);
        }

        #[test]
        fn backoff_stays_within_its_bounds(draws in prop::collection::vec(any::<u64>(), 1..40), refused: bool) {
            let error = if refused { refusal("policy_denied", None) } else { Error::Unreachable("".into()) };
            let (floor, cap) = if refused { REFUSED } else { OUTAGE };
            let mut backoff = Backoff::default();
            for draw in draws {
                let wait = backoff.after(&error, draw);
                prop_assert!(wait >= floor && wait <= cap, "{wait:?}");
            }
        }
    }

    fn refusal(code: &str, retry_after: Option<Duration>) -> Error {
        Error::Refused {
            code: code.into(),
            message: "".into(),
            retry_after,
        }
    }

    #[test]
    fn the_whole_range_is_used() {
        let lifetime = Duration::from_secs(900);
        assert_eq!(renewal_age(lifetime, 0), Duration::from_secs(630));
        let last = renewal_age(lifetime, u64::MAX);
        assert!(last > Duration::from_millis(764_999), "{last:?}");
    }

    #[test]
    fn the_first_wait_is_drawn_too() {
        for error in [Error::Unreachable("".into()), refusal("revoked", None)] {
            let [low, high] = [0, u64::MAX].map(|draw| Backoff::default().after(&error, draw));
            assert!(high > low + low / 2, "{low:?} {high:?}");
        }
    }

    #[test]
    fn waits_grow_and_begin_anew_after_a_success() {
        let error = Error::Unreachable("".into());
        let mut backoff = Backoff::default();
        let first = backoff.after(&error, u64::MAX);
        let second = backoff.after(&error, u64::MAX);
        assert!(second > first);
        backoff.reset();
        assert_eq!(backoff.after(&error, u64::MAX), first);
    }

    #[test]
    fn the_broker_is_obeyed_up_to_a_bound() {
        let stay = |seconds| {
            let error = refusal("too_busy", Some(Duration::from_secs(seconds)));
            Backoff::default().after(&error, 0)
        };
        assert_eq!(stay(40), Duration::from_secs(40));
        let longest = limits::CLIENT_LONGEST_STAY;
        assert_eq!(stay(longest.as_secs()), longest);
        assert_eq!(stay(longest.as_secs() + 1), longest);
    }
}
