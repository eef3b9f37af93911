//! What a listener is configured to be.

use crate::limits;
use ipnet::IpNet;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as friendly;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// `127.0.0.1:8443`, `[::]:8443`, or `unix:/run/cambist/cambist.sock`.
    pub address: ListenAddress,
    /// Whether clients are asked for a certificate; by default `optional` over TCP, and never on a Unix socket.
    #[serde(default)]
    pub client_certificates: Option<ClientCertificates>,
    /// Networks whose hosts begin every connection with a PROXY v2 header.
    #[serde(default)]
    pub proxy_from: Vec<IpNet>,
    /// The protocols that are served; all by default.
    #[serde(default)]
    pub faces: Faces,
    /// What connections may cost.
    #[serde(default)]
    pub limits: ConnectionLimits,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum ListenAddress {
    /// TCP with TLS.
    Tcp(SocketAddr),
    /// A Unix socket without TLS; the peer is known by its user id.
    Unix(PathBuf),
}

/// Whether clients are asked for a certificate, and whether they must have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Not asked.
    None,
    /// Asked; one that is shown must verify.
    Optional,
    /// No connection without one.
    Required,
}

/// Which protocols a listener serves: in configuration a list of `"grpc"` and `"http"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<FaceName>")]
pub struct Faces {
    /// gRPC.
    pub grpc: bool,
    /// HTTP.
    pub http: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FaceName {
    Grpc,
    Http,
}

/// Bounds of one listener's connections. Durations read like `90s` or `1h 30m`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionLimits {
    /// Open connections in all.
    pub connections: usize,
    /// Open connections from one IPv4 address or IPv6 /64. Named proxies count by the address they name.
    pub connections_per_source: usize,
    /// Requests in flight on one HTTP/2 connection.
    pub streams: u32,
    /// Time for a handshake, a PROXY header included.
    #[serde(with = "friendly")]
    pub handshake: Duration,
    /// Time in which the headers of a request must come, and in which its answer must begin.
    #[serde(with = "friendly")]
    pub request: Duration,
    /// Time without a request after which a connection is closed: at the latest after twice this.
    #[serde(with = "friendly")]
    pub idle: Duration,
    /// Age at which a connection is asked to go; a random tenth is taken off, so that clients do not come
    /// back all at once.
    #[serde(with = "friendly")]
    pub age: Duration,
    /// Time for requests in flight once a connection was asked to go.
    #[serde(with = "friendly")]
    pub grace: Duration,
}

/// Why a listener's configuration makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListener {
    /// Neither TCP nor Unix.
    #[error("`{0}` is neither an address with a port nor `unix:` with an absolute path")]
    Address(String),
    /// Client certificates need TLS.
    #[error("a Unix socket has no TLS: `client_certificates` can only be \"none\" there")]
    CertificatesOnUnix,
    /// PROXY needs an address.
    #[error("`proxy_from` has no meaning on a Unix socket")]
    ProxyOnUnix,
    /// Nothing to serve.
    #[error("`faces` is empty: nothing would be served")]
    NoFace,
    /// A bound of zero.
    #[error("`limits.{0}` is zero: nothing could ever connect")]
    Zero(&'static str),
}

impl ListenerConfig {
    /// A listener with defaults.
    #[must_use]
    pub fn at(address: ListenAddress) -> Self {
        Self {
            address,
            client_certificates: None,
            proxy_from: Vec::new(),
            faces: Faces::default(),
            limits: ConnectionLimits::default(),
        }
    }

    /// Checks what the fields mean together.
    ///
    /// # Errors
    /// [`InvalidListener`].
    pub fn validate(&self) -> Result<(), InvalidListener> {
        if matches!(self.address, ListenAddress::Unix(_)) {
            let asked = self.client_certificates;
            if asked.is_some_and(|mode| mode != ClientCertificates::None) {
                return Err(InvalidListener::CertificatesOnUnix);
            }
            if !self.proxy_from.is_empty() {
                return Err(InvalidListener::ProxyOnUnix);
            }
        }
        if !(self.faces.grpc || self.faces.http) {
            return Err(InvalidListener::NoFace);
        }
        let limits = &self.limits;
        let zero = [
            ("connections", limits.connections == 0),
            ("connections_per_source", limits.connections_per_source == 0),
            ("streams", limits.streams == 0),
            ("handshake", limits.handshake.is_zero()),
            ("request", limits.request.is_zero()),
            ("idle", limits.idle.is_zero()),
            ("age", limits.age.is_zero()),
        ];
        match zero.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(InvalidListener::Zero(name)),
            None => Ok(()),
        }
    }

    /// The mode in force.
    #[must_use]
    pub fn client_certificates(&self) -> ClientCertificates {
        match self.address {
            ListenAddress::Unix(_) => ClientCertificates::None,
            ListenAddress::Tcp(_) => self
                .client_certificates
                .unwrap_or(ClientCertificates::Optional),
        }
    }

    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxy_from.iter().any(|net| net.contains(&address))
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            connections_per_source: limits::CONNECTIONS_PER_SOURCE,
            streams: limits::STREAMS,
            handshake: limits::HANDSHAKE,
            request: limits::REQUEST,
            idle: limits::IDLE,
            age: limits::CONNECTION_AGE,
            grace: limits::CONNECTION_GRACE,
        }
    }
}

impl Default for Faces {
    fn default() -> Self {
        Self {
            grpc: true,
            http: true,
        }
    }
}

impl TryFrom<Vec<FaceName>> for Faces {
    type Error = InvalidListener;

    fn try_from(names: Vec<FaceName>) -> Result<Self, Self::Error> {
        if names.is_empty() {
            return Err(InvalidListener::NoFace);
        }
        Ok(Self {
            grpc: names.contains(&FaceName::Grpc),
            http: names.contains(&FaceName::Http),
        })
    }
}

impl std::str::FromStr for ListenAddress {
    type Err = InvalidListener;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unix = text.strip_prefix("unix:").map(PathBuf::from);
        match unix {
            Some(path) if path.is_absolute() => Ok(Self::Unix(path)),
            Some(_) => Err(InvalidListener::Address(text.to_owned())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| InvalidListener::Address(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = InvalidListener;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
