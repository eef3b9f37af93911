//! From an accepted socket to a connection whose other end is known, or to a counted refusal.

use super::accept::Edge;
use super::admission::{Admission, Handshake, Place, SourcePlace};
use super::connection;
use super::observer::{Observer, Outcome};
use super::proxy;
use super::settings::ListenerConfig;
use super::shutdown::Shutdown;
use super::socket::Accepted;
use super::verifier::VERDICT;
use crate::authn::Peer;
use crate::clock::{Random, random};
use crate::limits;
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What the connections of one listener share.
pub(super) struct Port {
    pub(super) config: ListenerConfig,
    tls: Option<TlsAcceptor>,
    admission: Admission,
    lines: LineBudget,
    edge: Edge,
}

/// How many refusals are logged one by one.
#[derive(Debug, Default)]
struct LineBudget {
    second: AtomicU64,
    used: AtomicU32,
}

/// Why a connection attempt came to nothing: its outcome, and a text for the log.
type Failure = (Outcome, Cow<'static, str>);

impl Port {
    pub(super) fn new(config: ListenerConfig, tls: Option<TlsAcceptor>, edge: Edge) -> Self {
        Self {
            admission: Admission::new(&config.limits),
            lines: LineBudget::default(),
            config,
            tls,
            edge,
        }
    }

    /// Takes the places that can be taken without waiting, and goes on in a task.
    pub(super) fn admit(
        self: &Arc<Self>,
        accepted: Accepted,
        router: axum::Router,
        shutdown: &Shutdown,
    ) {
        let remote = accepted.remote();
        let place = match self.admission.connection() {
            Ok(place) => place,
            Err(outcome) => return self.refuse(remote, (outcome, "a bound is reached".into())),
        };
        let handshake = self.admission.handshake(remote);
        let port = Arc::clone(self);
        let stop = shutdown.clone();
        shutdown.tasks.spawn(async move {
            let opening = tokio::time::timeout(
                port.config.limits.handshake,
                port.open(accepted, &handshake),
            );
            let opened = tokio::select! {
                () = stop.hard.cancelled() => return,
                () = handshake.given_up() => {
                    Err((Outcome::TooManyHandshakes, "one of too many handshakes".into()))
                }
                opened = opening => {
                    opened.unwrap_or(Err((Outcome::Timeout, "the handshake took too long".into())))
                }
            };
            drop(handshake);
            match opened {
                Ok(open) => port.serve(open, place, router, &stop).await,
                Err(failure) => port.refuse(remote, failure),
            }
        });
    }

    async fn open(&self, accepted: Accepted, place: &Handshake) -> Result<Open, Failure> {
        match (accepted, &self.tls) {
            (Accepted::Tcp(stream, address), Some(tls)) => {
                self.open_tls(stream, address, tls, place).await
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
        place: &Handshake,
    ) -> Result<Open, Failure> {
        let mut address = remote.ip().to_canonical();
        if self.config.is_proxy(address) {
            let client = proxy::read(&mut stream).await;
            let client =
                client.map_err(|error| (Outcome::ProxyHeader, error.to_string().into()))?;
            address = client.unwrap_or(address);
            place.comes_from(address);
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
                let outcome = Outcome::Certificate(refusal.code(), address);
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
        // A client that has a certificate is an operator's concern, up to a rate; the noise of the network is
        // not. All are counted.
        let peer = remote.map(tracing::field::display);
        let concern = matches!(outcome, Outcome::Certificate(..) | Outcome::ProxyHeader);
        if concern && self.lines.allow(self.edge.clock.monotonic()) {
            tracing::info!(peer, code, %reason, "connection refused");
        } else {
            tracing::debug!(peer, code, %reason, "connection refused");
        }
    }
}

impl LineBudget {
    /// Whether one more line fits into this second. Two threads at its turn may let a line more through.
    fn allow(&self, monotonic: Duration) -> bool {
        let second = monotonic.as_secs();
        if self.second.swap(second, Ordering::AcqRel) != second {
            self.used.store(0, Ordering::Release);
        }
        self.used.fetch_add(1, Ordering::AcqRel) < limits::REFUSAL_LINES
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_n_a_second() {
        let lines = LineBudget::default();
        for second in [7, 8] {
            let now = Duration::from_secs(second);
            for _ in 0..limits::REFUSAL_LINES {
                assert!(lines.allow(now));
            }
            assert!(!lines.allow(now));
        }
    }

    #[test]
    fn ages_are_spread_over_the_last_tenth() {
        #[derive(Debug)]
        struct Fixed(u8);
        impl Random for Fixed {
            fn fill(&self, bytes: &mut [u8]) -> Result<(), crate::clock::NoRandomness> {
                bytes.fill(self.0);
                Ok(())
            }
        }
        let hour = Duration::from_secs(3600);
        assert_eq!(spread(hour, &Fixed(0)), hour);
        assert_eq!(spread(hour, &Fixed(255)), hour / 10 * 9);
    }
}
