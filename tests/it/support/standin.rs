//! A stand-in for the broker: the real protocol over real TLS, answering as the test says.

use super::pki::{Authority, Identity};
use cambist::id::TokenId;
use cambist::proto::token_exchange_server::{TokenExchange, TokenExchangeServer};
use cambist::proto::{
    ExchangeRequest, ExchangeResponse, ExplainRequest, ExplainResponse, LeaseRequest, LeaseResponse,
};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::{Connected, TlsConnectInfo};
use tonic::{Request, Response, Status};

type Answer = Result<ExchangeResponse, Status>;
type Leases = mpsc::UnboundedReceiver<Result<LeaseResponse, Status>>;

/// What the stand-in does and what it saw.
#[derive(Clone, Default)]
pub(crate) struct Standin(Arc<Inner>);

#[derive(Default)]
struct Inner {
    made: AtomicU8,
    lifetime: Mutex<Option<u32>>,
    next: Mutex<Option<Answer>>,
    refusal: Mutex<Option<Status>>,
    leases: Mutex<VecDeque<Leases>>,
    no_lease: Mutex<Option<Status>>,
    exchanges: Mutex<Vec<ExchangeRequest>>,
    leased: Mutex<Vec<ExchangeRequest>>,
    peers: Mutex<Vec<Option<Vec<u8>>>>,
    authorizations: Mutex<Vec<Option<String>>>,
}

/// A stand-in that listens until it is dropped.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Standin {
    /// A fresh answer: `token-<n>`, the n-th made.
    pub(crate) fn token(&self) -> ExchangeResponse {
        let lifetime = self.0.lifetime.lock().unwrap().unwrap_or(900);
        let made = self.0.made.fetch_add(1, Ordering::SeqCst);
        let now = cambist::clock::Clock::now(&*cambist::clock::SystemClock::shared());
        ExchangeResponse {
            access_token: format!("token-{made}"),
            token_type: "Bearer".to_owned(),
            expires_at: Some(prost_types::Timestamp {
                seconds: now.as_second() + i64::from(lifetime),
                nanos: now.subsec_nanosecond(),
            }),
            expires_in: lifetime,
            scopes: vec!["deploy".to_owned()],
            token_id: TokenId::new([made; 16]).to_string(),
            credential_id: "key:0123456789abcdef".to_owned(),
            bound: false,
            receipt: None,
        }
    }

    /// The lifetime of tokens to come, in seconds.
    pub(crate) fn lifetime(&self, seconds: u32) {
        *self.0.lifetime.lock().unwrap() = Some(seconds);
    }

    /// The answer to the next exchange.
    pub(crate) fn answer(&self, answer: ExchangeResponse) {
        *self.0.next.lock().unwrap() = Some(Ok(answer));
    }

    /// The answer to all exchanges and leases from now on.
    pub(crate) fn refuse(&self, status: Option<Status>) {
        *self.0.refusal.lock().unwrap() = status;
    }

    /// The answer to leases from now on, instead of "unimplemented".
    pub(crate) fn refuse_leases(&self, status: Status) {
        *self.0.no_lease.lock().unwrap() = Some(status);
    }

    /// Grants one lease; what is sent is delivered.
    pub(crate) fn grant_lease(&self) -> mpsc::UnboundedSender<Result<LeaseResponse, Status>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.leases.lock().unwrap().push_back(receiver);
        sender
    }

    /// A delivery of a fresh token.
    pub(crate) fn delivery(&self) -> LeaseResponse {
        LeaseResponse {
            token: Some(self.token()),
            successor_by: None,
        }
    }

    pub(crate) fn exchanges(&self) -> Vec<ExchangeRequest> {
        self.0.exchanges.lock().unwrap().clone()
    }

    pub(crate) fn leased(&self) -> Vec<ExchangeRequest> {
        self.0.leased.lock().unwrap().clone()
    }

    /// The client certificates of all exchanges so far.
    pub(crate) fn peers(&self) -> Vec<Option<Vec<u8>>> {
        self.0.peers.lock().unwrap().clone()
    }

    /// The `authorization` of all `Explain` calls so far.
    pub(crate) fn authorizations(&self) -> Vec<Option<String>> {
        self.0.authorizations.lock().unwrap().clone()
    }

    /// Listens on loopback.
    pub(crate) async fn listen(&self, identity: &Identity) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.listen_on(listener, server_config(identity, None, b"h2"))
    }

    /// Listens on loopback and requires certificates of `authority`.
    pub(crate) async fn listen_mutual(
        &self,
        identity: &Identity,
        authority: &Authority,
    ) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.listen_on(listener, server_config(identity, Some(authority), b"h2"))
    }

    pub(crate) fn listen_on(&self, listener: TcpListener, config: ServerConfig) -> Listening {
        listen_on(listener, config, |incoming| self.serve(incoming))
    }

    /// Listens on a Unix socket.
    pub(crate) fn listen_unix(&self, listener: UnixListener) -> AbortOnDropHandle<()> {
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        AbortOnDropHandle::new(tokio::spawn(self.serve(incoming)))
    }

    fn serve<S, I>(&self, incoming: S) -> impl Future<Output = ()> + Send + use<S, I>
    where
        S: Stream<Item = std::io::Result<I>> + Send + 'static,
        I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        I::ConnectInfo: Clone + Send + Sync,
    {
        let service = TokenExchangeServer::new(self.clone());
        async move {
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        }
    }

    fn exchanged(&self) -> Answer {
        if let Some(answer) = self.0.next.lock().unwrap().take() {
            return answer;
        }
        match self.0.refusal.lock().unwrap().clone() {
            Some(status) => Err(status),
            None => Ok(self.token()),
        }
    }
}

