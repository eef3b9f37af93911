//! What commands take from outside: time, randomness, a place for results.

use super::failure::Failure;
use super::output::Output;
use crate::clock::{Clock, Random, SystemClock, SystemRandomness, random};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::sync::Arc;

/// Handed to every command.
#[derive(Clone, Debug)]
pub struct World {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Where results go.
    pub output: Output,
}

impl World {
    /// The machine's own.
    #[must_use]
    pub fn system(output: Output) -> Self {
        Self {
            clock: SystemClock::shared(),
            random: SystemRandomness::shared(),
            output,
        }
    }

    /// The caller's name for a write, or a fresh one: 128 random bits.
    pub(super) fn idempotency_key(&self, given: Option<&str>) -> Result<String, Failure> {
        if let Some(given) = given {
            return Ok(given.to_owned());
        }
        let bits: [u8; 16] = random(self.random.as_ref())
            .map_err(|error| Failure::fault("nothing can be written").why(error))?;
        Ok(URL_SAFE_NO_PAD.encode(bits))
    }
}
