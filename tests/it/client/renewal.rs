//! Tokens that stay fresh. The schedule itself is tested on paused time, beside the code.

use super::{World, ask, endpoint, key, refusal};
use crate::support::broker::free_port;
use crate::support::edge::until;
use crate::support::pki::Authority;
use crate::support::standin::server_config;
use cambist::client::{Error, Source, Tokens};
use cambist::refusal::Code;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_first_calls_make_one_exchange() {
    let world = World::new();
    let listening = world.listen().await;
    let tokens = Tokens::builder(world.endpoint(&listening), key(), ask())
        .build()
        .unwrap();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { tokens.token().await.unwrap().id() })
        })
        .collect();
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(world.standin.leased().len(), 1);
    assert_eq!(world.standin.exchanges().len(), 1);
}

#[tokio::test]
async fn a_lease_is_used_and_its_end_by_refusal_leaves_the_good_token() {
    let world = World::new();
    let listening = world.listen().await;
    let lease = world.standin.grant_lease();
    lease.send(Ok(world.standin.delivery())).unwrap();
    let tokens = Tokens::builder(world.endpoint(&listening), key(), ask())
        .build()
        .unwrap();
    let first = tokens.token().await.unwrap();
    lease.send(Ok(world.standin.delivery())).unwrap();
    let second = tokens.successor(&first).await.unwrap();
    assert_eq!(second.value().expose(), "token-1");

    lease.send(Err(refusal(Code::CredentialRefused))).unwrap();
    let failed = async || tokens.status().failure.is_some();
    until("the refusal is reported", failed).await;
    let failure = tokens.status().failure.unwrap();
    assert_eq!(failure.refusal(), Some(Code::CredentialRefused));
    assert_eq!(tokens.token().await.unwrap().id(), second.id());
    assert!(world.standin.exchanges().is_empty());
}

#[tokio::test]
async fn a_refused_lease_falls_back_to_an_exchange() {
    let world = World::new();
    let listening = world.listen().await;
    world
        .standin
        .refuse_leases(refusal(Code::CombinationNotAllowed));
    let tokens = Tokens::builder(world.endpoint(&listening), key(), ask())
        .build()
        .unwrap();
    tokens.token().await.unwrap();
    assert_eq!(world.standin.exchanges().len(), 1);
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_at_once() {
    let world = World::new();
    let listening = world.listen().await;
    world.standin.refuse(Some(refusal(Code::CredentialRefused)));
    let tokens = Tokens::builder(world.endpoint(&listening), key(), ask())
        .patience(Duration::from_secs(600))
        .build()
        .unwrap();
    let error = tokens.token().await.unwrap_err();
    assert_eq!(error.refusal(), Some(Code::CredentialRefused));
}

#[tokio::test]
async fn the_token_is_renewed_after_a_restart_of_the_broker_and_served_meanwhile() {
    let world = World::new();
    // One that nobody else is given while it is closed.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let listener = TcpListener::bind(address).await.unwrap();
    let config = || server_config(&world.authority.server(), None, b"h2");
    let listening = world.standin.listen_on(listener, config());
    let begun = |lifetime| {
        world.standin.lifetime(lifetime);
        let lease = world.standin.grant_lease();
        lease.send(Ok(world.standin.delivery())).unwrap();
        let tokens = Tokens::builder(world.endpoint(&listening), key(), ask());
        (tokens.build().unwrap(), lease)
    };
    let (long, long_lease) = begun(900);
    let held = long.token().await.unwrap();
    // Due for renewal soon: what becomes of it while nobody is there is not looked at.
    let (short, short_lease) = begun(3);
    let first = short.token().await.unwrap();

    drop((listening, long_lease, short_lease));
    until("the port is closed", async || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    assert_eq!(long.token().await.unwrap().id(), held.id());

    let _again = world
        .standin
        .listen_on(TcpListener::bind(address).await.unwrap(), config());
    world.standin.lifetime(900);
    let next = tokio::time::timeout(Duration::from_secs(60), short.successor(&first)).await;
    assert_ne!(next.unwrap().unwrap().id(), first.id());
}

#[tokio::test]
async fn a_lease_is_left_when_the_certificate_was_rotated() {
    let world = World::new();
    let clients = Authority::new("Client CA");
    let listening = world.listen_mutual(&clients).await;
    world.rotate(&clients, "first");
    let tls = world.shown();
    let lease = world.standin.grant_lease();
    lease.send(Ok(world.standin.delivery())).unwrap();
    let tokens = Tokens::builder(endpoint(&listening, tls), Source::PeerCertificate, ask())
        .build()
        .unwrap();
    let first = tokens.token().await.unwrap();
    world.rotate(&clients, "second");
    // Looked for at each delivery; the first one's may see it already, and the second then comes too late.
    let _ = lease.send(Ok(world.standin.delivery()));
    // Long before the token is due: because the lease was opened with another certificate.
    until("the lease is left", async || lease.is_closed()).await;
    assert!(tokens.token().await.is_ok());
    assert!(tokens.status().failure.is_none(), "{first:?}");
}

#[tokio::test]
async fn an_untrusted_broker_is_reported_at_once_and_gets_no_credential() {
    let world = World::new();
    world.write("ca.pem", Authority::new("Other CA").pem());
    let listening = world.listen().await;
    let tokens = Tokens::builder(world.endpoint(&listening), key(), ask())
        .patience(Duration::from_secs(600))
        .build()
        .unwrap();
    let error = tokens.token().await.unwrap_err();
    assert!(matches!(error, Error::Certificate(_)), "{error:?}");
    // The operator mends the bundle; nobody has to restart anything.
    world.write("ca.pem", world.authority.pem());
    until("a token", async || tokens.token().await.is_ok()).await;
}
