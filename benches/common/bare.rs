//! How a bare stack is served: tonic over TLS, as the broker serves, and nothing else.

use super::role::tell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

/// Serves until the process is ended, with what `tls` holds.
pub async fn serve<S>(tls: &Path, service: S)
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let read = |name: &str| std::fs::read(tls.join(name)).unwrap();
    let identity = Identity::from_pem(read("server.pem"), read("server.key"));
    let client_ca = Certificate::from_pem(read("workload-ca.pem"));
    let config = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(client_ca)
        .client_auth_optional(true);
    let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .unwrap()
        .with_nodelay(Some(true));
    tell("ready", &incoming.local_addr().unwrap().to_string());
    let mut server = Server::builder().tls_config(config).unwrap();
    let served = server.add_service(service).serve_with_incoming(incoming);
    served.await.unwrap();
}
