//! Binding a listener, and its accept loop.

use super::identity::ServerIdentity;
use super::observer::Observer;
use super::port::Port;
use super::settings::{InvalidListener, ListenAddress, ListenerConfig};
use super::shutdown::Shutdown;
use super::socket::Socket;
use super::verifier::server_config;
use crate::clock::{Clock, Random};
use crate::trust::TrustStore;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

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
        let port = Port::new(config, tls.map(TlsAcceptor::from), edge);
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
