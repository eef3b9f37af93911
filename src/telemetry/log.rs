//! The log on standard error.

use serde::Deserialize;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

/// How the log looks and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// How it looks.
    pub format: LogFormat,
    /// What is in it: a level, or directives like `info,cambist=debug`.
    pub filter: String,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLog {
    /// The filter does not parse.
    #[error("`log.filter`: {0}")]
    Filter(#[from] ParseError),
    /// A log is set up already.
    #[error("the log cannot be set up: {0}")]
    Init(#[from] TryInitError),
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            filter: "info".to_owned(),
        }
    }
}

impl LogSettings {
    /// Checks the filter without setting anything up.
    ///
    /// # Errors
    /// [`InvalidLog::Filter`].
    pub fn filter(&self) -> Result<EnvFilter, InvalidLog> {
        Ok(EnvFilter::builder().parse(&self.filter)?)
    }
}

/// Sets up the log of the process, once.
///
/// # Errors
/// [`InvalidLog`].
pub fn init(settings: &LogSettings) -> Result<(), InvalidLog> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(settings.filter()?)
        .with_ansi(terminal)
        // A line that cannot be written is lost. To complain of it on the same stream would be a panic.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    match settings.format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Auto if terminal => builder.finish().try_init()?,
        LogFormat::Auto | LogFormat::Json => builder.json().finish().try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_checked_before_it_is_used() {
        let settings: LogSettings = toml::from_str("filter = 'info,cambist=debug'").unwrap();
        assert!(settings.filter().is_ok());
        let wrong: LogSettings = toml::from_str("filter = 'cambist=loud'").unwrap();
        assert!(matches!(wrong.filter(), Err(InvalidLog::Filter(_))));
        assert!(toml::from_str::<LogSettings>("colour = true").is_err());
    }
}
