//! Opens the byte stream under a channel.

use super::Error;
use super::material::Material;
use crate::limits;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tower::Service;

/// What to connect to.
pub(super) enum Target {
    Tls {
        host: String,
        port: u16,
        name: ServerName<'static>,
        material: Material,
    },
    Unix(PathBuf),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls { host, port, .. } => write!(f, "https://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// An open byte stream, whatever is below it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[derive(Clone, Debug)]
pub(super) struct Connector(Arc<Target>);

impl Connector {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self(target)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let target = Arc::clone(&self.0);
        Box::pin(async move {
            let opening = target.open();
            match tokio::time::timeout(limits::CLIENT_CONNECT, opening).await {
                Ok(stream) => stream.map(TokioIo::new),
                Err(_) => Err(too_slow()),
            }
        })
    }
}

impl Target {
    async fn open(&self) -> Result<Box<dyn Stream>, Error> {
        match self {
            Self::Tls {
                host,
                port,
                name,
                material,
            } => {
                let config = Arc::clone(&material.load().await?.config);
                let tcp = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(unreachable)?;
                tcp.set_nodelay(true).map_err(unreachable)?;
                let tls = TlsConnector::from(config)
                    .connect(name.clone(), tcp)
                    .await
                    .map_err(|error| Error::from_handshake(&error))?;
                if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(Error::Protocol("the peer does not speak HTTP/2".into()));
                }
                Ok(Box::new(tls))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                Ok(Box::new(stream))
            }
        }
    }
}

fn unreachable(error: std::io::Error) -> Error {
    Error::Unreachable(error.to_string().into())
}

pub(super) fn too_slow() -> Error {
    let limit = limits::CLIENT_CONNECT.as_secs();
    Error::Unreachable(format!("no connection within {limit} seconds").into())
}
