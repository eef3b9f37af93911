//! What an error of the client library means to a command.

use super::{Failure, advice};
use crate::cli::exit::Exit;
use crate::client::Error;
use crate::refusal::Fault;

impl Failure {
    /// What the client library reports.
    #[must_use]
    pub fn from_client(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Invalid(_) => Self::usage(text),
            Error::File { .. } => Self::new(Exit::Fault, "file", text),
            Error::Unreachable(why) => Self::new(
                Exit::Unreachable,
                "unreachable",
                "the broker cannot be reached",
            )
            .why(why)
            .next("check that the broker runs, and --server"),
            Error::Tls(why) => Self::new(Exit::Unreachable, "tls", "no trusted connection")
                .why(why)
                .next("check --ca, --cert and --key"),
            Error::Protocol(why) => Self::new(
                Exit::Unreachable,
                "protocol",
                "this is no broker, or it is broken",
            )
            .why(why)
            .next("check --server"),
            Error::Refused { ref code, .. } => {
                let next = error.refusal().map_or("", advice::after_refusal);
                Self::new(Exit::Refused, code.to_string(), text).next(next)
            }
            Error::Fault { ref code, .. } => {
                let fault = Fault::ALL.iter().find(|fault| *fault.code() == **code);
                let next = fault.map_or("", |fault| advice::after_fault(*fault));
                Self::new(Exit::Fault, code.to_string(), text).next(next)
            }
            // The library's errors may grow.
            _ => Self::fault(text),
        }
    }
}
