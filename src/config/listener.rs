//! Where the broker listens, and for whom.

use super::check::Check;
use super::problem::KeyPath;
use crate::limits;
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use toml::Spanned;

/// One `[[listener]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: Address,
    /// What is served there; at least one.
    pub faces: Vec<Face>,
    /// Whether clients show certificates; [`ClientCertificates::None`] on a Unix socket.
    pub client_certificates: ClientCertificates,
    /// Peers whose PROXY v2 header is believed; none on a Unix socket.
    pub proxy_from: Vec<IpNet>,
}

/// A listener's address.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(try_from = "String")]
pub enum Address {
    /// TLS over TCP.
    Tcp(SocketAddr),
    /// A Unix socket, where the peer's uid is known and TLS would protect nothing.
    Unix(PathBuf),
}

/// A text that is no address.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidAddress {
    /// Neither form.
    #[error("not an IP address and port, and not unix:/path")]
    Form,
    /// Over what the kernel takes.
    #[error("the path of a Unix socket is longer than {} bytes", limits::UNIX_PATH)]
    TooLong,
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.strip_prefix("unix:") {
            Some("") => Err(InvalidAddress::Form),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| InvalidAddress::Form),
        }
    }
}

impl Address {
    /// Port 0: the system chooses one that is free, another each time.
    #[must_use]
    pub fn is_chosen_by_system(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Face {
    /// The gRPC services.
    Grpc,
    /// Metadata and key set.
    Http,
}

/// Whether a listener asks for client certificates.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Not asked for.
    None,
    /// Asked for; callers without one are served.
    Optional,
    /// Callers without one are turned away in the handshake.
    Required,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    address: Address,
    #[serde(default = "default_faces")]
    faces: Vec<Face>,
    client_certificates: Option<ClientCertificates>,
    #[serde(default)]
    proxy_from: Vec<IpNet>,
}

fn default_faces() -> Vec<Face> {
    vec![Face::Grpc, Face::Http]
}

/// Checks all listeners; what was set aside is not there.
pub(super) fn check(raw: Vec<Spanned<Raw>>, check: &mut Check<'_, '_>) -> Vec<Listener> {
    let all = KeyPath::default().key("listener");
    if raw.is_empty() && !check.is_set_aside(&all) {
        check.refuse(&all, "there is no [[listener]]");
    }
    let mut addresses = HashSet::new();
    let mut listeners = Vec::new();
    for raw in raw {
        let at = check.path_at(&raw.span());
        let listener = check_one(raw.into_inner(), &at, check);
        if !listener.address.is_chosen_by_system() && !addresses.insert(listener.address.clone()) {
            let message = format!("{} has a listener already", listener.address);
            check.refuse(&at.key("address"), message);
        }
        listeners.push(listener);
    }
    listeners
}

fn check_one(raw: Raw, at: &KeyPath, check: &mut Check<'_, '_>) -> Listener {
    let Raw {
        address,
        faces,
        client_certificates,
        proxy_from,
    } = raw;
    if faces.is_empty() {
        check.refuse(&at.key("faces"), "nothing would be served here");
    }
    let mut seen = HashSet::new();
    if !faces.iter().all(|face| seen.insert(*face)) {
        check.refuse(&at.key("faces"), "a face is named twice");
    }
    let (address, default_certificates) = match address {
        Address::Tcp(address) => (Address::Tcp(address), ClientCertificates::Optional),
        Address::Unix(path) => {
            let path = check.resolve(&path);
            if path.as_os_str().len() > limits::UNIX_PATH {
                check.refuse(&at.key("address"), InvalidAddress::TooLong);
            }
            if client_certificates.is_some_and(|mode| mode != ClientCertificates::None) {
                let message = "a Unix socket has no TLS, so no client certificates";
                check.refuse(&at.key("client_certificates"), message);
            }
            if !proxy_from.is_empty() {
                check.refuse(
                    &at.key("proxy_from"),
                    "no proxy speaks to a Unix socket for others",
                );
            }
            (Address::Unix(path), ClientCertificates::None)
        }
    };
    Listener {
        address,
        faces,
        client_certificates: client_certificates.unwrap_or(default_certificates),
        proxy_from,
    }
}
