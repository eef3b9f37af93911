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
    /// The earliest that it can be now, less monotonic time, in milliseconds: it grows with that, and by no step.
    earliest: AtomicI64,
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
        self.offset_of(self.wall)
    }

    /// An instant that is now, less monotonic time.
    fn offset_of(&self, now: Timestamp) -> i64 {
        now.as_millisecond().saturating_sub(millis(self.monotonic))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl TimeGuard {
    /// A guard over `clock` that starts at `mark`, the highest time found in log and store. Until something else is recalled it
    /// cannot be earlier than that either, nor, where there is none and so nothing that could end, than the wall clock says.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, mark: Option<Timestamp>) -> Self {
        let last = Reading {
            wall: clock.now(),
            monotonic: clock.monotonic(),
            steady: 0,
        };
        let earliest = last.offset_of(mark.unwrap_or(last.wall));
        let mark = mark.map(Timestamp::as_second);
        Self {
            clock,
            mark: AtomicI64::new(mark.unwrap_or(NEVER)),
            confirmed_from: AtomicI64::new(NEVER),
            earliest: AtomicI64::new(earliest),
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

    /// The earliest that it can be now, for removing what must not go before its time: what is revoked stays so also after a
    /// clock that was ahead for a while is set right. It goes by monotonic time alone: from the wall clock at the first start,
    /// or when somebody confirmed it, and from run to run by what the last one left.
    ///
    /// A time in which the broker was stopped, or its machine slept, looks like a clock that is ahead, and is not counted: after
    /// a week of it, what has ended is kept for a week longer. That takes memory and does no harm. It is over once the wall
    /// clock is confirmed, or one run has gone without a step for [`limits::CLOCK_BELIEVED`], in which a wrong one would be noticed.
    ///
    /// # Errors
    /// As [`TimeGuard::now`].
    pub fn earliest(&self) -> Result<Timestamp, ClockFault> {
        self.now().map(|now| self.counted().min(now))
    }

    /// [`TimeGuard::earliest`] to be kept in the store, whether or not the wall clock can be trusted.
    #[must_use]
    pub fn counted(&self) -> Timestamp {
        let offset = self.earliest.load(Ordering::Acquire);
        let at = offset.saturating_add(millis(self.clock.monotonic()));
        Timestamp::from_millisecond(at).unwrap_or(Timestamp::MIN)
    }

    /// How much longer than by the wall clock things are kept: that is how far [`TimeGuard::earliest`] is behind it.
    #[must_use]
    pub fn lag(&self) -> Duration {
        Duration::try_from(self.wall().duration_since(self.counted())).unwrap_or_default()
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

    /// What an earlier run had given out before [`TimeGuard::confirm`], and what it had [`TimeGuard::counted`].
    pub fn recall(&self, confirmed_from: Option<Timestamp>, counted: Option<Timestamp>) {
        if let Some(from) = confirmed_from {
            self.confirmed_from
                .fetch_max(from.as_second(), Ordering::AcqRel);
        }
        if let Some(counted) = counted {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            self.earliest
                .store(last.offset_of(counted), Ordering::Release);
        }
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
        let offset = last.offset();
        // After the suspension, so that nothing is given out in between.
        self.offset.store(offset, Ordering::Release);
        let is_trusted = self.now().is_ok();
        if u64::from(steady) >= limits::CLOCK_BELIEVED.as_secs() {
            self.earliest.store(offset, Ordering::Release);
        } else if is_trusted {
            // Set back by little and often, it would fall behind what is counted by much.
            self.earliest.fetch_min(offset, Ordering::AcqRel);
        }
        drop(last);
        is_trusted
    }

    /// An operator's word that the wall clock is right now: lifts the suspension, lowers the
    /// mark to the present if the mark itself came from a clock that was ahead, and counts from here
    /// what has passed.
    pub fn confirm(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Reading {
            wall: self.clock.now(),
            monotonic: self.clock.monotonic(),
            steady: STEADY_READINGS,
        };
        self.earliest.store(last.offset(), Ordering::Release);
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
    use jiff::ToSpan as _;

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
        next.recall(Some(ahead), None);
        assert_eq!(next.now().unwrap(), clock.now());
        assert_eq!(next.latest(), ahead);
        clock.advance(3601);
        for guard in [guard, next] {
            assert_eq!(guard.latest(), guard.now().unwrap());
            assert_eq!(guard.confirmed_from(), None);
        }
    }

    const HOUR: i64 = 3_600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Until the clock is trusted again by itself.
    fn steady(clock: &TestClock, guard: &TimeGuard) {
        for _ in 0..=STEADY_READINGS {
            clock.advance(1);
            guard.observe();
        }
        assert!(guard.now().is_ok());
    }

    #[test]
    fn no_step_adds_to_what_has_passed() {
        for is_confirmed in [false, true] {
            let clock = TestClock::at(1_000_000);
            let mark = is_confirmed.then(|| at(900_000));
            let guard = TimeGuard::new(clock.clone(), mark);
            if is_confirmed {
                guard.confirm();
            }
            assert_eq!(guard.earliest(), Ok(clock.now()));
            clock.step(HOUR);
            assert_eq!(guard.earliest(), Err(ClockFault::Stepped));
            steady(&clock, &guard);
            assert_eq!(guard.earliest(), Ok(clock.now() - HOUR.seconds()));
            assert_eq!(guard.lag(), Duration::from_secs(3_600));
            clock.step(-HOUR);
            guard.confirm();
            assert_eq!(guard.earliest(), Ok(clock.now()));
            assert_eq!(guard.lag(), Duration::ZERO);
            // Set back by little, and then ahead by as much.
            clock.advance(10);
            clock.step(-5);
            guard.observe();
            let right = clock.now();
            clock.step(5);
            guard.observe();
            assert_eq!(guard.earliest(), Ok(right));
        }
    }

    #[test]
    fn a_run_goes_on_with_what_has_passed_in_the_one_before() {
        let clock = TestClock::at(1_000_000);
        let guard = TimeGuard::new(clock.clone(), None);
        clock.advance(60);
        let (mark, counted) = (guard.now().unwrap(), guard.counted());
        // Ten hours later, or a clock that is ten hours ahead; it gives out a time, which is the mark of the next run.
        clock.step(10 * HOUR);
        let mut ahead = mark;
        for passed in [60, 61, 62] {
            let guard = TimeGuard::new(clock.clone(), Some(ahead));
            guard.recall(None, Some(counted + (passed - 60).seconds()));
            ahead = guard.now().unwrap();
            assert_eq!(guard.earliest(), Ok(at(1_000_000 + passed)));
            clock.advance(1);
        }
        // Of a run that left none the mark tells; nor is it ever later than it is.
        let guard = TimeGuard::new(clock.clone(), Some(mark));
        assert_eq!(guard.earliest(), Ok(mark));
        let guard = TimeGuard::new(clock.clone(), Some(clock.now() + 2.seconds()));
        assert_eq!(guard.earliest(), guard.now());
        clock.advance(1);
        assert_eq!(guard.earliest(), guard.now());
    }

    #[test]
    fn a_clock_that_goes_without_a_step_for_long_enough_is_believed() {
        let clock = TestClock::at(1_000_000);
        let guard = TimeGuard::new(clock.clone(), Some(at(1_000_000 - HOUR)));
        let readings = limits::CLOCK_BELIEVED.as_secs();
        let look = |count| {
            for _ in 0..count {
                clock.advance(1);
                guard.observe();
            }
            guard.lag()
        };
        let hour = Duration::from_secs(3_600);
        assert_eq!(look(readings - 1), hour);
        clock.step(HOUR);
        // A step begins it anew.
        assert_eq!(look(1), 2 * hour);
        assert_eq!(look(readings - 1), 2 * hour);
        assert_eq!(look(1), Duration::ZERO);
        assert_eq!(guard.earliest(), Ok(clock.now()));
    }
}
