//! What is set about a sink.

use super::{Format, Otlp, Sink, Stdout, Syslog, TlsFiles, Webhook};
use crate::audit::filter::Filter;
use crate::limits;
use serde::Deserialize;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A sink as it is configured. Holds no secret, so that it may be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it is called, in metrics and in the name of its cursor's file.
    pub name: SinkName,
    /// What records are sent as.
    pub format: Format,
    /// Which records are sent; what is not is passed over, and is in the log.
    pub only: Filter,
    /// Where a new cursor begins.
    pub start: Start,
    /// How long one delivery may take.
    pub timeout: Duration,
    /// Where they are sent to.
    pub kind: Kind,
}

/// Where a cursor begins that is new, or of another log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the first record there is.
    #[default]
    Beginning,
    /// With the next record that is written.
    End,
}

/// Where records are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lines on standard output.
    Stdout,
    /// OTLP logs over gRPC.
    Otlp(Otlp),
    /// Syslog messages over TLS.
    Syslog(Syslog),
    /// Requests to a web server.
    Webhook(Webhook),
}

/// The name of a sink: small letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct SinkName(Arc<str>);

/// Text that names no sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to {max} small letters, digits and `-`", max = limits::SINK_NAME)]
pub struct InvalidSinkName;

impl Settings {
    /// The files that it names, each with its key in the configuration and whether it is a secret.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, &Path, bool)> {
        let (tls, bearer, key) = match &self.kind {
            Kind::Stdout => (None, None, None),
            Kind::Otlp(to) => (to.tls.as_ref(), to.bearer.as_ref(), None),
            Kind::Syslog(to) => (to.tls.as_ref(), None, None),
            Kind::Webhook(to) => (to.tls.as_ref(), to.bearer.as_ref(), to.key.as_ref()),
        };
        let mut files: Vec<(_, &Path, _)> = Vec::new();
        if let Some(TlsFiles { ca, identity }) = tls {
            files.push(("ca", ca, false));
            if let Some((chain, key)) = identity {
                files.push(("certificate", chain, false));
                files.push(("key", key, true));
            }
        }
        files.extend(bearer.map(|path| ("bearer_file", path.as_path(), true)));
        files.extend(key.map(|path| ("signing_key_file", path.as_path(), true)));
        files
    }
}

impl SinkName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SinkName {
    type Error = InvalidSinkName;

    fn try_from(text: String) -> Result<Self, InvalidSinkName> {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_name = (1..=limits::SINK_NAME).contains(&text.len()) && text.bytes().all(is_plain);
        is_name.then(|| Self(text.into())).ok_or(InvalidSinkName)
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kind {
    /// The sink, not yet connected.
    #[must_use]
    pub fn open(&self, around: &super::Around) -> Box<dyn Sink> {
        match self {
            Self::Stdout => Box::new(Stdout::default()),
            Self::Otlp(otlp) => Box::new(otlp.open(around)),
            Self::Syslog(syslog) => Box::new(syslog.open(around)),
            Self::Webhook(webhook) => Box::new(webhook.open(around)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let name = |text: String| SinkName::try_from(text);
        assert_eq!(name("siem-2".into()).unwrap().as_str(), "siem-2");
        assert!(name("a".repeat(limits::SINK_NAME)).is_ok());
        assert!(name("a".repeat(limits::SINK_NAME + 1)).is_err());
        for bad in ["", "SIEM", "a b", "../x", "a.b", "é"] {
            assert_eq!(name(bad.into()), Err(InvalidSinkName), "{bad}");
        }
    }
}
