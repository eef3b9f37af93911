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

/// Sets up the log of the process, once: text on a terminal, one JSON object a line otherwise. `filter` says what is in
/// it: a level, or directives like `info,cambist=debug`.
///
/// # Errors
/// [`InvalidLog`].
pub fn init(filter: &str) -> Result<(), InvalidLog> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_ansi(terminal)
        .with_writer(io::stderr);
    match terminal {
        true => builder.finish().try_init()?,
        false => builder.json().finish().try_init()?,
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
