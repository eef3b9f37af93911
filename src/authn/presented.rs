//! What a caller shows, before any of it is believed.

use crate::secret::Secret;
use crate::trust::WorkloadCertificate;
use std::net::IpAddr;
use std::sync::Arc;

/// The credentials of one request and where it came from.
#[derive(Debug)]
pub struct Presented {
    /// Who the token will stand for.
    pub subject: Credential,
    /// Who acts for the subject, if that is another party (RFC 8693 section 1.1).
    pub actor: Option<Credential>,
    /// The connection it came over.
    pub peer: Arc<Peer>,
}

/// One presented credential.
#[derive(Debug)]
pub enum Credential {
    /// The text of an API key.
    ApiKey(Secret),
    /// A token and what its presenter says it is.
    Token(Secret, TokenType),
    /// The certificate of the TLS peer.
    PeerCertificate,
}

/// Kinds of token that may be presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `urn:ietf:params:oauth:token-type:access_token`: issued by this broker.
    AccessToken,
    /// `urn:ietf:params:oauth:token-type:jwt`: a JWT, whoever issued it.
    Jwt,
}

/// The protocol a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// gRPC.
    Grpc,
    /// HTTP with JSON or form bodies.
    Http,
}

impl Face {
    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// The other end of a connection, as far as the listener could prove it. One per connection, shared by its
/// requests.
#[derive(Debug, Default)]
pub struct Peer {
    /// The network address: the TCP peer's, or what a named PROXY v2 peer said. `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// The user id at the other end of a Unix socket.
    pub uid: Option<u32>,
    /// The client certificate that was verified in the handshake.
    pub certificate: Option<Arc<WorkloadCertificate>>,
}

impl Peer {
    /// Whether the connection itself says who is at the other end.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.certificate.is_some() || self.uid.is_some()
    }
}
