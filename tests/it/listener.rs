//! The listener over real sockets.

mod bounds;
mod certificates;
mod ending;
mod proxy;
mod unix;

use crate::support::edge::{Client, Server, connect, request, within};
use cambist::listener::ClientCertificates;
use hyper::body::Bytes;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn with_alpn(mut config: rustls::ClientConfig, protocol: &str) -> rustls::ClientConfig {
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config
}

/// A client over TLS that negotiates what it speaks.
async fn client(server: &Server, config: rustls::ClientConfig, protocol: &str) -> Client {
    let stream = connect(server.socket(), with_alpn(config, protocol))
        .await
        .unwrap();
    assert_eq!(
        stream.get_ref().1.alpn_protocol(),
        Some(protocol.as_bytes())
    );
    match protocol {
        "h2" => Client::h2(stream).await.unwrap(),
        _ => Client::h1(stream).await.unwrap(),
    }
}

#[tokio::test]
async fn both_protocols_and_both_versions_share_a_port_and_know_their_peer() {
    let mut server = Server::start();
    let identity = server.world.home.workload();
    for version in [&TLS13, &TLS12] {
        for protocol in ["h2", "http/1.1"] {
            for (shown, id) in [(None, "-"), (Some(&identity), "spiffe://example.org/web")] {
                let config = server.client_of(shown, &[version]);
                let mut client = client(&server, config, protocol).await;
                let (status, _, text) = client.get("/peer").await.unwrap();
                assert_eq!((status.as_u16(), text), (200, format!("127.0.0.1 - {id}")));
                assert_eq!(server.outcome().await, "ok");
            }
        }
    }
}

#[tokio::test]
async fn forwarded_headers_are_not_believed() {
    let server = Server::start();
    let mut client = client(&server, server.client(None), "http/1.1").await;
    let mut request = request("/peer", Bytes::new());
    for (name, value) in [
        ("forwarded", "for=192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-real-ip", "192.0.2.1"),
        ("x-forwarded-client-cert", "URI=spiffe://example.org/admin"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (_, _, text) = client.send(request).await.unwrap();
    assert_eq!(text, "127.0.0.1 - -");
}

#[tokio::test]
async fn grpc_and_http_share_a_port() {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("cambist", tonic_health::ServingStatus::Serving)
        .await;
    let server = Server::serving(
        |_| {},
        |router| {
            tonic::service::Routes::from(router)
                .add_service(health)
                .prepare()
                .into_axum_router()
        },
    );
    let mut client = client(&server, server.client(None), "h2").await;
    let check = b"\0\0\0\0\x09\x0a\x07cambist";
    let mut call = request("/grpc.health.v1.Health/Check", Bytes::from_static(check));
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let (status, _, body) = client.send(call).await.unwrap();
    assert_eq!(
        (status.as_u16(), body.as_bytes()),
        (200, &b"\0\0\0\0\x02\x08\x01"[..])
    );
    assert_eq!(client.get("/peer").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_call_ends_with_its_deadline() {
    let server = Server::start();
    let mut client = client(&server, server.client(None), "h2").await;
    let mut call = request("/wait", Bytes::new());
    let headers = call.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("grpc-timeout", "20m".parse().unwrap());
    let (status, headers, _) = within("the deadline", client.send(call)).await.unwrap();
    assert_eq!(
        (status.as_u16(), &headers["grpc-status"]),
        (200, &"4".parse().unwrap())
    );
    server.gate.holds(0).await;
}

#[tokio::test]
async fn old_tls_is_refused() {
    let mut server = Server::start();
    let mut stream = TcpStream::connect(server.socket()).await.unwrap();
    // A ClientHello of TLS 1.1: version 3.2, one cipher suite, and signature algorithms, without which a
    // server of today would not even look at the version.
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    body.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    stream.write_all(&hello).await.unwrap();
    let mut alert = Vec::new();
    within("an alert", stream.read_to_end(&mut alert))
        .await
        .unwrap();
    // A fatal alert, `protocol_version` (RFC 8446 section 6.2).
    assert_eq!((alert[0], &alert[5..]), (21, &[2, 70][..]));
    assert_eq!(server.outcome().await, "tls");
}

#[tokio::test]
async fn who_must_show_a_certificate_is_the_listeners_to_say() {
    let mut strict = Server::with(|config| {
        config.client_certificates = Some(ClientCertificates::Required);
    });
    let stream = connect(strict.socket(), strict.client(None)).await;
    if let Ok(stream) = stream {
        let mut client = Client::h1(stream).await.unwrap();
        assert!(client.get("/peer").await.is_err());
    }
    assert_eq!(strict.outcome().await, "tls");
    let identity = strict.world.home.workload();
    let config = strict.client(Some(&identity));
    let mut welcome = client(&strict, config, "http/1.1").await;
    assert!(welcome.get("/peer").await.is_ok());

    let lax = Server::with(|config| config.client_certificates = Some(ClientCertificates::None));
    let foreign = lax.world.home.workload();
    let mut unasked = client(&lax, lax.client(Some(&foreign)), "http/1.1").await;
    assert_eq!(unasked.get("/peer").await.unwrap().2, "127.0.0.1 - -");
}
