//! From a socket to connections that are served.

use super::admission::{Admission, Place, SourcePlace};
use super::connection;
use super::identity::ServerIdentity;
use super::observer::{Observer, Outcome};
use super::proxy;
use super::settings::{InvalidListener, ListenAddress, ListenerConfig};
use super::shutdown::Shutdown;
use super::socket::{Accepted, Socket};
use super::verifier::{VERDICT, server_config};
use crate::authn::Peer;
use crate::clock::{Clock, Random, random};
use crate::trust::TrustStore;
use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Pause after a failed `accept`: the usual cause, too many open files, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all listeners share.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The server's certificate; only listeners with TLS need one.
    pub identity: Option<Arc<ServerIdentity>>,
    /// Who client certificates are checked against.
    pub trust: Arc<TrustStore>,
    /// For the validity of certificates.
    pub clock: Arc<dyn Clock>,
    /// Spreads the ages of connections.
    pub random: Arc<dyn Random>,
    /// Counts what happens.
    pub observer: Arc<dyn Observer>,
}

/// Where a listener listens in fact: the port is known even if the configuration says 0.
pub type BoundAddress = ListenAddress;

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its configuration makes no sense.
    #[error(transparent)]
    Config(#[from] InvalidListener),
    /// TLS without a server certificate.
    #[error("listening on {0} needs a server certificate")]
    NoIdentity(ListenAddress),
    /// The operating system refused.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: ListenAddress,
        /// What the operating system says.
        source: io::Error,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A bound listener. Connections wait in the kernel until [`Listener::run`].
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: BoundAddress,
    port: Port,
}

/// What the connections of one listener share.
struct Port {
    config: ListenerConfig,
    tls: Option<TlsAcceptor>,
    admission: Admission,
    edge: Edge,
}

