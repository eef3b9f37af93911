//! A listener on loopback, and clients of several kinds.

use super::clock::testing::TestClock;
use super::svid::{Authority, Identity, NOW, World};
use axum::extract::{Request, State};
use axum::routing::{any, get};
use axum::{Extension, Router};
use cambist::authn::Peer;
use cambist::clock::SystemRandomness;
use cambist::listener::{
    Edge, IdentityFiles, ListenAddress, Listener, ListenerConfig, Observer, Outcome,
    ServerIdentity, Shutdown, provider,
};
use cambist::trust::TrustStore;
use http::{StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longer than anything takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What `future` comes to, if it comes in time.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// How often a condition is looked at again.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    within(what, looking).await;
}

/// Notes what a listener reports.
#[derive(Debug)]
pub(crate) struct Noted {
    outcomes: mpsc::UnboundedSender<Outcome>,
    open: watch::Sender<usize>,
}

impl Observer for Noted {
    fn attempt(&self, outcome: Outcome) {
        let _nobody_listens_any_more = self.outcomes.send(outcome);
    }

    fn opened(&self) {
        self.open.send_modify(|open| *open += 1);
    }

    fn closed(&self) {
        self.open.send_modify(|open| *open -= 1);
    }
}

/// A gate that `/wait` stands before, and how many stand there.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) waiting: Arc<watch::Sender<usize>>,
    pub(crate) open: Arc<Semaphore>,
}

impl Gate {
    /// Waits until `n` requests stand before the gate.
    pub(crate) async fn holds(&self, n: usize) {
        let mut waiting = self.waiting.subscribe();
        within(
            "requests before the gate",
            waiting.wait_for(|now| *now == n),
        )
        .await
        .unwrap();
    }
}

/// A running listener.
pub(crate) struct Server {
    pub(crate) address: ListenAddress,
    pub(crate) world: World,
    pub(crate) trust: Arc<TrustStore>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) identity: Arc<ServerIdentity>,
    pub(crate) files: IdentityFiles,
    pub(crate) shutdown: Shutdown,
    pub(crate) gate: Gate,
    _folder: tempfile::TempDir,
    authority: Authority,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    open: watch::Receiver<usize>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ListenerConfig)) -> Self {
        Self::serving(change, |router| router)
    }

    pub(crate) fn serving(
        change: impl FnOnce(&mut ListenerConfig),
        extend: impl FnOnce(Router) -> Router,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (world, authority) = (World::new(), Authority::new("server.example.org"));
        let clock = TestClock::at(NOW);
        let trust = Arc::new(TrustStore::new());
        trust.replace(world.bundles()).unwrap();
        let files = IdentityFiles {
            certificate: folder.path().join("server.pem"),
            key: folder.path().join("server.key"),
        };
        write_identity(&files, &authority.server());
        let identity = ServerIdentity::load(files.clone(), clock.clone()).unwrap();
        let (sender, outcomes) = mpsc::unbounded_channel();
        let (open_sender, open) = watch::channel(0);
        let edge = Edge {
            identity: Some(Arc::clone(&identity)),
            trust: Arc::clone(&trust),
            clock: clock.clone(),
            random: SystemRandomness::shared(),
            observer: Arc::new(Noted {
                outcomes: sender,
                open: open_sender,
            }),
        };
        let mut config = ListenerConfig::at(ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()));
        change(&mut config);
        let listener = Listener::bind(config, edge).unwrap();
        let address = listener.address().clone();
        let gate = Gate {
            waiting: Arc::new(watch::Sender::new(0)),
            open: Arc::new(Semaphore::new(0)),
        };
        let shutdown = Shutdown::default();
        tokio::spawn(listener.run(extend(router(gate.clone())), shutdown.clone()));
        Self {
            address,
            world,
            trust,
            clock,
            identity,
            files,
            shutdown,
            gate,
            _folder: folder,
            authority,
            outcomes,
            open,
        }
    }

    pub(crate) fn socket(&self) -> SocketAddr {
        match &self.address {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(path) => panic!("not TCP: {}", path.display()),
        }
    }

    /// The next outcome of a connection attempt.
    pub(crate) async fn outcome(&mut self) -> &'static str {
        within("an outcome", self.outcomes.recv())
            .await
            .unwrap()
            .code()
    }

    /// Waits until `n` connections are being served.
    pub(crate) async fn serves(&self, n: usize) {
        let mut open = self.open.clone();
        within("open connections", open.wait_for(|now| *now == n))
            .await
            .unwrap();
    }

    /// What a client that trusts this server and shows `identity` is set to.
    pub(crate) fn client(&self, identity: Option<&Identity>) -> ClientConfig {
        self.client_of(
            identity,
            &[&rustls::version::TLS13, &rustls::version::TLS12],
        )
    }

    pub(crate) fn client_of(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.clone_key();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    /// A new server certificate of the authority that clients trust.
    pub(crate) fn renewed(&self) -> Identity {
        self.authority.server()
    }
}

