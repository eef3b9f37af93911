//! The guard that all issuing time passes (DESIGN.md section 4): a high-water mark that `iat` never
//! goes below, and a watch for steps of the wall clock against the monotonic one.

use super::Clock;
use crate::limits;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Why no time can be given out for issuing or for expiry clean-up.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClockFault {
    /// The wall clock moved against the monotonic clock by more than [`limits::CLOCK_STEP`].
    #[error("the wall clock stepped; waiting until it is steady or an operator confirms it")]
    Stepped,
    /// The wall clock is below the high-water mark of an earlier run.
    #[error("the wall clock is behind the time of an earlier issue")]
    BelowMark,
}

/// No second: one that is before all, so that any other is higher.
const NEVER: i64 = i64::MIN;

/// Steady readings in a row, as told by [`TimeGuard::observe`], that end a step's suspension.
const STEADY_READINGS: u32 = 30;

/// Hands out time for issuing; refuses while the clock cannot be trusted.
///
/// [`TimeGuard::now`] is lock-free. [`TimeGuard::observe`] is called about once a second.
#[derive(Debug)]
pub struct TimeGuard {
    clock: Arc<dyn Clock>,
    /// Highest second handed out so far, or recovered from log and store; [`NEVER`] before any.
    mark: AtomicI64,
    /// What the mark was before somebody confirmed an earlier time, in this run or before; [`NEVER`] where nobody did.
    confirmed_from: AtomicI64,
    /// The mark at the start, until the wall clock is confirmed, and when that was by the monotonic clock.
    mark_at_start: AtomicI64,
    started: Duration,
    stepped: AtomicBool,
    /// Wall-clock minus monotonic time at the last look, in milliseconds: a step shows against it at once.
    offset: AtomicI64,
    last: Mutex<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: Timestamp,
    monotonic: Duration,
    steady: u32,
}

impl Reading {
    fn offset(&self) -> i64 {
        let monotonic = i64::try_from(self.monotonic.as_millis()).unwrap_or(i64::MAX);
        self.wall.as_millisecond().saturating_sub(monotonic)
    }
}

