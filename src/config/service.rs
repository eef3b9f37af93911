//! The process around the broker: TLS files, the operations listener, policy files, store, limits.

use super::check::Check;
use super::duration;
use super::problem::KeyPath;
use crate::limits;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// `[tls]`: the server's own certificate.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain in PEM, leaf first.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
}

impl Tls {
    pub(super) fn resolve(self, check: &Check<'_, '_>) -> Self {
        Self {
            certificate: check.resolve(&self.certificate),
            key: check.resolve(&self.key),
        }
    }
}

/// `[ops]`: the operations listener.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Ops {
    /// Where metrics, liveness and readiness are served, without TLS.
    pub address: SocketAddr,
}

impl Default for Ops {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8444)),
        }
    }
}

/// `[policy]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyFiles {
    /// Cedar files, and directories whose `*.cedar` files are all read.
    pub files: Vec<PathBuf>,
}

impl PolicyFiles {
    pub(super) fn resolve(self, check: &Check<'_, '_>) -> Self {
        Self {
            files: self.files.iter().map(|path| check.resolve(path)).collect(),
        }
    }

    /// The files that are there now, each directory's in the order of their names.
    ///
    /// # Errors
    /// When a path is not there or a directory cannot be read; the path goes with it.
    pub fn list(&self) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
        let mut all = Vec::new();
        for path in &self.files {
            let failed = |error| (path.clone(), error);
            if !std::fs::metadata(path).map_err(failed)?.is_dir() {
                all.push(path.clone());
                continue;
            }
            let entries: Result<Vec<_>, _> = std::fs::read_dir(path).map_err(failed)?.collect();
            let mut inside: Vec<PathBuf> = entries
                .map_err(failed)?
                .iter()
                .map(std::fs::DirEntry::path)
                .filter(|file| file.extension().is_some_and(|name| name == "cedar"))
                .collect();
            inside.sort();
            all.append(&mut inside);
        }
        Ok(all)
    }
}

/// `[store]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// How long the view of the store may be out of date before issuance stops.
    #[serde(deserialize_with = "duration::deserialize")]
    pub staleness: Duration,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            staleness: limits::STALENESS,
        }
    }
}

impl Store {
    pub(super) fn check(&self, check: &mut Check<'_, '_>) {
        let at = KeyPath::default().key("store").key("staleness");
        check.time(&at, self.staleness, Duration::from_secs(1)..=minutes(60));
    }
}

/// `[limits]`: what connections may cost.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at once on each listener.
    pub connections: usize,
    /// Connections open at once from one source address on each listener.
    pub source_connections: usize,
    /// Streams in flight on one connection.
    pub streams: u32,
    /// Largest request message.
    pub message_bytes: usize,
    /// Time that a TLS handshake may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub handshake: Duration,
    /// Time that a connection may be idle.
    #[serde(deserialize_with = "duration::deserialize")]
    pub idle: Duration,
    /// Age at which a connection is asked to go.
    #[serde(deserialize_with = "duration::deserialize")]
    pub age: Duration,
    /// Time that calls in flight get at shutdown.
    #[serde(deserialize_with = "duration::deserialize")]
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            source_connections: limits::CONNECTIONS_PER_SOURCE,
            streams: limits::STREAMS,
            message_bytes: limits::MESSAGE,
            handshake: limits::HANDSHAKE,
            idle: limits::IDLE,
            age: limits::CONNECTION_AGE,
            drain: limits::DRAIN,
        }
    }
}

impl Limits {
    pub(super) fn check(&self, check: &mut Check<'_, '_>) {
        const LEAST_MESSAGE: usize = 4096;
        let at = KeyPath::default().key("limits");
        check.number(
            &at.key("connections"),
            self.connections,
            1..=limits::MOST_CONNECTIONS,
        );
        check.number(
            &at.key("source_connections"),
            self.source_connections,
            1..=self.connections,
        );
        check.number(&at.key("streams"), self.streams, 1..=u32::from(u16::MAX));
        check.number(
            &at.key("message_bytes"),
            self.message_bytes,
            LEAST_MESSAGE..=limits::MESSAGE,
        );
        let handshake = Duration::from_millis(100)..=minutes(1);
        check.time(&at.key("handshake"), self.handshake, handshake);
        check.time(&at.key("idle"), self.idle, Duration::from_secs(1)..=days(1));
        check.time(&at.key("age"), self.age, minutes(1)..=days(7));
        check.time(&at.key("drain"), self.drain, Duration::ZERO..=minutes(10));
    }
}

pub(super) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub(super) const fn days(count: u64) -> Duration {
    minutes(count * 24 * 60)
}