pub(crate) fn write_identity(files: &IdentityFiles, identity: &Identity) {
    fs::write(&files.certificate, identity.chain_pem()).unwrap();
    fs::write(&files.key, &identity.key_pem).unwrap();
}

fn router(gate: Gate) -> Router {
    Router::new()
        .route("/peer", get(peer))
        .route("/length", any(length))
        .route("/wait", any(wait))
        .with_state(gate)
}

async fn peer(Extension(peer): Extension<Arc<Peer>>) -> String {
    let id = peer.certificate.as_ref().map(|c| c.spiffe_id().to_string());
    format!(
        "{} {} {}",
        peer.address.map_or("-".into(), |a| a.to_string()),
        peer.uid.map_or("-".into(), |uid| uid.to_string()),
        id.unwrap_or("-".into()),
    )
}

async fn length(request: Request) -> Result<String, StatusCode> {
    match request.into_body().collect().await {
        Ok(body) => Ok(body.to_bytes().len().to_string()),
        Err(_) => Err(StatusCode::PAYLOAD_TOO_LARGE),
    }
}

async fn wait(State(gate): State<Gate>) -> &'static str {
    struct Standing(Arc<watch::Sender<usize>>);
    impl Drop for Standing {
        fn drop(&mut self) {
            self.0.send_modify(|n| *n -= 1);
        }
    }
    gate.waiting.send_modify(|n| *n += 1);
    let _standing = Standing(gate.waiting);
    gate.open.acquire().await.unwrap().forget();
    "through"
}

/// A TLS connection to `address`.
pub(crate) async fn connect(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    tls(TcpStream::connect(address).await?, config).await
}

pub(crate) async fn tls(
    stream: TcpStream,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// An answer, as far as tests look at it.
pub(crate) type Answer = (StatusCode, http::HeaderMap, String);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A connection that speaks HTTP/1.1 or HTTP/2.
pub(crate) enum Client {
    H1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    H2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub(crate) async fn h1<IO>(io: IO) -> Result<Self, AnyError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
        tokio::spawn(driver);
        Ok(Self::H1(sender))
    }

    pub(crate) async fn h2<IO>(io: IO) -> Result<Self, AnyError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let executor = TokioExecutor::new();
        let (sender, driver) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(io)).await?;
        tokio::spawn(driver);
        Ok(Self::H2(sender))
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, AnyError> {
        self.send(request(path, Bytes::new())).await
    }

    pub(crate) async fn send(
        &mut self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<Answer, AnyError> {
        let response = match self {
            Self::H1(sender) => sender.send_request(request).await?,
            Self::H2(sender) => sender.send_request(request).await?,
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await?;
        let text = String::from_utf8(body.to_bytes().to_vec())?;
        Ok((parts.status, parts.headers, text))
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn closes(&mut self) {
        let closed = async {
            while !self.is_closed() {
                tokio::task::yield_now().await;
            }
        };
        within("the connection to close", closed).await;
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::H1(sender) => sender.is_closed(),
            Self::H2(sender) => sender.is_closed(),
        }
    }
}

pub(crate) fn request(path: &str, body: Bytes) -> http::Request<Full<Bytes>> {
    http::Request::builder()
        .uri(format!("https://localhost{path}"))
        .method(if body.is_empty() { "GET" } else { "POST" })
        .header(header::HOST, "localhost")
        .body(Full::new(body))
        .unwrap()
}
