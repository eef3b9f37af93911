//! All who watch, in a process of their own.

use crate::bench::role::tell;
use crate::now;
use cambist::proto::WatchRequest;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::watch_response::Event;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Connections that are made at a time.
const CONNECTING: usize = 16;

/// When a push arrived, in nanoseconds.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Arrivals {
    /// At the first watcher.
    pub first: i64,
    /// At half of them.
    pub p50: i64,
    /// At all but one in a hundred.
    pub p99: i64,
    /// At the last one.
    pub last: i64,
}

impl Arrivals {
    fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        let at = |percent: usize| {
            let place = (all.len() * percent / 100).min(all.len() - 1);
            i64::try_from(all[place]).unwrap()
        };
        Self {
            first: at(0),
            p50: at(50),
            p99: at(99),
            last: at(100),
        }
    }

    /// The same, counted from an instant.
    pub fn since(self, begin: u64) -> Self {
        let begin = i64::try_from(begin).unwrap();
        Self {
            first: self.first - begin,
            p50: self.p50 - begin,
            p99: self.p99 - begin,
            last: self.last - begin,
        }
    }
}

/// Watches, tells when all do, and then tells of each push when it arrived.
pub async fn run(address: &str, tls: &Path, (connections, streams): (usize, usize)) {
    let read = |name: &str| std::fs::read(tls.join(name)).unwrap();
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("ca.pem")))
        .identity(Identity::from_pem(
            read("workload.pem"),
            read("workload.key"),
        ))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    let endpoint = endpoint.tls_config(config).unwrap().tcp_nodelay(true);
    let (begun, mut beginnings) = mpsc::unbounded_channel();
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(CONNECTING));
    for _ in 0..connections {
        let place = Arc::clone(&room).acquire_owned().await.unwrap();
        let (endpoint, begun, arrived) = (endpoint.clone(), begun.clone(), arrived.clone());
        tokio::spawn(async move {
            let channel = endpoint.connect().await.unwrap();
            for _ in 0..streams {
                watch(&channel, &begun, &arrived).await;
            }
            drop(place);
        });
    }
    let watchers = connections * streams;
    for _ in 0..watchers {
        beginnings.recv().await.unwrap();
    }
    tell("watching", "");
    loop {
        let mut all = Vec::with_capacity(watchers);
        while all.len() < watchers {
            all.push(arrivals.recv().await.unwrap());
        }
        let all = serde_json::to_string(&Arrivals::of(all)).unwrap();
        tell("pushed", &all);
    }
}

async fn watch(
    channel: &Channel,
    begun: &mpsc::UnboundedSender<()>,
    arrived: &mpsc::UnboundedSender<u64>,
) {
    let mut client = RevocationClient::new(channel.clone());
    let stream = client.watch(WatchRequest::default()).await.unwrap();
    let (mut stream, begun, arrived) = (stream.into_inner(), begun.clone(), arrived.clone());
    tokio::spawn(async move {
        loop {
            let message = stream.message().await.unwrap().unwrap();
            match message.event.unwrap() {
                Event::Snapshot(part) if part.end.is_some() => begun.send(()).unwrap(),
                Event::Delta(_) => arrived.send(now()).unwrap(),
                Event::Snapshot(_) | Event::Heartbeat(_) => {}
            }
        }
    });
}