impl TimeGuard {
    /// A guard over `clock` that starts at `mark`, the highest time found in log and store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, mark: Option<Timestamp>) -> Self {
        let last = Reading {
            wall: clock.now(),
            monotonic: clock.monotonic(),
            steady: 0,
        };
        let mark = mark.map(Timestamp::as_second);
        Self {
            clock,
            mark: AtomicI64::new(mark.unwrap_or(NEVER)),
            confirmed_from: AtomicI64::new(NEVER),
            mark_at_start: AtomicI64::new(mark.unwrap_or(NEVER)),
            started: last.monotonic,
            stepped: AtomicBool::new(false),
            offset: AtomicI64::new(last.offset()),
            last: Mutex::new(last),
        }
    }

    /// Time for issuing: never below anything this guard gave out before.
    ///
    /// # Errors
    /// [`ClockFault`] while the clock is not to be trusted.
    pub fn now(&self) -> Result<Timestamp, ClockFault> {
        if self.stepped.load(Ordering::Acquire) {
            return Err(ClockFault::Stepped);
        }
        let wall = self.clock.now();
        // A step counts from the moment it happens, and not from the next look: until then tokens would be issued
        // with its time, and the mark would keep it.
        let reading = Reading {
            wall,
            monotonic: self.clock.monotonic(),
            steady: 0,
        };
        let drift = reading
            .offset()
            .abs_diff(self.offset.load(Ordering::Acquire));
        if u128::from(drift) > limits::CLOCK_STEP.as_millis() {
            return Err(ClockFault::Stepped);
        }
        let mark = self.mark.fetch_max(wall.as_second(), Ordering::AcqRel);
        if wall.as_second() >= mark {
            return Ok(wall);
        }
        // Small backward slews are ironed out; more than the permitted step is a fault.
        let behind = mark.saturating_sub(wall.as_second());
        if behind > limits::CLOCK_STEP.as_secs().try_into().unwrap_or(i64::MAX) {
            return Err(ClockFault::BelowMark);
        }
        Timestamp::from_second(mark).map_err(|_| ClockFault::BelowMark)
    }

    /// The wall clock as it is, for records and for answering questions; never for issuing.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.clock.now()
    }

    /// The wall clock, or what was given out last where that is later: for telling what has ended also by a clock that was set
    /// back, when what was kept until then is gone.
    #[must_use]
    pub fn reached(&self) -> Timestamp {
        let wall = self.wall();
        self.mark().map_or(wall, |mark| mark.max(wall))
    }

    /// The latest instant that may have been given out, also by a clock that was ahead until somebody confirmed an earlier
    /// time: for what cannot wait until the clock is steady, such as a revocation of everything so far.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        let wall = self.wall();
        let given = [&self.mark, &self.confirmed_from].map(|at| at.load(Ordering::Acquire));
        let given = given.map(|at| Timestamp::from_second(at).unwrap_or(wall));
        given.into_iter().fold(wall, Timestamp::max)
    }

    /// The earliest that it can be now, for removing what must not go before its time: also where the clock was ahead already
    /// when this run began, which no look can tell. What has passed since is added to the mark of the run before, and no more.
    ///
    /// # Errors
    /// As [`TimeGuard::now`].
    pub fn earliest(&self) -> Result<Timestamp, ClockFault> {
        let now = self.now()?;
        let Ok(mark) = Timestamp::from_second(self.mark_at_start.load(Ordering::Acquire)) else {
            return Ok(now);
        };
        let passed = self.clock.monotonic().saturating_sub(self.started);
        Ok(mark.checked_add(passed).map_or(now, |at| at.min(now)))
    }

    /// The unguarded clock, for measuring durations.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// From now on nothing below `mark` is given out.
    pub fn raise(&self, mark: Timestamp) {
        self.mark.fetch_max(mark.as_second(), Ordering::AcqRel);
    }

    /// The highest time given out, to be kept in log and store.
    #[must_use]
    pub fn mark(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.mark.load(Ordering::Acquire)).ok()
    }

    /// What the mark was before somebody confirmed an earlier time, where that is still to come: to be kept in the store.
    #[must_use]
    pub fn confirmed_from(&self) -> Option<Timestamp> {
        let [from, mark] = [&self.confirmed_from, &self.mark].map(|at| at.load(Ordering::Acquire));
        (from > mark)
            .then(|| Timestamp::from_second(from).ok())
            .flatten()
    }

    /// What an earlier run had given out before [`TimeGuard::confirm`].
    pub fn recall(&self, confirmed_from: Timestamp) {
        let from = confirmed_from.as_second();
        self.confirmed_from.fetch_max(from, Ordering::AcqRel);
    }

    /// Compares both clocks since the last call; a step suspends issuance, and
    /// thirty steady readings in a row lift the suspension. Answers whether time is trusted now.
    pub fn observe(&self) -> bool {
        let (wall, monotonic) = (self.clock.now(), self.clock.monotonic());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let by_wall = wall.duration_since(last.wall);
        let by_monotonic = jiff::SignedDuration::try_from(monotonic.saturating_sub(last.monotonic))
            .unwrap_or(jiff::SignedDuration::MAX);
        let drift = by_wall.saturating_sub(by_monotonic).unsigned_abs();
        let steady = if drift > limits::CLOCK_STEP {
            0
        } else {
            last.steady.saturating_add(1)
        };
        *last = Reading {
            wall,
            monotonic,
            steady,
        };
        if steady == 0 {
            self.stepped.store(true, Ordering::Release);
        } else if steady >= STEADY_READINGS {
            self.stepped.store(false, Ordering::Release);
        }
        // After the suspension, so that nothing is given out in between.
        self.offset.store(last.offset(), Ordering::Release);
        drop(last);
        self.now().is_ok()
    }

    /// An operator's word that the wall clock is right now: lifts the suspension, and lowers the
    /// mark to the present if the mark itself came from a clock that was ahead.
    pub fn confirm(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Reading {
            wall: self.clock.now(),
            monotonic: self.clock.monotonic(),
            steady: STEADY_READINGS,
        };
        self.mark_at_start.store(NEVER, Ordering::Release);
        // Before the mark is lowered: whoever looks sees it in one of the two.
        let before = self.mark.load(Ordering::Acquire);
        self.confirmed_from.fetch_max(before, Ordering::AcqRel);
        self.mark.store(last.wall.as_second(), Ordering::Release);
        self.offset.store(last.offset(), Ordering::Release);
        self.stepped.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing::TestClock;

    #[test]
    fn a_step_passes_at_its_bound_and_suspends_a_second_beyond() {
        let bound = i64::try_from(limits::CLOCK_STEP.as_secs()).unwrap();
        for (step, trusted) in [
            (bound, true),
            (bound + 1, false),
            (-bound, true),
            (-bound - 1, false),
            (3600, false),
        ] {
            let clock = TestClock::at(1_000_000);
            let guard = TimeGuard::new(clock.clone(), None);
            clock.advance(1);
            assert!(guard.observe());
            clock.step(step);
            assert_eq!(guard.observe(), trusted, "step of {step}");
        }
    }

    #[test]
    fn thirty_steady_readings_lift_the_suspension() {
        let clock = TestClock::at(1_000_000);
        let guard = TimeGuard::new(clock.clone(), None);
        clock.step(60);
        assert!(!guard.observe());
        for _ in 1..STEADY_READINGS {
            clock.advance(1);
            assert!(!guard.observe());
        }
        clock.advance(1);
        assert!(guard.observe());
    }

    #[test]
    fn time_never_goes_below_the_mark() {
        let clock = TestClock::at(1_000_000);
        let guard = TimeGuard::new(clock.clone(), None);
        let first = guard.now().unwrap();
        clock.step(-5);
        assert!(guard.observe());
        assert_eq!(guard.now().unwrap(), first);
        clock.step(-1);
        assert_eq!(guard.now(), Err(ClockFault::BelowMark));
        guard.confirm();
        guard.raise(first);
        assert_eq!(guard.now(), Err(ClockFault::BelowMark));
    }

    #[test]
    fn a_step_counts_from_the_moment_it_happens() {
        let clock = TestClock::at(1_000_000);
        let guard = TimeGuard::new(clock.clone(), None);
        let before = guard.now().unwrap();
        clock.step(3600);
        assert_eq!(guard.now(), Err(ClockFault::Stepped));
        assert_eq!(guard.mark(), Some(before), "the mark kept the wrong time");
        // Set back before anybody looked: nothing was given out, so nothing is wrong.
        clock.step(-3600);
        assert!(guard.now().is_ok());
        clock.step(3600);
        guard.confirm();
        assert!(guard.now().is_ok());
    }

    #[test]
    fn a_start_below_the_mark_does_not_issue_until_confirmed() {
        let clock = TestClock::at(1_000_000);
        let guard = TimeGuard::new(clock.clone(), Timestamp::from_second(1_000_100).ok());
        assert_eq!(guard.now(), Err(ClockFault::BelowMark));
        guard.confirm();
        assert!(guard.now().is_ok());
    }

    #[test]
    fn what_was_given_out_is_known_also_after_an_earlier_time_is_confirmed() {
        let clock = TestClock::at(1_003_600);
        let guard = TimeGuard::new(clock.clone(), None);
        let ahead = guard.now().unwrap();
        clock.step(-3600);
        guard.confirm();
        assert_eq!(guard.now().unwrap(), clock.now());
        assert_eq!(guard.latest(), ahead);
        // By the next run as well.
        assert_eq!(guard.confirmed_from(), Some(ahead));
        let next = TimeGuard::new(clock.clone(), guard.mark());
        next.recall(ahead);
        assert_eq!(next.now().unwrap(), clock.now());
        assert_eq!(next.latest(), ahead);
        clock.advance(3601);
        for guard in [guard, next] {
            assert_eq!(guard.latest(), guard.now().unwrap());
            assert_eq!(guard.confirmed_from(), None);
        }
    }

    #[test]
    fn no_more_has_passed_than_since_the_start_until_that_is_confirmed() {
        let mark = Timestamp::from_second(1_000_000).unwrap();
        // Ten hours later, or a clock that is ten hours ahead.
        let clock = TestClock::at(1_036_000);
        let guard = TimeGuard::new(clock.clone(), Some(mark));
        clock.advance(60);
        assert_eq!(guard.now().unwrap(), clock.now());
        assert_eq!(guard.earliest().unwrap().as_second(), 1_000_060);
        guard.confirm();
        assert_eq!(guard.earliest().unwrap(), clock.now());
        // Nothing was found; nor is it ever later than it is.
        let guard = TimeGuard::new(clock.clone(), None);
        assert_eq!(guard.earliest().unwrap(), clock.now());
        let guard = TimeGuard::new(clock.clone(), Timestamp::from_second(1_036_062).ok());
        clock.advance(1);
        assert_eq!(guard.earliest(), guard.now());
        clock.step(60);
        assert_eq!(guard.earliest(), Err(ClockFault::Stepped));
    }
}
