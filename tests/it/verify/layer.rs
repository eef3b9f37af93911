//! The layer before whole servers, of gRPC and of HTTP, over real TLS.

use super::world::{CLOSED, OPEN, World, endpoint, token};
use super::{ISSUER, SIGNER, claims};
use crate::support::edge::{Answer, Client, tls};
use crate::support::pki::{Authority, Identity};
use crate::support::standin::{Listening, Standin, listen_on, server_config};
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::client::TlsFiles;
use cambist::id::ScopeSet;
use cambist::marker::Thing;
use cambist::proto::ExplainRequest;
use cambist::proto::token_exchange_client::TokenExchangeClient;
use cambist::proto::token_exchange_server::TokenExchangeServer;
use cambist::verify::{AccessToken, Caller, Layer, PeerCertificate};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Status};

/// A client's certificate, and a token that is bound to it.
fn bound(id: &str, clients: &Authority) -> (Identity, String) {
    let identity = clients.client("shop");
    let leaf = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let digest = PeerCertificate::of_chain(&[leaf]).unwrap().0;
    let mut claims = claims();
    claims["jti"] = json!(id);
    claims["cnf"] = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(digest)});
    (identity, SIGNER.token("at+jwt", &claims))
}

/// A gRPC server behind the layer, that refuses to answer whom it does not know.
async fn grpc(world: &World, layer: Layer, clients: Option<&Authority>) -> Listening {
    grpc_at(bind().await, world, layer, clients)
}

pub(super) fn grpc_at(
    listener: TcpListener,
    world: &World,
    layer: Layer,
    clients: Option<&Authority>,
) -> Listening {
    let config = server_config(&world.identity, clients, b"h2");
    let known = |request: Request<()>| match request.extensions().get::<Arc<AccessToken>>() {
        Some(token) if token.issuer == ISSUER => Ok(request),
        _ => Err(Status::internal("no claims")),
    };
    let service = TokenExchangeServer::with_interceptor(Standin::default(), known);
    let router = tonic::transport::Server::builder()
        .layer(layer)
        .add_service(service);
    listen_on(listener, config, |incoming| async move {
        router.serve_with_incoming(incoming).await.unwrap();
    })
}

/// An HTTP server behind the layer, that answers with what the token says.
async fn web(world: &World, layer: Layer, clients: Option<&Authority>) -> Listening {
    web_at(bind().await, world, layer, clients)
}

