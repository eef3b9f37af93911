//! A stand-in for the broker that tells one snapshot, on a socket of this machine.

use crate::only_watched::{OnlyWatched, Tells, Told};
use aws_lc_rs::digest::{Context, SHA256};
use cambist::client::Endpoint;
use cambist::clock::{Clock as _, SystemClock};
use cambist::marker::{Cover, Marker, MarkerId, Second, pack};
use cambist::proto::revocation_server::RevocationServer;
use cambist::proto::watch_response::Event;
use cambist::proto::{SnapshotEnd, SnapshotPart, WatchRequest, WatchResponse};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

/// Markers in one part.
const PART: usize = 2_730;

/// A stand-in, for as long as it is held.
pub(crate) struct Broker {
    folder: TempDir,
    _serving: AbortOnDropHandle<()>,
}

impl Broker {
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::unix(self.folder.path().join("broker.sock")).unwrap()
    }
}

/// Tells of so many markers, none of which covers anything.
pub(crate) async fn serve(markers: usize) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("broker.sock")).unwrap();
    let service = RevocationServer::new(OnlyWatched(Snapshot(Arc::new(parts(markers)))));
    let serving = tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(service);
        let incoming = UnixListenerStream::new(listener);
        server.serve_with_incoming(incoming).await.unwrap();
    });
    Broker {
        folder,
        _serving: AbortOnDropHandle::new(serving),
    }
}

fn parts(markers: usize) -> Vec<SnapshotPart> {
    let marker = |n: usize| {
        let hash = aws_lc_rs::digest::digest(&SHA256, &n.to_be_bytes());
        let bits = hash.as_ref().first_chunk::<16>().copied();
        Marker {
            id: MarkerId::new(bits.unwrap()),
            cover: Cover::all(Second::NEVER),
        }
    };
    let all: Vec<_> = (0..markers).map(marker).collect();
    let mut digest = Context::new(&SHA256);
    let mut parts = Vec::new();
    for chunk in all.chunks(PART).chain([&[][..]]) {
        let mut bytes = Vec::new();
        chunk.iter().for_each(|marker| pack(marker, &mut bytes));
        digest.update(aws_lc_rs::digest::digest(&SHA256, &bytes).as_ref());
        parts.push(SnapshotPart {
            markers: bytes.into(),
            first: parts.is_empty(),
            end: None,
        });
    }
    if let Some(last) = parts.last_mut() {
        last.end = Some(SnapshotEnd {
            revision: "1".to_owned(),
            count: markers.try_into().unwrap(),
            digest: digest.finish().as_ref().to_vec(),
            as_of: Some(prost_types::Timestamp {
                seconds: SystemClock::shared().now().as_second(),
                nanos: 0,
            }),
            view: Vec::new(),
        });
    }
    parts
}

struct Snapshot(Arc<Vec<SnapshotPart>>);

impl Tells for Snapshot {
    fn watched(&self, _: WatchRequest) -> Result<Told, Status> {
        let parts = Arc::clone(&self.0);
        let told = tokio_stream::iter(0..parts.len()).map(move |place| {
            let event = Some(Event::Snapshot(parts[place].clone()));
            Ok(WatchResponse { event })
        });
        // Then it is silent, for as long as a bench takes.
        Ok(Box::pin(told.chain(tokio_stream::pending())))
    }
}
