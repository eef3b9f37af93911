//! What a client may cost.

use super::client;
use crate::support::edge::{Client, Server, connect, request, within};
use cambist::limits;
use hyper::body::Bytes;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn slow_handshakes_hold_up_nobody_and_end() {
    let mut server = Server::with(|config| config.limits.handshake = Duration::from_secs(5));
    let mut slow = Vec::new();
    for n in 0..64 {
        let mut stream = TcpStream::connect(server.socket()).await.unwrap();
        if n % 2 == 0 {
            // Begins a record and never ends it.
            stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        }
        slow.push(stream);
    }
    let mut quick = client(&server, server.client(None), "h2").await;
    quick.get("/peer").await.unwrap();
    let mut served = 0;
    for _ in 0..=slow.len() {
        match server.outcome().await {
            "ok" => served += 1,
            outcome => assert_eq!(outcome, "timeout"),
        }
    }
    assert_eq!(served, 1);
    for stream in &mut slow {
        let _ = within("the end", stream.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test]
async fn whoever_holds_all_handshakes_loses_his_own() {
    let mut server = Server::start();
    let mut slow = Vec::new();
    for _ in 0..limits::HANDSHAKES {
        slow.push(TcpStream::connect(server.socket()).await.unwrap());
    }
    let mut quick = client(&server, server.client(None), "h2").await;
    quick.get("/peer").await.unwrap();
    let mut outcomes = [server.outcome().await, server.outcome().await];
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["ok", "too_many_handshakes"]);
    let end = within("the end", slow[0].read(&mut [0])).await;
    assert!(matches!(end, Ok(0) | Err(_)));
}

#[tokio::test]
async fn connections_end_at_n_and_begin_again() {
    for (all, from_one, outcome) in [
        (3, 99, "too_many_connections"),
        (99, 3, "too_many_from_source"),
    ] {
        let mut server = Server::with(|config| {
            config.limits.connections = all;
            config.limits.connections_per_source = from_one;
        });
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(client(&server, server.client(None), "h2").await);
            assert_eq!(server.outcome().await, "ok");
        }
        assert!(connect(server.socket(), server.client(None)).await.is_err());
        assert_eq!(server.outcome().await, outcome);
        held.pop();
        server.serves(2).await;
        client(&server, server.client(None), "h2").await;
        assert_eq!(server.outcome().await, "ok");
    }
}

#[tokio::test]
async fn streams_end_at_n() {
    let server = Server::with(|config| config.limits.streams = 2);
    let Client::H2(sender) = client(&server, server.client(None), "h2").await else {
        panic!("not HTTP/2");
    };
    // The server's settings have arrived once an answer has.
    Client::H2(sender.clone()).get("/peer").await.unwrap();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Client::H2(sender.clone());
            tokio::spawn(async move { client.get("/wait").await.unwrap() })
        })
        .collect();
    server.gate.holds(2).await;
    server.gate.open.add_permits(1);
    // One is through, and the third may begin.
    server.gate.holds(2).await;
    server.gate.open.add_permits(2);
    for call in calls {
        within("an answer", call).await.unwrap();
    }
}

#[tokio::test]
async fn bodies_end_at_n() {
    let server = Server::start();
    for protocol in ["h2", "http/1.1"] {
        for (size, expected) in [(limits::BODY, 200), (limits::BODY + 1, 413)] {
            let mut client = client(&server, server.client(None), protocol).await;
            let body = Bytes::from(vec![b'x'; size]);
            let sent = client.send(request("/length", body)).await;
            let (status, _, text) = sent.unwrap();
            assert_eq!(status.as_u16(), expected, "{protocol} {size}");
            if expected == 200 {
                assert_eq!(text, size.to_string());
            }
        }
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_at_n_too() {
    let server = Server::start();
    let mut stream = connect(server.socket(), server.client(None)).await.unwrap();
    let head = "POST /length HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let size = limits::BODY + 1;
    stream
        .write_all(format!("{size:x}\r\n").as_bytes())
        .await
        .unwrap();
    stream.write_all(&vec![b'x'; size]).await.unwrap();
    stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    within("an answer", stream.read_exact(&mut start))
        .await
        .unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[tokio::test]
async fn header_lists_end_at_n() {
    let server = Server::start();
    for protocol in ["h2", "http/1.1"] {
        // HTTP/2 counts names, values, and 32 bytes an entry (RFC 9113 section 6.5.2), HTTP/1.1 the bytes of the
        // head; what the other entries of this request take is found by asking.
        let mut low = 0;
        let mut high = limits::HEADERS as usize * 2;
        while low + 1 < high {
            let middle = low.midpoint(high);
            let mut client = client(&server, server.client(None), protocol).await;
            let mut call = request("/peer", Bytes::new());
            let value = "x".repeat(middle);
            call.headers_mut()
                .insert("x-padding", value.parse().unwrap());
            let ok = matches!(client.send(call).await, Ok((status, ..)) if status == 200);
            *(if ok { &mut low } else { &mut high }) = middle;
        }
        let others = limits::HEADERS as usize - low;
        assert!((50..400).contains(&others), "{protocol}: {others}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_come_ends() {
    let server = Server::with(|config| config.limits.request = Duration::from_secs(5));
    let mut stream = connect(server.socket(), server.client(None)).await.unwrap();
    stream
        .write_all(b"GET /peer HTTP/1.1\r\nhost:")
        .await
        .unwrap();
    let _ = within("the end", stream.read_to_end(&mut Vec::new())).await;
    let mut slow = client(&server, server.client(None), "http/1.1").await;
    let (status, ..) = within("the end", slow.get("/wait")).await.unwrap();
    assert_eq!(status, 408);
}
