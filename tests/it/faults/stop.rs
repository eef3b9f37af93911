//! How the broker stops: what is in flight ends well, a second signal cuts off, and everybody who watches is told.

use super::load::{Ledger, by_certificate, by_key, create, inventory, keep_asking};
use crate::support::process::{PATIENCE, Site};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::net::UnixDatagram;
use tokio::time::timeout;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_calls_in_flight_end_well() {
    let site = Site::new();
    let mut broker = site.start().await;
    let (_, secret) = create(&mut inventory(&broker), 0).await.unwrap();
    let ledger = Ledger::default();
    let clients: Vec<_> = (0..6)
        .map(|number| match number % 2 {
            0 => (broker.tls(), by_key(&secret)),
            _ => (broker.mtls(), by_certificate()),
        })
        .map(|(channel, request)| {
            tokio::spawn(keep_asking(channel, request, Arc::clone(&ledger), &[]))
        })
        .collect();
    let busy = async {
        while ledger.lock().unwrap().len() < 50 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, busy).await.unwrap();
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
    let records = site.records();
    let recorded = records.iter().filter(|record| record["kind"] == "issue");
    let recorded: BTreeSet<_> = recorded
        .map(|record| record["jti"].as_str().unwrap().to_owned())
        .collect();
    // Not one call was cut off between its record and its answer.
    assert_eq!(received, recorded);
    assert_eq!(records.last().unwrap()["kind"], "stop");
    assert!(!site.path("cambist.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_off_what_does_not_end() {
    let site = Site::new();
    site.configure("drain = \"10s\"", "drain = \"5m\"");
    let mut broker = site.start().await;
    let mut client = ServerReflectionClient::new(broker.tls());
    // A conversation that its client never ends.
    let (_open, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let answers = client.server_reflection_info(requests).await.unwrap();
    broker.signal(Signal::TERM);
    broker.says("draining").await;
    broker.signal(Signal::INT);
    broker.says("asked again").await;
    assert_eq!(broker.ended().await.code(), Some(0));
    assert!(answers.into_inner().message().await.is_err());
    assert_eq!(site.records().last().unwrap()["kind"], "stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_its_health_is_told_of_the_drain_and_does_not_hold_it_up() {
    let site = Site::new();
    site.configure("drain = \"10s\"", "drain = \"5m\"");
    let mut broker = site.start().await;
    let mut client = HealthClient::new(broker.tls());
    let asked = client.watch(HealthCheckRequest::default()).await;
    let mut told = asked.unwrap().into_inner();
    let mut next = async || timeout(PATIENCE, told.message()).await.unwrap();
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
    let mut broker = crate::support::process::Broker::start(&site, command).await;
    let hear = async |expected: &str| {
        let hearing = async {
            loop {
                let mut message = [0; 256];
                let length = socket.recv(&mut message).await.unwrap();
                let text = std::str::from_utf8(&message[..length]).unwrap();
                if text.lines().any(|line| line == expected) {
                    return;
                }
            }
        };
        let heard = timeout(PATIENCE, hearing).await;
        heard.unwrap_or_else(|_| panic!("never {expected}"));
    };
    hear("READY=1").await;
    broker.signal(Signal::HUP);
    hear("RELOADING=1").await;
    hear("READY=1").await;
    broker.signal(Signal::TERM);
    hear("STOPPING=1").await;
    assert_eq!(broker.ended().await.code(), Some(0));
}