/// Why a connection attempt came to nothing: its outcome, and a text for the log.
type Failure = (Outcome, Cow<'static, str>);

impl Listener {
    /// Binds at once. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(config: ListenerConfig, edge: Edge) -> Result<Self, BindError> {
        config.validate()?;
        let tls = match (&config.address, &edge.identity) {
            (ListenAddress::Unix(_), _) => None,
            (ListenAddress::Tcp(_), None) => {
                return Err(BindError::NoIdentity(config.address.clone()));
            }
            (ListenAddress::Tcp(_), Some(identity)) => Some(server_config(
                config.client_certificates(),
                Arc::clone(identity),
                Arc::clone(&edge.trust),
                Arc::clone(&edge.clock),
            )?),
        };
        let socket = Socket::bind(&config.address)?;
        let address = socket.address().map_err(|source| BindError::Bind {
            address: config.address.clone(),
            source,
        })?;
        let port = Port {
            admission: Admission::new(&config.limits),
            tls: tls.map(TlsAcceptor::from),
            config,
            edge,
        };
        Ok(Self {
            socket,
            address,
            port,
        })
    }

    /// Where it listens in fact.
    #[must_use]
    pub fn address(&self) -> &BoundAddress {
        &self.address
    }

    /// As it was configured: which faces the router must have, for one.
    #[must_use]
    pub fn config(&self) -> &ListenerConfig {
        &self.port.config
    }

    /// Serves `router` until `shutdown.drain`; connections go on in `shutdown.tasks` until they are done or
    /// `shutdown.hard`.
    pub async fn run(self, router: axum::Router, shutdown: Shutdown) {
        let port = Arc::new(self.port);
        let router = router.with_state(());
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.drain.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => port.admit(accepted, router.clone(), &shutdown),
                Err(error) => {
                    tracing::warn!(listener = %self.address, %error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Port {
    /// Takes the places that can be taken without waiting, and goes on in a task.
    fn admit(self: &Arc<Self>, accepted: Accepted, router: axum::Router, shutdown: &Shutdown) {
        let remote = accepted.remote();
        let places = self
            .admission
            .connection()
            .and_then(|place| Ok((place, self.admission.handshake()?)));
        let (place, handshake) = match places {
            Ok(places) => places,
            Err(outcome) => return self.refuse(remote, (outcome, "a bound is reached".into())),
        };
        let port = Arc::clone(self);
        let stop = shutdown.clone();
        shutdown.tasks.spawn(async move {
            let opening = tokio::time::timeout(port.config.limits.handshake, port.open(accepted));
            let opened = tokio::select! {
                () = stop.hard.cancelled() => return,
                opened = opening => opened.unwrap_or(Err((Outcome::Timeout, "took too long".into()))),
            };
            drop(handshake);
            match opened {
                Ok(open) => port.serve(open, place, router, &stop).await,
                Err(failure) => port.refuse(remote, failure),
            }
        });
    }

    async fn open(&self, accepted: Accepted) -> Result<Open, Failure> {
        match (accepted, &self.tls) {
            (Accepted::Tcp(stream, address), Some(tls)) => {
                self.open_tls(stream, address, tls).await
            }
            (Accepted::Unix(stream), _) => open_unix(stream),
            (Accepted::Tcp(..), None) => Err((Outcome::Tls, "no TLS is configured".into())),
        }
    }

    async fn open_tls(
        &self,
        mut stream: TcpStream,
        remote: SocketAddr,
        tls: &TlsAcceptor,
    ) -> Result<Open, Failure> {
        let mut address = remote.ip().to_canonical();
        if self.config.is_proxy(address) {
            let client = proxy::read(&mut stream).await;
            let client =
                client.map_err(|error| (Outcome::ProxyHeader, error.to_string().into()))?;
            address = client.unwrap_or(address);
        }
        let source = self.admission.source(address).map_err(|outcome| {
            (
                outcome,
                format!("too many connections from {address}").into(),
            )
        })?;
        let handshake = async {
            let stream = tls.accept(stream).await;
            (stream, VERDICT.with(RefCell::take))
        };
        let (stream, verdict) = VERDICT.scope(RefCell::new(None), handshake).await;
        let certificate = match verdict {
            Some(Err(refusal)) => {
                let outcome = Outcome::Certificate(refusal.code());
                return Err((outcome, refusal.to_string().into()));
            }
            Some(Ok(certificate)) => Some(Arc::new(certificate)),
            None => None,
        };
        let stream = stream.map_err(|error| (Outcome::Tls, error.to_string().into()))?;
        if certificate.is_none() && stream.get_ref().1.peer_certificates().is_some() {
            let text = "a client certificate that was not checked in this handshake";
            return Err((Outcome::Tls, text.into()));
        }
        Ok(Open {
            stream: OpenStream::Tls(Box::new(stream)),
            peer: Peer {
                address: Some(address),
                uid: None,
                certificate,
            },
            source: Some(source),
        })
    }

    async fn serve(&self, open: Open, place: Place, router: axum::Router, shutdown: &Shutdown) {
        self.edge.observer.attempt(Outcome::Served);
        self.edge.observer.opened();
        let _closed = Closed(self.edge.observer.as_ref());
        let _places = (place, open.source);
        let mut limits = self.config.limits.clone();
        limits.age = spread(limits.age, self.edge.random.as_ref());
        let peer = Arc::new(open.peer);
        match open.stream {
            OpenStream::Tls(stream) => {
                connection::serve(*stream, peer, router, &limits, shutdown).await;
            }
            OpenStream::Unix(stream) => {
                connection::serve(stream, peer, router, &limits, shutdown).await;
            }
        }
    }

    fn refuse(&self, remote: Option<IpAddr>, (outcome, reason): Failure) {
        self.edge.observer.attempt(outcome);
        let code = outcome.code();
        // A client that has a certificate is an operator's concern; the noise of the network is not.
        if matches!(outcome, Outcome::Certificate(_) | Outcome::ProxyHeader) {
            tracing::info!(peer = ?remote, code, %reason, "connection refused");
        } else {
            tracing::debug!(peer = ?remote, code, %reason, "connection refused");
        }
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Accepted {
    fn remote(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }
}

/// A connection whose other end is known.
struct Open {
    stream: OpenStream,
    peer: Peer,
    source: Option<SourcePlace>,
}

enum OpenStream {
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Reports the end of a connection however it ends.
struct Closed<'a>(&'a dyn Observer);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.closed();
    }
}

fn open_unix(stream: UnixStream) -> Result<Open, Failure> {
    let credentials = stream
        .peer_cred()
        .map_err(|error| (Outcome::Broken, error.to_string().into()))?;
    Ok(Open {
        stream: OpenStream::Unix(stream),
        peer: Peer {
            address: None,
            uid: Some(credentials.uid()),
            certificate: None,
        },
        source: None,
    })
}

/// Takes a random part of a tenth off `age`, so that connections that began together do not end so.
fn spread(age: Duration, source: &dyn Random) -> Duration {
    let [byte] = random::<1>(source).unwrap_or_default();
    age - age / 10 * u32::from(byte) / 255
}
