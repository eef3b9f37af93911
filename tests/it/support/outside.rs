//! A server of another party: real HTTPS on loopback, with a CA of its own.

use super::pki::Authority;
use super::standin::server_config;
use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// Serves until it is dropped.
pub(crate) struct Outside {
    /// `https://localhost:PORT`.
    pub(crate) origin: String,
    ca: String,
    _serving: AbortOnDropHandle<()>,
}

impl Outside {
    pub(crate) async fn serve(router: Router) -> Self {
        let authority = Authority::new("outside");
        let config = server_config(&authority.server(), None, b"http/1.1");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = TowerToHyperService::new(router);
                    let connection = hyper::server::conn::http1::Builder::new();
                    let served = connection.serve_connection(TokioIo::new(stream), service);
                    let _the_other_end_left = served.await;
                });
            }
        });
        Self {
            origin,
            ca: authority.pem().to_owned(),
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Puts the certificate of its CA into a file.
    pub(crate) fn write_ca(&self, path: &Path) {
        std::fs::write(path, &self.ca).unwrap();
    }
}
