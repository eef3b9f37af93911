//! A receiver of webhooks that notes every request, and answers as it is told.

use crate::support::https::Encrypted;
use crate::support::pki::Authority;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::serve::Listener;
use cambist::listener::provider;
use http::{HeaderMap, StatusCode, Uri, header};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request that was answered with yes.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, Default)]
struct Shared {
    taken: Arc<Mutex<Vec<Noted>>>,
    /// Every request there was.
    asked: Arc<Mutex<Vec<Noted>>>,
    status: Arc<AtomicU16>,
}

/// The receiver, for as long as the test's runtime lives.
pub(crate) struct Hook {
    pub(crate) url: String,
    shared: Shared,
}

impl Hook {
    /// Without TLS.
    pub(crate) async fn plain() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener).await
    }

    pub(crate) async fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        Self::serve(listener, &format!("http://{address}"))
    }

    /// With TLS, for clients of `authority` only.
    pub(crate) async fn encrypted(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor(authority, b"http/1.1");
        Self::serve(
            Encrypted { listener, acceptor },
            &format!("https://{address}"),
        )
    }

    fn serve<L: Listener>(listener: L, origin: &str) -> Self
    where
        L::Addr: std::fmt::Debug,
    {
        let shared = Shared::default();
        shared.status.store(200, Ordering::SeqCst);
        let router = Router::new().fallback(note).with_state(shared.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        Self {
            url: format!("{origin}/events"),
            shared,
        }
    }

    /// How it answers from now on.
    pub(crate) fn answer(&self, status: StatusCode) {
        self.shared.status.store(status.as_u16(), Ordering::SeqCst);
    }

    pub(crate) fn taken(&self) -> Vec<Noted> {
        self.shared.taken.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> Vec<Noted> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The records of all requests that were taken, in order.
    pub(crate) fn records(&self) -> Vec<Value> {
        let all = self.taken();
        let records = all.iter().map(|noted| -> Vec<Value> {
            match noted.headers[header::CONTENT_TYPE].to_str().unwrap() {
                "application/json" => serde_json::from_slice(&noted.body).unwrap(),
                _ => lines(&noted.body),
            }
        });
        records.flatten().collect()
    }
}

/// Values that stand in a line each.
pub(super) fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn note(
    uri: Uri,
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap) {
    let noted = Noted {
        path: uri.path().to_owned(),
        headers,
        body: body.to_vec(),
    };
    shared.asked.lock().unwrap().push(noted.clone());
    let status = StatusCode::from_u16(shared.status.load(Ordering::SeqCst)).unwrap();
    let mut headers = HeaderMap::new();
    match status {
        status if status.is_success() => shared.taken.lock().unwrap().push(noted),
        status if status.is_redirection() => {
            headers.insert(header::LOCATION, "/elsewhere".parse().unwrap());
        }
        _ => {}
    }
    (status, headers)
}

/// TLS for clients that show a certificate of `authority`, which vouches for the server as well.
pub(super) fn acceptor(authority: &Authority, protocol: &[u8]) -> TlsAcceptor {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
    roots.add(root.unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let identity = authority.server();
    let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