pub(super) async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(super) fn web_at(
    listener: TcpListener,
    world: &World,
    layer: Layer,
    clients: Option<&Authority>,
) -> Listening {
    async fn who(Extension(token): Extension<Arc<AccessToken>>) -> String {
        format!("{} {}", token.sub, token.scopes)
    }
    let config = server_config(&world.identity, clients, b"http/1.1");
    let router = Router::new().route("/who", get(who)).layer(layer);
    listen_on(listener, config, |mut incoming| async move {
        while let Some(Ok(stream)) = incoming.next().await {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let router = match PeerCertificate::of_chain(chain) {
                Some(shown) => router.clone().layer(Extension(shown)),
                None => router.clone(),
            };
            tokio::spawn(async move {
                let service = TowerToHyperService::new(router);
                let server = auto::Builder::new(TokioExecutor::new());
                let _ended = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

/// What a client that trusts the world's authority and shows this is set to.
pub(super) fn client_config(world: &World, identity: Option<&Identity>) -> ClientConfig {
    let root = CertificateDer::from_pem_slice(world.authority.pem().as_bytes()).unwrap();
    let builder = cambist::https::believing([root]).unwrap();
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
            let chain = chain.map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

async fn ask(server: &Listening, config: ClientConfig, tokens: &[&str]) -> Answer {
    let headers: Vec<_> = tokens
        .iter()
        .map(|token| ("authorization", *token))
        .collect();
    ask_with(server, config, &headers).await
}

pub(super) async fn ask_with(
    server: &Listening,
    config: ClientConfig,
    headers: &[(&str, &str)],
) -> Answer {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let stream = tls(stream, config).await.unwrap();
    let mut client = Client::h1(stream).await.unwrap();
    let mut request = http::Request::builder()
        .uri("/who")
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client
        .send(request.body(Full::new(Bytes::new())).unwrap())
        .await
        .unwrap()
}

fn challenge(headers: &HeaderMap) -> String {
    let text = headers.get(WWW_AUTHENTICATE).map(HeaderValue::to_str);
    text.map_or(String::new(), |text| text.unwrap().to_owned())
}

async fn call(port: u16, tls: TlsFiles, token: Option<&str>) -> Result<(), Status> {
    let channel = endpoint(port, tls).channel().await.unwrap();
    let mut request = Request::new(ExplainRequest::default());
    if let Some(token) = token {
        let value = format!("bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    TokenExchangeClient::new(channel)
        .explain(request)
        .await
        .map(|_| ())
}

#[tokio::test]
async fn an_http_server_is_asked_with_good_tokens_only() {
    let world = World::new().await;
    let server = web(&world, Layer::new(world.guard.clone(), CLOSED), None).await;
    let config = || client_config(&world, None);
    let good = token("good", &[]);
    let with = format!("bEARER {good}");
    let (status, headers, text) = ask(&server, config(), &[&with]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text, "spiffe://example.org/ci deploy read");
    assert_eq!(challenge(&headers), "");

    let (status, headers, text) = ask(&server, config(), &[]).await;
    assert_eq!((status, text.as_str()), (StatusCode::UNAUTHORIZED, ""));
    assert_eq!(
        challenge(&headers),
        "Bearer realm=\"https://shop.example.org\""
    );
    let (status, headers, _) = ask(&server, config(), &[&with, &with]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(challenge(&headers).contains("error=\"invalid_request\""));
    let (status, headers, _) = ask(&server, config(), &["Bearer garbage"]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(challenge(&headers).contains("error=\"invalid_token\""));

    world.server.revoke(Thing::Token(ISSUER, "good"));
    world.until_revoked(&good).await;
    let (status, headers, _) = ask(&server, config(), &[&with]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let expected = "Bearer realm=\"https://shop.example.org\", error=\"invalid_token\", \
                    error_description=\"the token is revoked\"";
    assert_eq!(challenge(&headers), expected);
}

#[tokio::test]
async fn scopes_are_asked_for_by_their_names() {
    let world = World::new().await;
    let scoped = |scopes| {
        let layer = Layer::new(world.guard.clone(), CLOSED);
        layer.scopes(ScopeSet::parse(scopes).unwrap())
    };
    let with = format!("Bearer {}", token("good", &[]));
    let config = || client_config(&world, None);
    let enough = web(&world, scoped("read"), None).await;
    assert_eq!(ask(&enough, config(), &[&with]).await.0, StatusCode::OK);
    let more = web(&world, scoped("read write"), None).await;
    let (status, headers, _) = ask(&more, config(), &[&with]).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let challenge = challenge(&headers);
    assert!(
        challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert!(challenge.ends_with("scope=\"read write\""), "{challenge}");
    let tls = || TlsFiles::new(world.path("ca.pem"));
    let server = grpc(&world, scoped("read write"), None).await;
    let denied = call(server.address.port(), tls(), Some(&token("good", &[]))).await;
    assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_grpc_server_is_asked_with_good_tokens_only() {
    let world = World::new().await;
    let server = grpc(&world, Layer::new(world.guard.clone(), CLOSED), None).await;
    let port = server.address.port();
    let tls = || TlsFiles::new(world.path("ca.pem"));
    let good = token("good", &[]);
    call(port, tls(), Some(&good)).await.unwrap();
    for bad in [None, Some("garbage")] {
        let refused = call(port, tls(), bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{bad:?}");
    }
    world.server.revoke(Thing::Token(ISSUER, "good"));
    world.until_revoked(&good).await;
    let refused = call(port, tls(), Some(&good)).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unauthenticated, "the token is revoked")
    );
}

#[tokio::test]
async fn what_is_stale_is_told_apart_from_what_is_refused() {
    let mut world = World::new().await;
    let closed = Layer::new(world.guard.clone(), CLOSED);
    let open = Layer::new(world.guard.clone(), OPEN);
    let (grpc_closed, grpc_open) = (
        grpc(&world, closed.clone(), None).await,
        grpc(&world, open.clone(), None).await,
    );
    let (web_closed, web_open) = (
        web(&world, closed, None).await,
        web(&world, open, None).await,
    );
    world.part().await;
    world.clock.advance(61);
    let good = token("good", &[]);
    let tls = || TlsFiles::new(world.path("ca.pem"));
    let refused = call(grpc_closed.address.port(), tls(), Some(&good)).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    call(grpc_open.address.port(), tls(), Some(&good))
        .await
        .unwrap();
    let with = format!("Bearer {good}");
    let config = || client_config(&world, None);
    let (status, headers, _) = ask(&web_closed, config(), &[&with]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key("retry-after") && challenge(&headers).is_empty());
    assert_eq!(ask(&web_open, config(), &[&with]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_bound_token_passes_from_its_own_connection() {
    let world = World::new().await;
    let clients = Authority::new("clients");
    let layer = || Layer::new(world.guard.clone(), CLOSED);
    let (mine, token) = bound("t", &clients);
    let theirs = clients.client("shop");
    let with = format!("Bearer {token}");

    let server = web(&world, layer(), Some(&clients)).await;
    let by = async |identity| {
        ask(&server, client_config(&world, Some(identity)), &[&with])
            .await
            .0
    };
    assert_eq!(by(&mine).await, StatusCode::OK);
    assert_eq!(by(&theirs).await, StatusCode::UNAUTHORIZED);
    let plain = web(&world, layer(), None).await;
    let answer = ask(&plain, client_config(&world, None), &[&with]).await;
    assert_eq!(answer.0, StatusCode::UNAUTHORIZED);

    let server = grpc(&world, layer(), Some(&clients)).await;
    let shown = |identity: &Identity| {
        std::fs::write(world.path("cert.pem"), &identity.certificate).unwrap();
        std::fs::write(world.path("key.pem"), &identity.key).unwrap();
        let tls = TlsFiles::new(world.path("ca.pem"));
        tls.with_certificate(world.path("cert.pem"), world.path("key.pem"))
    };
    let port = server.address.port();
    call(port, shown(&mine), Some(&token)).await.unwrap();
    let refused = call(port, shown(&theirs), Some(&token)).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    // Found in a way of the user's own.
    let unproven = layer().caller(|_| Caller::Unproven);
    let server = grpc(&world, unproven, Some(&clients)).await;
    let refused = call(server.address.port(), shown(&mine), Some(&token)).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
}
