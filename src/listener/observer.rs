//! What a listener reports, without knowing who counts it.

use std::fmt;
use std::net::IpAddr;

/// Counts what happens at the listeners.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A connection attempt ended thus.
    fn attempt(&self, outcome: Outcome);
    /// A connection is being served.
    fn opened(&self);
    /// It is no longer.
    fn closed(&self);
}

/// How an attempt to connect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The connection is served.
    Served,
    /// The client certificate was refused, with the code of [`crate::trust::CertificateRefusal`], and where it came from.
    Certificate(&'static str, IpAddr),
    /// TLS could not be agreed on, or it was not TLS at all.
    Tls,
    /// The handshake took longer than [`crate::limits::HANDSHAKE`].
    Timeout,
    /// A named proxy's header was missing or malformed.
    ProxyHeader,
    /// The listener's bound on connections was reached.
    TooManyConnections,
    /// The bound on connections from this source was reached.
    TooManyFromSource,
    /// The bound on concurrent handshakes was reached.
    TooManyHandshakes,
    /// The connection broke.
    Broken,
}

impl Outcome {
    /// Every outcome that does not carry a certificate's code.
    pub const PLAIN: &'static [Self] = &[
        Self::Served,
        Self::Tls,
        Self::Timeout,
        Self::ProxyHeader,
        Self::TooManyConnections,
        Self::TooManyFromSource,
        Self::TooManyHandshakes,
        Self::Broken,
    ];

    /// The stable code: in logs and as a metric label.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Served => "ok",
            Self::Certificate(code, _) => code,
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::ProxyHeader => "proxy_header",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyFromSource => "too_many_from_source",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::Broken => "broken",
        }
    }
}
