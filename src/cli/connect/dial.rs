//! Opens the channel: TLS with the named authorities only, or a Unix socket.

use super::{Server, Settings};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Time to connect: a broker is near, and whoever waits for a command wants to know.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for one call; backups of large stores take the longest.
const CALL: Duration = Duration::from_secs(300);
const HTTPS: u16 = 443;

pub(super) async fn channel(settings: &Settings) -> Result<Channel, Failure> {
    let connecting = async {
        match &settings.server {
            Server::Unix(path) => {
                let endpoint = endpoint("http://localhost".to_owned(), "http://localhost")?;
                let path = path.clone();
                let open = move || {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                };
                Ok(endpoint
                    .connect_with_connector(service_fn(move |_| open()))
                    .await)
            }
            Server::Https(authority) => {
                // The connector does TLS itself: tonic is given a plain address, and the true origin beside it.
                let plain = format!("http://{authority}");
                let endpoint = endpoint(plain, &settings.server.to_string())?;
                let tls = TlsConnector::from(Arc::new(tls(settings)?));
                let host = authority.host().trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(host.clone())
                    .map_err(|error| Failure::usage(format!("{host} is not a host")).why(error))?;
                let port = authority.port_u16().unwrap_or(HTTPS);
                let open = move || {
                    let (tls, host, name) = (tls.clone(), host.clone(), name.clone());
                    async move {
                        let tcp = TcpStream::connect((host, port)).await?;
                        tcp.set_nodelay(true)?;
                        tls.connect(name, tcp).await.map(TokioIo::new)
                    }
                };
                Ok(endpoint
                    .connect_with_connector(service_fn(move |_| open()))
                    .await)
            }
        }
    };
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(connected) => connected?.map_err(|error| unreachable(settings, &error)),
        Err(_) => Err(no_answer(settings).why(format!(
            "no connection within {} seconds",
            CONNECT.as_secs()
        ))),
    }
}

fn endpoint(address: String, origin: &str) -> Result<Endpoint, Failure> {
    let wrong = |error: &dyn StdError| Failure::usage("the broker's address is wrong").why(error);
    let origin = origin
        .parse()
        .map_err(|error: http::uri::InvalidUri| wrong(&error))?;
    let endpoint = Endpoint::from_shared(address).map_err(|error| wrong(&error))?;
    Ok(endpoint.origin(origin).timeout(CALL))
}

fn tls(settings: &Settings) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(settings.ca.as_deref().unwrap_or(Path::new("")))? {
        roots
            .add(certificate)
            .map_err(|error| Failure::usage("a certificate authority cannot be used").why(error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::fault("TLS cannot be set up").why(error))?
        .with_root_certificates(roots);
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let private =
                PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
            builder
                .with_client_auth_cert(certificates(chain)?, private)
                .map_err(|error| unusable(key, &error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the check of certificates.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(path, &error))?;
    if read.is_empty() {
        return Err(Failure::usage(format!(
            "{} holds no certificate",
            path.display()
        )));
    }
    Ok(read)
}

fn unusable(path: &Path, error: &dyn StdError) -> Failure {
    Failure::usage(format!("{} cannot be used", path.display())).why(error)
}

fn no_answer(settings: &Settings) -> Failure {
    let what = format!("{} cannot be reached", settings.server);
    Failure::new(Exit::Unreachable, "unreachable", what)
        .next("check that the broker runs, and --server")
}

fn unreachable(settings: &Settings, error: &tonic::transport::Error) -> Failure {
    let first: &(dyn StdError + 'static) = error;
    let causes = std::iter::successors(Some(first), |cause| (*cause).source());
    let io = causes
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .last();
    let Some(io) = io else {
        return no_answer(settings).why(error);
    };
    let inner = io
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        None => no_answer(settings).why(io),
        Some(rustls::Error::InvalidCertificate(cause)) => {
            let what = format!("{} is not believed to be the broker", settings.server);
            Failure::new(Exit::Unreachable, "certificate", what)
                .why(cause)
                .next("check that --ca holds the authority of the broker's certificate, and that --server is a name in it")
        }
        Some(cause) => {
            let what = format!("no TLS connection with {}", settings.server);
            Failure::new(Exit::Unreachable, "tls", what)
                .why(cause)
                .next("check --server, --cert and --key: the broker may demand another certificate")
        }
    }
}
