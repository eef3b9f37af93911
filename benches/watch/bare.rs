//! The bare stack: a tonic service that sends what it is told to send to all who watch, from one channel. No set, no
//! revisions, no authorisation.

use crate::role::tell;
use cambist::limits;
use cambist::proto::revocation_server::{Revocation, RevocationServer};
use cambist::proto::watch_response::Event;
use cambist::proto::{
    CheckRequest, CheckResponse, Delta, Heartbeat, ListMarkersRequest, ListMarkersResponse,
    ReinstateRequest, ReinstateResponse, RevokeRequest, RevokeResponse, SnapshotEnd, SnapshotPart,
    WatchRequest, WatchResponse,
};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::SystemTime;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// As long as the broker's.
const REVISION: &str = "0123456789abcdef0123456789abcdef.12";

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

fn only_watches<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the bare stack only sends"))
}

#[tonic::async_trait]
impl Revocation for Bare {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let first = tokio_stream::once(Ok(snapshot()));
        let later = BroadcastStream::new(self.0.subscribe());
        let later = later.map(|sent| sent.map_err(|_| Status::data_loss("too slow")));
        Ok(Response::new(Box::pin(first.chain(later))))
    }

    async fn revoke(&self, _: Request<RevokeRequest>) -> Result<Response<RevokeResponse>, Status> {
        only_watches()
    }

    async fn reinstate(
        &self,
        _: Request<ReinstateRequest>,
    ) -> Result<Response<ReinstateResponse>, Status> {
        only_watches()
    }

    async fn list_markers(
        &self,
        _: Request<ListMarkersRequest>,
    ) -> Result<Response<ListMarkersResponse>, Status> {
        only_watches()
    }

    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        only_watches()
    }
}

/// Serves until the process is ended, and sends something whenever it is told `push`.
pub async fn serve(tls: &Path) {
    let read = |name: &str| std::fs::read(tls.join(name)).unwrap();
    let identity = Identity::from_pem(read("server.pem"), read("server.key"));
    let client_ca = Certificate::from_pem(read("workload-ca.pem"));
    let config = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(client_ca)
        .client_auth_optional(true);
    let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .unwrap()
        .with_nodelay(Some(true));
    let address = incoming.local_addr().unwrap();
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
    tell("ready", &address.to_string());
    let mut server = Server::builder().tls_config(config).unwrap();
    server
        .add_service(RevocationServer::new(Bare(sender)))
        .serve_with_incoming(incoming)
        .await
        .unwrap();
}
