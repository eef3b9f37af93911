//! How long a failed delivery waits.

use crate::clock::{Random, random};
use crate::limits;
use std::time::Duration;

/// Exponential back-off with full jitter, between the bounds of [`limits::SINK_RETRY`].
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something worked: the next failure begins at the bottom.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next pause. Without randomness it is the longest that it may be.
    pub(super) fn pause(&mut self, source: &dyn Random) -> Duration {
        let (least, most) = limits::SINK_RETRY;
        self.failures = self.failures.saturating_add(1);
        let ceiling = least.saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
        let span = ceiling.min(most).saturating_sub(least);
        let draw = random::<4>(source).map_or(u32::MAX, u32::from_ne_bytes);
        least + span.mul_f64(f64::from(draw) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandomness;

    #[test]
    fn pauses_grow_within_their_bounds_and_begin_anew_after_a_success() {
        let (random, mut backoff) = (SystemRandomness::shared(), Backoff::default());
        let (least, most) = limits::SINK_RETRY;
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            let pause = backoff.pause(&*random);
            assert!((least..=most).contains(&pause), "{pause:?}");
            longest = longest.max(pause);
        }
        assert!(longest > most / 2, "{longest:?}");
        backoff.reset();
        assert!(backoff.pause(&*random) <= least * 2);
    }
}
