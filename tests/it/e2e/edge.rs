//! Tokens checked where they arrive, by what a real broker publishes and tells.

use crate::support::broker::{Broker, api_key, ask, audience, spec, token};
use crate::support::command::cambist;
use crate::support::edge::until;
use cambist::client::{Endpoint, TlsFiles};
use cambist::marker::Kind;
use cambist::proto::{ExchangeResponse, RevokeKeyRequest};
use cambist::store::Revision;
use cambist::verify::{Feed, Fetcher, Guard, Keys, Presenter, Staleness, VerifyError};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) const CLOSED: Staleness = Staleness::refuse_beyond(Duration::from_secs(60));

/// A guard as whoever serves `shop` has it.
async fn guard(broker: &Broker) -> Guard {
    guard_of(broker, "shop", "shop").await
}

/// A guard of an audience, as a workload has it.
pub(super) async fn guard_of(broker: &Broker, workload: &str, name: &str) -> Guard {
    let workload = broker.svid(&format!("spiffe://example.org/{workload}"));
    let feed = Feed::builder(broker.endpoint(Some(&workload)))
        .build()
        .unwrap();
    feed.ready(Duration::from_secs(60)).await.unwrap();
    let ca = CertificateDer::from_pem_file(&broker.ca).unwrap();
    let fetcher = Fetcher::new([ca]).unwrap();
    let keys = Keys::builder(fetcher, &broker.issuer).build().unwrap();
    assert!(keys.ready(Duration::from_secs(60)).await);
    let name = audience(name).name.parse().unwrap();
    Guard::builder(&broker.issuer, name, keys, feed).build()
}

/// Waits until a guard is told by a broker that it has everything up to a revision.
pub(super) async fn until_told(guard: &Guard, revision: &str) {
    let wanted: Revision = revision.parse().unwrap();
    let is_told = async || {
        let status = guard.feed().status();
        let own = status.revision.and_then(|own| own.parse().ok());
        status.connected && own.is_some_and(|own: Revision| own.covers(&wanted))
    };
    until("a revision at a verifier", is_told).await;
}

/// Whether a guard lets a token pass; where it does not, it is revoked. Whoever holds it: that is another matter.
pub(super) fn passes(guard: &Guard, text: &str) -> bool {
    match guard.check_now(text, Presenter::NotChecked, CLOSED) {
        Ok(_) => true,
        Err(VerifyError::Revoked { .. }) => false,
        Err(other) => panic!("{other:?}"),
    }
}

async fn revoke(broker: &Broker, id: &str) {
    let request = RevokeKeyRequest {
        id: id.to_owned(),
        ..RevokeKeyRequest::default()
    };
    let mut inventory = broker.inventory().await;
    inventory.revoke_key(request).await.unwrap();
}

