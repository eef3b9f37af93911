//! Listeners: sockets, TLS, peer identity, and the bounds on what a connection may cost.
//!
//! A handshake runs in a task of its own, so a slow client never stops the port. What is known of the other
//! end is an [`crate::authn::Peer`], put as `Arc<Peer>` into the extensions of every request, whichever
//! protocol it came by. Forwarded headers are never read: an address comes from the socket, or from the
//! PROXY v2 header of a named peer.

mod accept;
mod admission;
mod connection;
mod identity;
mod observer;
mod port;
mod proxy;
mod request;
mod settings;
mod shutdown;
mod socket;
mod until_drain;
mod verifier;

pub use accept::{BindError, BoundAddress, Edge, Listener};
pub use connection::serve_plain;
pub use identity::{IdentityError, IdentityFiles, ServerIdentity};
pub use observer::{Observer, Outcome};
pub use settings::{
    ClientCertificates, ConnectionLimits, Faces, InvalidListener, ListenAddress, ListenerConfig,
};
pub use shutdown::Shutdown;
pub use until_drain::until_drain;
pub use verifier::provider;
