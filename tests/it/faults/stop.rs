//! How the broker stops: what is in flight ends well, a second signal cuts off, and everybody who watches is told.

use super::load::{Ledger, by_certificate, by_key, create, keep_asking};
use crate::support::broker::{Caller, Setup, Site};
use crate::support::edge::within;
use cambist::limits;
use cambist::proto::{ExchangeRequest, ExchangeResponse, RevokeKeyRequest};
use http::uri::PathAndQuery;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::net::UnixDatagram;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_calls_in_flight_end_well() {
    let site = Site::new();
    let mut broker = site.start().await;
    let (_, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    let ledger = Ledger::default();
    let mut clients = Vec::new();
    for number in 0..6 {
        let (caller, request) = match number % 2 {
            0 => (broker.anybody().await, by_key(&secret)),
            _ => (broker.web().await, by_certificate()),
        };
        let asking = keep_asking(caller, request, Arc::clone(&ledger), &[]);
        clients.push(tokio::spawn(asking));
    }
    let busy = async {
        while ledger.lock().unwrap().len() < 50 {
            tokio::task::yield_now().await;
        }
    };
    within("fifty tokens", busy).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    for client in clients {
        client.await.unwrap();
    }
    let received: BTreeSet<_> = ledger
        .lock()
        .unwrap()
        .iter()
        .map(|t| t.jti.clone())
        .collect();
    let records = site.whole_log();
    let recorded = records.iter().filter(|record| record["kind"] == "issue");
    let recorded: BTreeSet<_> = recorded
        .map(|record| record["jti"].as_str().unwrap().to_owned())
        .collect();
    // Not one call was cut off between its record and its answer.
    assert_eq!(received, recorded);
    assert_eq!(records.last().unwrap()["kind"], "stop");
    assert!(!site.socket.exists());
}

/// The store is held by another program until the stop begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_waits_to_be_written_is_written_at_the_stop() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = broker.inventory().await;
    let (id, secret) = create(&mut admin, 0).await.unwrap();
    let store = rusqlite::Connection::open(site.path("data/store.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let request = RevokeKeyRequest {
        id: id.clone(),
        reason: "leaked".to_owned(),
        ..RevokeKeyRequest::default()
    };
    let answer = admin.revoke_key(request).await.unwrap().into_inner();
    assert!(!answer.durable, "{answer:?}");
    // Before what is done each second comes to it.
    broker.signal(Signal::TERM);
    store.execute_batch("ROLLBACK").unwrap();
    drop(store);
    assert_eq!(broker.ended().await.code(), Some(0));
    let said = site.stderr();
    assert!(!said.contains("written nowhere"), "{said}");

    // With its record, which did not wait for the next start.
    let records = site.whole_log();
    let [.., revoked, stopped] = &records[..] else {
        panic!("{records:?}");
    };
    assert_eq!(revoked["action"], "key.revoke", "{revoked}");
    assert_eq!(revoked["target"], format!("key:{id}"));
    assert_eq!(stopped["kind"], "stop");
    let broker = site.start().await;
    let refused = broker.anybody().await.no(by_key(&secret)).await;
    assert_eq!(refused, "credential_refused");
}

/// The store is held by another program, and stays so.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_whose_store_does_not_answer_is_on_the_record_and_ends_as_failed() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = broker.inventory().await;
    let (id, _) = create(&mut admin, 0).await.unwrap();
    let store = rusqlite::Connection::open(site.path("data/store.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let request = RevokeKeyRequest {
        id,
        reason: "leaked".to_owned(),
        ..RevokeKeyRequest::default()
    };
    let answer = admin.revoke_key(request).await.unwrap().into_inner();
    assert!(!answer.durable, "{answer:?}");
    let began = Instant::now();
    assert_eq!(broker.terminate().await.code(), Some(1));
    let took = began.elapsed();
    assert!(took >= limits::STORE_LAST, "{took:?}");
    let said = site.stderr();
    assert!(said.contains("revocations among it"), "{said}");
    assert_eq!(site.whole_log().last().unwrap()["kind"], "stop");
}

/// Longer than any test is waited for: what ends sooner was not cut off by this.
fn long_drain(setup: &mut Setup) {
    setup.config.push_str("[limits]\ndrain = \"5m\"\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_off_what_does_not_end() {
    let site = Site::with(long_drain);
    let mut broker = site.start().await;
    let channel = broker.channel(Some(&site.web)).await;
    let caller = Caller::new(channel.clone());
    // A request that its client never ends. It has begun once its messages are asked for; that a later one was answered says
    // that it has arrived.
    let (begin, begun) = tokio::sync::oneshot::channel();
    let mut begin = Some(begin);
    let nothing = std::iter::from_fn(move || {
        begin.take()?.send(()).unwrap();
        None::<ExchangeRequest>
    });
    let requests = tokio_stream::iter(nothing).chain(tokio_stream::pending());
    let mut raw = tonic::client::Grpc::new(channel);
    raw.ready().await.unwrap();
    let held = tokio::spawn(async move {
        let path = PathAndQuery::from_static("/cambist.v1.TokenExchange/Exchange");
        let codec = tonic_prost::ProstCodec::<_, ExchangeResponse>::default();
        let request = tonic::Request::new(requests);
        raw.client_streaming(request, path, codec).await
    });
    within("the request to begin", begun).await.unwrap();
    for _ in 0..3 {
        caller.yes(by_certificate()).await;
    }
    broker.signal(Signal::TERM);
    broker.says("draining").await;
    broker.signal(Signal::INT);
    broker.says("asked again").await;
    assert_eq!(broker.ended().await.code(), Some(0));
    assert!(held.await.unwrap().is_err());
    assert_eq!(site.whole_log().last().unwrap()["kind"], "stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_its_client_does_not_end_does_not_hold_it_up() {
    let site = Site::with(long_drain);
    let mut broker = site.start().await;
    let mut client = ServerReflectionClient::new(broker.channel(None).await);
    let (asks, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let answers = client.server_reflection_info(requests).await.unwrap();
    let mut answers = answers.into_inner();
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    asks.send(asked).await.unwrap();
    let answer = within("an answer", answers.message()).await;
    assert!(answer.unwrap().is_some());
    broker.signal(Signal::TERM);
    let end = within("its end", answers.message()).await;
    assert!(end.unwrap().is_none());
    assert_eq!(broker.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_its_health_is_told_of_the_drain_and_does_not_hold_it_up() {
    let site = Site::with(long_drain);
    let mut broker = site.start().await;
    let mut client = HealthClient::new(broker.channel(None).await);
    let asked = client.watch(HealthCheckRequest::default()).await;
    let mut told = asked.unwrap().into_inner();
    let mut next = async || within("its health", told.message()).await;
    let status = |answer: tonic_health::pb::HealthCheckResponse| answer.status();
    let first = next().await.unwrap().map(status);
    assert_eq!(first, Some(ServingStatus::Serving));
    broker.signal(Signal::TERM);
    let second = next().await.unwrap().map(status);
    assert_eq!(second, Some(ServingStatus::NotServing));
    assert_eq!(broker.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_it_is_up_and_when_it_stops() {
    let site = Site::new();
    let path = site.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = site.command();
    command.env("NOTIFY_SOCKET", &path);
    let mut broker = site.run(command).await;
    let hear = async |expected: &str| {
        let hearing = async {
            loop {
                let mut message = [0; 256];
                let length = socket.recv(&mut message).await.unwrap();
                let text = std::str::from_utf8(&message[..length]).unwrap();
                if text.contains(expected) {
                    return;
                }
            }
        };
        within(expected, hearing).await;
    };
    hear("READY=1").await;
    broker.signal(Signal::HUP);
    hear("RELOADING=1\nMONOTONIC_USEC=").await;
    hear("READY=1").await;
    broker.signal(Signal::TERM);
    hear("STOPPING=1").await;
    assert_eq!(broker.ended().await.code(), Some(0));
}
