//! Where the broker is, and how to reach it.

use super::connector::{Connector, Target};
use super::material::{Digest, Material, TlsFiles};
use super::{Error, connector};
use crate::limits;
use http::Uri;
use rustls_pki_types::ServerName;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;

/// How often an idle connection is probed, so that a peer that vanished is noticed within the minute.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a probe's answer may take.
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(10);

/// A broker's address and what is needed to connect to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Endpoint {
    target: Arc<Target>,
    transport: tonic::transport::Endpoint,
}

/// A connection, and the material that it was made with.
pub(super) struct Connected {
    pub(super) channel: Channel,
    pub(super) digest: Option<Digest>,
}

impl Endpoint {
    /// Parses `https://host[:port]`, which needs `tls`, or `unix:///path`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(address: &str, tls: Option<TlsFiles>) -> Result<Self, Error> {
        if let Some(path) = address.strip_prefix("unix://") {
            return Self::unix(path);
        }
        let tls = tls.ok_or_else(|| invalid(address, "it needs a CA bundle to trust"))?;
        Self::https(address, tls)
    }

    /// A broker on a Unix socket.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the path is absolute.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        if !path.is_absolute() {
            return Err(invalid(
                &path.display().to_string(),
                "the path is not absolute",
            ));
        }
        Self::new(Target::Unix(path), "localhost")
    }

    /// A broker behind TLS, at `https://host[:port]`; the port is 443 where none is given.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn https(address: &str, tls: TlsFiles) -> Result<Self, Error> {
        let uri: Uri = address
            .parse()
            .map_err(|error: http::uri::InvalidUri| invalid(address, &error.to_string()))?;
        if uri.scheme_str() == Some("http") {
            let why = "without TLS, anybody on the way could take the tokens";
            return Err(invalid(address, why));
        }
        let (Some("https"), Some(authority), "/") = (
            uri.scheme_str(),
            uri.authority(),
            uri.path_and_query().map_or("/", |path| path.as_str()),
        ) else {
            return Err(invalid(address, "it is not `https://host[:port]`"));
        };
        if authority.as_str().contains('@') {
            return Err(invalid(address, "it names a user"));
        }
        let port = match (authority.port_u16(), authority.as_str() == authority.host()) {
            (Some(port), _) => port,
            (None, true) => 443,
            (None, false) => return Err(invalid(address, "its port is not a number below 65536")),
        };
        let host = authority.host();
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| invalid(address, &error.to_string()))?;
        let target = Target::Tls {
            address: plain("http", &format!("{host}:{port}"))?,
            name,
            material: Material::new(tls),
        };
        Self::new(target, authority.as_str())
    }

    fn new(target: Target, authority: &str) -> Result<Self, Error> {
        let scheme = match &target {
            Target::Tls { .. } => "https",
            Target::Unix(_) => "http",
        };
        // The connector does TLS itself: tonic is given a plain address, and the true origin beside it.
        let transport = tonic::transport::Endpoint::from(plain("http", authority)?)
            .origin(plain(scheme, authority)?)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_ANSWER)
            .keep_alive_while_idle(true);
        Ok(Self {
            target: Arc::new(target),
            transport,
        })
    }

    /// Lets a call take at most this long until its answer begins; without, a call has no end of its own.
    #[must_use]
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.transport = self.transport.timeout(timeout);
        self
    }

    /// A channel that is connected now and reconnects by itself, with the files as they are then.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Tls`], [`Error::File`], [`Error::Protocol`].
    pub async fn channel(&self) -> Result<Channel, Error> {
        let connecting = self.transport.connect_with_connector(self.connector());
        match tokio::time::timeout(limits::CLIENT_CONNECT, connecting).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(Error::from_transport(&error)),
            Err(_) => Err(connector::too_slow()),
        }
    }

    /// A channel that connects at its first call and reconnects by itself.
    #[must_use]
    pub fn channel_lazy(&self) -> Channel {
        self.transport.connect_with_connector_lazy(self.connector())
    }

    /// A new connection with the files as they are now.
    pub(super) async fn connect(&self) -> Result<Connected, Error> {
        // Taken before connecting: what is rotated in between is noticed the next time.
        let digest = self.digest().await?;
        let channel = self.channel().await?;
        Ok(Connected { channel, digest })
    }

    /// The fingerprint of the TLS material as it is now.
    pub(super) async fn digest(&self) -> Result<Option<Digest>, Error> {
        match &*self.target {
            Target::Tls { material, .. } => Ok(Some(material.load().await?.digest)),
            Target::Unix(_) => Ok(None),
        }
    }

    fn connector(&self) -> Connector {
        Connector::new(Arc::clone(&self.target))
    }
}

/// `scheme://authority/`.
fn plain(scheme: &str, authority: &str) -> Result<Uri, Error> {
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query("/")
        .build()
        .map_err(|error| invalid(authority, &error.to_string()))
}

fn invalid(address: &str, why: &str) -> Error {
    Error::Invalid(format!("`{address}` is not a broker's address: {why}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Result<Endpoint, Error> {
        Endpoint::parse(address, Some(TlsFiles::new("ca.pem")))
    }

    #[test]
    fn addresses_are_parsed_once() {
        for good in [
            "https://broker.example.org",
            "https://broker.example.org:8443",
            "https://broker.example.org:8443/",
            "https://127.0.0.1:1",
            "https://[::1]:8443",
            "unix:///run/cambist.sock",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "broker.example.org",
            "http://broker.example.org",
            "https://",
            "https://user@broker.example.org",
            "https://broker.example.org/path",
            "https://broker.example.org/?q",
            "https://broker.example.org:99999",
            "https://broker.example.org:",
            "https://under_score..example.org",
            "unix://relative",
            "unix:",
        ] {
            assert!(matches!(parse(bad), Err(Error::Invalid(_))), "{bad}");
        }
    }

    #[test]
    fn a_remote_broker_is_never_reached_without_named_roots() {
        assert!(Endpoint::parse("https://broker.example.org", None).is_err());
        assert!(Endpoint::parse("unix:///run/cambist.sock", None).is_ok());
    }
}
