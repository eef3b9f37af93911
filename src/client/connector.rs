//! Opens the byte stream under a channel.

use super::Error;
use super::material::Material;
use crate::limits;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tower::Service;

/// What to connect to.
pub(super) enum Target {
    Tls {
        /// Host and port.
        address: Uri,
        name: ServerName<'static>,
        material: Material,
    },
    Unix(PathBuf),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls { address, .. } => f.write_str(&address.to_string()),
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
                address,
                name,
                material,
            } => {
                let config = Arc::clone(&material.load().await?.config);
                let tcp = tcp(GaiResolver::new()).call(address.clone()).await;
                let tcp = tcp.map_err(|error| unreachable(&error))?;
                let tls = TlsConnector::from(config)
                    .connect(name.clone(), tcp.into_inner())
                    .await
                    .map_err(|error| Error::from_handshake(&error))?;
                if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(Error::Protocol("the peer does not speak HTTP/2".into()));
                }
                Ok(Box::new(tls))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Ok(Box::new(stream.map_err(|error| unreachable(&error))?))
            }
        }
    }
}

/// Connects to one of a name's addresses: each in turn for its share of the time, both families side by side (RFC 8305).
fn tcp<R>(resolver: R) -> HttpConnector<R> {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.set_connect_timeout(Some(limits::CLIENT_ADDRESSES));
    connector.set_nodelay(true);
    connector
}

/// The last cause says most, and nothing of the layers above it.
fn unreachable(error: &(dyn std::error::Error + 'static)) -> Error {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let last = causes.last().map(ToString::to_string);
    Error::Unreachable(last.unwrap_or_default().into())
}

pub(super) fn too_slow() -> Error {
    let limit = limits::CLIENT_CONNECT.as_secs();
    Error::Unreachable(format!("no connection within {limit} seconds").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    #[tokio::test]
    async fn a_dead_address_leaves_time_for_the_next() {
        // Nobody accepts there, and what may wait for it does: whoever comes next gets no answer at all.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let dead = full.local_addr().unwrap();
        let mut crowd: Vec<_> = (0..8).map(|_| Box::pin(TcpStream::connect(dead))).collect();
        std::future::poll_fn(|context| {
            for one in &mut crowd {
                let _ = one.as_mut().poll(context);
            }
            Poll::Ready(())
        })
        .await;
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [dead, live.local_addr().unwrap()];
        let resolver = tower::service_fn(move |_| {
            std::future::ready(Ok::<_, Infallible>(Vec::from(addresses).into_iter()))
        });
        let address = "http://broker.example.org/".parse().unwrap();
        let connected = tokio::time::timeout(limits::CLIENT_CONNECT, tcp(resolver).call(address));
        let connected = connected.await.unwrap().unwrap().into_inner();
        assert_eq!(connected.peer_addr().ok(), live.local_addr().ok());
        drop((crowd, full));
    }
}
