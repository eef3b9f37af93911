//! Attempts to connect: counted, and those that a refused certificate ended for the record as well.

use crate::audit::Log;
use crate::listener::{Observer, Outcome};
use crate::refusal::Code;
use crate::telemetry::Metrics;
use std::sync::Arc;

/// Counts what happens at the listeners.
#[derive(Debug)]
pub(super) struct Attempts {
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Log,
}

impl Observer for Attempts {
    /// A refused certificate is none of a known caller: whoever shows it may have made it up. So it is counted by where it
    /// came from, and under the code that one has which is refused at a later call.
    fn attempt(&self, outcome: Outcome) {
        if let Outcome::Certificate(_, address) = outcome {
            self.log.turned_away(Code::CredentialRefused, Some(address));
        }
        self.metrics.attempt(outcome);
    }

    fn opened(&self) {
        self.metrics.opened();
    }

    fn closed(&self) {
        self.metrics.closed();
    }
}
