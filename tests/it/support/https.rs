//! An https server of fixed answers on the loopback interface, with its own CA.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A server, for as long as the test's runtime lives.
pub(crate) struct Https {
    pub(crate) origin: String,
    pub(crate) ca: CertificateDer<'static>,
    answers: Arc<Mutex<HashMap<String, (String, String)>>>,
}

impl Https {
    /// Answers each path with a head (status and header lines) and a body, made when the origin is known.
    pub(crate) async fn serve(
        answers: impl FnOnce(&str) -> HashMap<String, (String, String)>,
    ) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        leaf.distinguished_name
            .push(DnType::CommonName, "test server");
        let certificate = leaf.signed_by(&key, &ca).unwrap();

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("https://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(answers(&origin)));
        let shared = Arc::clone(&answers);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answers) = (acceptor.clone(), Arc::clone(&answers));
                tokio::spawn(async move {
                    // A client that does not trust us leaves in the handshake.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => request.push(byte),
                            Err(_) => return,
                        }
                    }
                    let text = String::from_utf8(request).unwrap();
                    let path = text.split(' ').nth(1).unwrap();
                    let missing = ("404 Not Found".to_owned(), String::new());
                    let answer = answers.lock().unwrap().get(path).cloned();
                    let (head, body) = answer.unwrap_or(missing);
                    let reply = format!(
                        "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(reply.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self {
            origin,
            ca: ca.der().clone(),
            answers: shared,
        }
    }

    /// Answers a path with this head and body from now on.
    pub(crate) fn answer(&self, path: &str, head: &str, body: &str) {
        let answer = (head.to_owned(), body.to_owned());
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }
}

/// Connections of those who finish the handshake.
pub(crate) struct Encrypted {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            // Whoever does not believe the other one leaves in the handshake.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
