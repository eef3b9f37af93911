//! How connections end.

use super::client;
use crate::support::edge::{Server, connect, within};
use std::time::Duration;
use tokio::io::AsyncReadExt;

const SHORT: Duration = Duration::from_secs(5);

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
