//! What a listener is configured to be.

use crate::limits;
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where to listen.
    pub address: ListenAddress,
    /// Whether clients are asked for a certificate; by default `optional` over TCP, and never on a Unix socket.
    pub client_certificates: Option<ClientCertificates>,
    /// Networks whose hosts begin every connection with a PROXY v2 header.
    pub proxy_from: Vec<IpNet>,
    /// The protocols that are served; all by default.
    pub faces: Faces,
    /// What connections may cost.
    pub limits: ConnectionLimits,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP with TLS.
    Tcp(SocketAddr),
    /// A Unix socket without TLS; the peer is known by its user id.
    Unix(PathBuf),
}

/// Whether clients are asked for a certificate, and whether they must have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked.
    None,
    /// Asked; one that is shown must verify.
    Optional,
    /// No connection without one.
    Required,
}

/// Which protocols a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faces {
    /// gRPC.
    pub grpc: bool,
    /// HTTP.
    pub http: bool,
}

/// Bounds of one listener's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections in all.
    pub connections: usize,
    /// Open connections from one IPv4 address or IPv6 /64. Named proxies count by the address they name.
    pub connections_per_source: usize,
    /// Requests in flight on one HTTP/2 connection.
    pub streams: u32,
    /// Time for a handshake, a PROXY header included.
    pub handshake: Duration,
    /// Time in which the headers of a request must come, and in which its answer must begin.
    pub request: Duration,
    /// What the paths of requests begin with that may take [`limits::ADMIN_CALL`] instead of [`Self::request`].
    pub patient: Arc<[String]>,
    /// Time without a request after which a connection is closed: at the latest after twice this.
    pub idle: Duration,
    /// Age at which a connection is asked to go; a random tenth is taken off, so that clients do not come
    /// back all at once.
    pub age: Duration,
    /// Time for requests in flight once a connection was asked to go.
    pub grace: Duration,
}

/// Why a listener's configuration makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListener {
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
            patient: Arc::default(),
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
