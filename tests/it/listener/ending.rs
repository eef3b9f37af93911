//! How connections end.

use super::{client, with_alpn};
use crate::support::edge::{Server, connect, within};
use cambist::listener::ConnectionLimits;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

const SHORT: Duration = Duration::from_secs(5);
const BRIEF: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = Server::with(|config| config.limits.idle = SHORT);
    for protocol in ["h2", "http/1.1"] {
        let mut idle = client(&server, server.client(None), protocol).await;
        idle.get("/peer").await.unwrap();
        let mut busy = client(&server, server.client(None), protocol).await;
        let call = tokio::spawn(async move { busy.get("/wait").await });
        server.gate.holds(1).await;
        // By the time the idle one is gone the busy one has been silent for longer than it may be idle.
        idle.closes().await;
        server.serves(1).await;
        server.gate.open.add_permits(1);
        assert_eq!(
            within("an answer", call).await.unwrap().unwrap().2,
            "through"
        );
        server.serves(0).await;
    }
    let mut silent = connect(server.socket(), server.client(None)).await.unwrap();
    let _ = within("the end", silent.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go_and_then_goes() {
    let server = Server::with(|config| {
        config.limits.age = SHORT;
        config.limits.grace = Duration::from_secs(60);
    });
    let mut old = client(&server, server.client(None), "h2").await;
    let crate::support::edge::Client::H2(sender) = &old else {
        panic!("not HTTP/2");
    };
    let mut twin = crate::support::edge::Client::H2(sender.clone());
    let call = tokio::spawn(async move { twin.get("/wait").await });
    server.gate.holds(1).await;
    // Asked to go, it takes no further request, and finishes the one it has.
    let refused = async {
        while old.get("/peer").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("no further request", refused).await;
    server.gate.open.add_permits(1);
    assert_eq!(
        within("an answer", call).await.unwrap().unwrap().2,
        "through"
    );

    let server = Server::with(|config| {
        config.limits.age = SHORT;
        config.limits.grace = SHORT;
    });
    let mut held = client(&server, server.client(None), "h2").await;
    assert!(within("the cut", held.get("/wait")).await.is_err());
    server.gate.holds(0).await;
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let server = Server::start();
    for protocol in ["h2", "http/1.1"] {
        let mut held = client(&server, server.client(None), protocol).await;
        server.gate.holds(0).await;
        let call = tokio::spawn(async move { held.get("/wait").await });
        server.gate.holds(1).await;
        server.gate.open.add_permits(1);
        call.await.unwrap().unwrap();
    }
    let mut held = client(&server, server.client(None), "h2").await;
    let call = tokio::spawn(async move { held.get("/wait").await });
    server.gate.holds(1).await;
    server.shutdown.drain.cancel();
    server.shutdown.tasks.close();
    let refused = async {
        while connect(server.socket(), server.client(None)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("a closed port", refused).await;
    assert!(!server.shutdown.tasks.is_empty());
    server.gate.open.add_permits(1);
    assert_eq!(
        within("an answer", call).await.unwrap().unwrap().2,
        "through"
    );
    within("the last task", server.shutdown.tasks.wait()).await;
}

#[tokio::test]
async fn a_hard_stop_cuts_off_what_is_in_flight() {
    let server = Server::start();
    let mut held = client(&server, server.client(None), "h2").await;
    let call = tokio::spawn(async move { held.get("/wait").await });
    server.gate.holds(1).await;
    server.shutdown.drain.cancel();
    server.shutdown.tasks.close();
    server.shutdown.hard.cancel();
    within("the last task", server.shutdown.tasks.wait()).await;
    assert!(within("the cut", call).await.unwrap().is_err());
    server.gate.holds(0).await;
}

/// A peer that sends pings as fast as they are taken, until its connection ends: how many bytes it was answered with.
async fn flooder(server: &Server) -> JoinHandle<u64> {
    let config = with_alpn(server.client(None), "h2");
    let stream = connect(server.socket(), config).await.unwrap();
    let (mut answers, mut pings) = tokio::io::split(stream);
    // RFC 9113, sections 3.4, 6.5 and 6.7.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat();
    let many = ping.repeat(4_000);
    let flood = async move {
        let mut next = &begin;
        while pings.write_all(next).await.is_ok() {
            next = &many;
        }
    };
    let read = async move {
        let (mut some, mut all) = ([0; 4096], 0);
        // Until the end, or until it is cut off.
        while let Ok(read @ 1..) = answers.read(&mut some).await {
            all += read as u64;
        }
        all
    };
    tokio::spawn(async move { tokio::join!(flood, read).1 })
}

/// There is always something to read of it, and something to answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_that_is_flooded_ends_as_any_other() {
    type Limit = fn(&mut ConnectionLimits);
    let limits: [Limit; 2] = [|limits| limits.age = BRIEF, |limits| limits.idle = BRIEF];
    for limit in limits {
        let server = Server::with(|config| {
            config.limits.grace = BRIEF;
            limit(&mut config.limits);
        });
        let flooder = flooder(&server).await;
        let answered = within("the end of a flood", flooder).await.unwrap();
        assert!(answered > 100_000, "{answered}");
    }
    let mut server = Server::start();
    let flooder = flooder(&server).await;
    assert_eq!(server.outcome().await, "ok");
    server.shutdown.drain.cancel();
    server.shutdown.tasks.close();
    server.shutdown.hard.cancel();
    within("the last task", server.shutdown.tasks.wait()).await;
    within("the end of a flood", flooder).await.unwrap();
}