/// A connection that has been accepted.
pub(crate) type Accepted = std::io::Result<TlsStream<tokio::net::TcpStream>>;

/// Ends TLS on a socket, for whoever serves.
pub(crate) fn listen_on<F>(
    listener: TcpListener,
    config: ServerConfig,
    serve: impl FnOnce(ReceiverStream<Accepted>) -> F,
) -> Listening
where
    F: Future<Output = ()> + Send + 'static,
{
    let address = listener.local_addr().unwrap();
    let (accepted, incoming) = mpsc::channel(16);
    let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, config, accepted)));
    let serving = serve(ReceiverStream::new(incoming));
    let serving = AbortOnDropHandle::new(tokio::spawn(async move {
        serving.await;
        drop(accepting);
    }));
    Listening {
        address,
        _serving: serving,
    }
}

/// Performs handshakes, one connection after the other: tests have few.
async fn accept(listener: TcpListener, config: ServerConfig, accepted: mpsc::Sender<Accepted>) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        if let Ok(stream) = acceptor.accept(stream).await
            && accepted.send(Ok(stream)).await.is_err()
        {
            return;
        }
    }
}

pub(crate) fn server_config(
    identity: &Identity,
    clients: Option<&Authority>,
    alpn: &[u8],
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
                .unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = builder
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    config
}

#[tonic::async_trait]
impl TokenExchange for Standin {
    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let peer = request
            .extensions()
            .get::<TlsConnectInfo<tonic::transport::server::TcpConnectInfo>>()
            .and_then(|info| info.peer_certs())
            .and_then(|chain| chain.first().map(|leaf| leaf.to_vec()));
        self.0.peers.lock().unwrap().push(peer);
        self.0.exchanges.lock().unwrap().push(request.into_inner());
        self.exchanged().map(Response::new)
    }

    type LeaseStream = Pin<Box<dyn Stream<Item = Result<LeaseResponse, Status>> + Send>>;

    async fn lease(
        &self,
        request: Request<LeaseRequest>,
    ) -> Result<Response<Self::LeaseStream>, Status> {
        let asked = request.into_inner().exchange.unwrap();
        self.0.leased.lock().unwrap().push(asked);
        if let Some(status) = self.0.refusal.lock().unwrap().clone() {
            return Err(status);
        }
        if let Some(granted) = self.0.leases.lock().unwrap().pop_front() {
            return Ok(Response::new(Box::pin(
                UnboundedReceiverStream::new(granted).map(|next| next),
            )));
        }
        let refusal = self.0.no_lease.lock().unwrap().clone();
        Err(refusal.unwrap_or_else(|| Status::unimplemented("no leases here")))
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        self.0.authorizations.lock().unwrap().push(authorization);
        Ok(Response::new(ExplainResponse::default()))
    }
}