#[tokio::test]
async fn a_revoked_key_takes_its_tokens_along_wherever_they_arrive() {
    let mut broker = Broker::start().await;
    let made = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let other = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let anybody = broker.anybody().await;
    let child = anybody.yes(ask(api_key(&made.secret), "shop")).await;
    let shop = broker.svid("spiffe://example.org/shop");
    let shop = broker.workload(&shop).await;
    let grandchild = shop.yes(ask(token(&child.access_token), "shop")).await;
    let others = anybody.yes(ask(api_key(&other.secret), "shop")).await;
    let guard = guard(&broker).await;
    // Whoever holds them: these are about what is revoked.
    let check = async |text: &str| guard.check(text, Presenter::NotChecked, CLOSED).await;
    for reply in [&child, &grandchild, &others] {
        check(&reply.access_token).await.unwrap();
    }
    revoke(&broker, &made.key.unwrap().id).await;
    let is_revoked = |result| {
        let kind = Kind::Credential;
        matches!(result, Err(VerifyError::Revoked { kind: found, .. }) if found == kind)
    };
    until("the revocation", async || {
        is_revoked(check(&child.access_token).await)
    })
    .await;
    assert!(is_revoked(check(&grandchild.access_token).await));
    check(&others.access_token).await.unwrap();

    // The command line is told the same.
    let held = broker.argument("token");
    let ca = broker.argument("ca.pem");
    let verify = async |text: &str| {
        fs::write(&held, text).unwrap();
        let args = [
            "jwt",
            "verify",
            "--json",
            "--live",
            "--issuer",
            &broker.issuer,
            "--audience",
            "shop",
            "--ca",
            &ca,
            &held,
        ];
        cambist(&args, &[("CAMBIST_SERVER", &broker.socket_address())], b"").await
    };
    let ran = verify(&child.access_token).await;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert_eq!(ran.error()["code"], "revoked");
    let cause = ran.error()["cause"].as_str().unwrap().to_owned();
    let Err(VerifyError::Revoked { marker, .. }) = check(&child.access_token).await else {
        panic!("it is revoked");
    };
    assert!(cause.contains(&marker.to_string()), "{cause}");
    let ran = verify(&others.access_token).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json()["revocations"]["markers"], 1);

    // A broker that begins anew is followed again.
    broker.restart().await;
    let third = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let anybody = broker.anybody().await;
    let late = anybody.yes(ask(api_key(&third.secret), "shop")).await;
    check(&late.access_token).await.unwrap();
    revoke(&broker, &third.key.unwrap().id).await;
    until("the revocation after the restart", async || {
        is_revoked(check(&late.access_token).await)
    })
    .await;
    assert!(is_revoked(check(&grandchild.access_token).await));
    check(&others.access_token).await.unwrap();
}

/// A way to the broker that can be cut.
struct Way {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Way {
    async fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, is_open) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                tokio::spawn(async move {
                    // While it is cut, whoever comes finds nobody.
                    if !*is_open.borrow() {
                        return;
                    }
                    let mut there = TcpStream::connect(broker).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut here, &mut there) => {}
                        _ = is_open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open }
    }
}

#[tokio::test]
async fn a_verifier_that_was_cut_off_says_so_and_makes_up_for_what_it_missed() {
    let broker = Broker::start().await;
    let way = Way::to(broker.listens).await;
    let shop = broker.svid("spiffe://example.org/shop");
    let tls = TlsFiles::new(&broker.ca).with_certificate(&shop.certificate, &shop.key);
    let through = format!("https://localhost:{}", way.address.port());
    let feed = Feed::builder(Endpoint::https(&through, tls).unwrap())
        .build()
        .unwrap();
    feed.caught_up(Duration::from_secs(60)).await.unwrap();
    let ca = CertificateDer::from_pem_file(&broker.ca).unwrap();
    let keys = Fetcher::new([ca]).unwrap().key_set(&broker.issuer).await;
    let keys = Keys::fixed(keys.unwrap());
    let name = audience("shop").name.parse().unwrap();
    let guard = Guard::builder(&broker.issuer, name, keys, feed).build();
    let made = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    let anybody = broker.anybody().await;
    let revoked = anybody.yes(ask(api_key(&made.secret), "shop")).await;
    let other = anybody.yes(ask(api_key(broker.api_key()), "shop")).await;
    // Somewhat more than the pace of heartbeats.
    let bound = Duration::from_secs(8);
    let check = |reply: &ExchangeResponse, staleness| {
        guard.check_now(&reply.access_token, Presenter::NotChecked, staleness)
    };
    let (closed, open) = (
        Staleness::refuse_beyond(bound),
        Staleness::accept_beyond(bound),
    );
    check(&revoked, closed).unwrap();

    way.open.send_replace(false);
    until("the cut", async || !guard.feed().status().connected).await;
    revoke(&broker, &made.key.unwrap().id).await;
    // What it has is still fresh enough: this is the price of a bound.
    check(&revoked, closed).unwrap();
    let is_stale = async || matches!(check(&other, closed), Err(VerifyError::Stale));
    until("what it has to be too old", is_stale).await;
    assert_eq!(check(&revoked, closed).unwrap_err(), VerifyError::Stale);
    check(&revoked, open).unwrap();

    way.open.send_replace(true);
    let is_refused = async || matches!(check(&revoked, open), Err(VerifyError::Revoked { .. }));
    until("what it missed", is_refused).await;
    check(&other, closed).unwrap();
}
