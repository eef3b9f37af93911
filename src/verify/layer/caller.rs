//! What a caller proved of itself by its connection.

use crate::verify::verifier::Presenter;
use aws_lc_rs::digest::{SHA256, digest};
use http::Extensions;
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::sync::Arc;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

/// What a caller proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The key of the certificate with this SHA-256.
    Certificate([u8; 32]),
    /// Nothing.
    Unproven,
}

/// The certificate whose key the caller proved in the TLS handshake, by its SHA-256: in the extensions of a request, where
/// the server puts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCertificate(pub [u8; 32]);

impl PeerCertificate {
    /// Of the chain that the caller showed, its own certificate first.
    #[must_use]
    pub fn of_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        chain.first().map(|leaf| {
            let mut bytes = [0; 32];
            bytes.copy_from_slice(digest(&SHA256, leaf).as_ref());
            Self(bytes)
        })
    }
}

impl Caller {
    pub(super) const fn presenter(&self) -> Presenter<'_> {
        match self {
            Self::Certificate(digest) => Presenter::Certificate(digest),
            Self::Unproven => Presenter::NoCertificate,
        }
    }
}

/// How it is found out.
#[derive(Clone)]
pub(super) struct Find(Arc<dyn Fn(&Extensions) -> Caller + Send + Sync>);

impl Find {
    pub(super) fn by(find: impl Fn(&Extensions) -> Caller + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    pub(super) fn find(&self, extensions: &Extensions) -> Caller {
        (self.0)(extensions)
    }
}

impl Default for Find {
    fn default() -> Self {
        Self::by(|extensions| {
            let put = extensions.get::<PeerCertificate>().copied();
            let shown = || {
                let info = extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
                PeerCertificate::of_chain(&info.peer_certs()?)
            };
            let proven = put.or_else(shown);
            proven.map_or(Caller::Unproven, |certificate| {
                Caller::Certificate(certificate.0)
            })
        })
    }
}

impl fmt::Debug for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Find")
    }
}
