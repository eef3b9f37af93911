//! PROXY v2: from named peers always, from others never.

use crate::support::edge::{Client, Server, tls, within};
use ppp::v2::{Builder, Command, Protocol, Version};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn header(command: Command) -> Vec<u8> {
    let client: SocketAddr = "192.0.2.7:1234".parse().unwrap();
    let server: SocketAddr = "192.0.2.1:443".parse().unwrap();
    Builder::with_addresses(Version::Two | command, Protocol::Stream, (client, server))
        .build()
        .unwrap()
}

fn behind(network: &str) -> Server {
    let network = network.parse().unwrap();
    Server::with(|config| config.proxy_from = vec![network])
}

#[tokio::test]
async fn a_named_proxy_says_who_the_client_is() {
    let server = behind("127.0.0.0/8");
    let identity = server.world.home.workload();
    for (command, address) in [(Command::Proxy, "192.0.2.7"), (Command::Local, "127.0.0.1")] {
        let mut stream = TcpStream::connect(server.socket()).await.unwrap();
        stream.write_all(&header(command)).await.unwrap();
        let stream = tls(stream, server.client(Some(&identity))).await.unwrap();
        let mut client = Client::h1(stream).await.unwrap();
        let (_, _, text) = client.get("/peer").await.unwrap();
        assert_eq!(text, format!("{address} - spiffe://example.org/web"));
    }
}

#[tokio::test]
async fn a_named_proxy_must_send_a_whole_header() {
    let mut server = behind("127.0.0.0/8");
    assert!(
        tls(
            TcpStream::connect(server.socket()).await.unwrap(),
            server.client(None)
        )
        .await
        .is_err()
    );
    assert_eq!(server.outcome().await, "proxy_header");
    let whole = header(Command::Proxy);
    let mut old = whole.clone();
    old[12] = 0x11;
    let mut huge = whole.clone();
    huge[14] = 0xff;
    for bytes in [
        &whole[..7],
        &whole[..16],
        &whole[..whole.len() - 1],
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &old,
        &huge,
    ] {
        let mut stream = TcpStream::connect(server.socket()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(server.outcome().await, "proxy_header", "{bytes:?}");
    }
}

#[tokio::test]
async fn from_others_a_header_is_broken_tls() {
    let mut server = behind("10.0.0.0/8");
    let mut stream = TcpStream::connect(server.socket()).await.unwrap();
    stream.write_all(&header(Command::Proxy)).await.unwrap();
    let mut answer = Vec::new();
    // An alert, or a reset where it crosses what was still on its way.
    let _ = within("the end", stream.read_to_end(&mut answer)).await;
    assert_eq!(server.outcome().await, "tls");
}

#[tokio::test]
async fn connections_count_by_the_client_that_the_proxy_names() {
    let mut server = Server::with(|config| {
        config.proxy_from = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.connections_per_source = 1;
    });
    let mut held = Vec::new();
    for (last, outcome) in [(7, "ok"), (8, "ok"), (7, "too_many_from_source")] {
        let client = SocketAddr::from(([192, 0, 2, last], 1234));
        let target: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let header = Builder::with_addresses(
            Version::Two | Command::Proxy,
            Protocol::Stream,
            (client, target),
        );
        let mut stream = TcpStream::connect(server.socket()).await.unwrap();
        stream.write_all(&header.build().unwrap()).await.unwrap();
        held.push(tls(stream, server.client(None)).await);
        assert_eq!(server.outcome().await, outcome);
    }
}
