//! The bare stack: a tonic service that sends what it is told to send to all who watch, from one channel. No set, no
//! revisions, no authorisation.

use crate::bench;
use crate::only_watched::{OnlyWatched, Tells, Told};
use cambist::limits;
use cambist::proto::revocation_server::RevocationServer;
use cambist::proto::watch_response::Event;
use cambist::proto::{Delta, Heartbeat, SnapshotEnd, SnapshotPart, WatchRequest, WatchResponse};
use std::path::Path;
use std::time::SystemTime;
use tokio::sync::broadcast;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;
use tonic::Status;

/// As long as the broker's.
const REVISION: &str = "0123456789abcdef0123456789abcdef.12";

#[derive(Clone)]
struct Bare(broadcast::Sender<WatchResponse>);

fn message(event: Event) -> WatchResponse {
    WatchResponse { event: Some(event) }
}

fn delta() -> WatchResponse {
    message(Event::Delta(Delta {
        revision: REVISION.to_owned(),
        markers: vec![7; 24].into(),
        as_of: Some(SystemTime::now().into()),
    }))
}

fn heartbeat() -> WatchResponse {
    message(Event::Heartbeat(Heartbeat {
        revision: REVISION.to_owned(),
        as_of: Some(SystemTime::now().into()),
        earliest: Some(SystemTime::now().into()),
    }))
}

fn snapshot() -> WatchResponse {
    message(Event::Snapshot(SnapshotPart {
        markers: Vec::new().into(),
        first: true,
        end: Some(SnapshotEnd {
            revision: REVISION.to_owned(),
            count: 0,
            digest: vec![7; 32],
            as_of: Some(SystemTime::now().into()),
            view: Vec::new(),
        }),
    }))
}

impl Tells for Bare {
    fn watched(&self, _: WatchRequest) -> Result<Told, Status> {
        let first = tokio_stream::once(Ok(snapshot()));
        let later = BroadcastStream::new(self.0.subscribe());
        let later = later.map(|sent| sent.map_err(|_| Status::data_loss("too slow")));
        Ok(Box::pin(first.chain(later)))
    }
}

/// Serves until the process is ended, and sends something whenever it is told `push`.
pub async fn serve(tls: &Path) {
    let sender = broadcast::Sender::new(1_024);
    let pushing = sender.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            assert_eq!(line.unwrap(), "push");
            let _nobody_watches = pushing.send(delta());
        }
    });
    let beating = sender.clone();
    tokio::spawn(async move {
        let mut beats = tokio::time::interval(limits::WATCH_HEARTBEAT);
        loop {
            beats.tick().await;
            let _nobody_watches = beating.send(heartbeat());
        }
    });
    let service = RevocationServer::new(OnlyWatched(Bare(sender)));
    bench::bare::serve(tls, service).await;
}
