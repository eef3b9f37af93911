//! The log on standard error.

use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLog {
    /// The filter does not parse.
    #[error("the filter of the log: {0}")]
    Filter(#[from] ParseError),
    /// A log is set up already.
    #[error("the log cannot be set up: {0}")]
    Init(#[from] TryInitError),
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Text on a terminal, and JSON for what collects the lines of services.
    #[must_use]
    pub fn of_a_service() -> Self {
        match io::stderr().is_terminal() {
            true => Self::Text,
            false => Self::Json,
        }
    }
}

/// Sets up the log of the process, once. `filter` says what is in it: a level, or directives like `info,cambist=debug`.
///
/// # Errors
/// [`InvalidLog`].
pub fn init(filter: &str, format: LogFormat) -> Result<(), InvalidLog> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_ansi(io::stderr().is_terminal())
        // A line that cannot be written is lost. To complain of it on the same stream would be a panic.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().finish().try_init()?,
    }
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, InvalidLog> {
    Ok(EnvFilter::builder().parse(filter)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_checked_before_it_is_used() {
        assert!(parse("info,cambist=debug").is_ok());
        assert!(matches!(parse("cambist=loud"), Err(InvalidLog::Filter(_))));
    }
}
