//! A stand-in for the broker's feed of revocations: the real protocol over real TLS, telling what the test says.

use super::only_watched::{OnlyWatched, Tells, Told};
use super::pki::{Authority, Identity};
use super::standin::{Listening, listen_on, server_config};
use cambist::clock::Clock;
use cambist::marker::{Cover, Marker, MarkerId, Second, Thing, pack};
use cambist::proto::revocation_server::RevocationServer;
use cambist::proto::watch_response::Event;
use cambist::proto::{Delta, Heartbeat, SnapshotEnd, SnapshotPart, WatchRequest, WatchResponse};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

type Said = Result<WatchResponse, Status>;

/// What the stand-in tells, and what it was asked.
#[derive(Clone)]
pub(crate) struct FeedServer(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Each change, from revision 1 on.
    changes: Vec<Vec<Marker>>,
    in_force: BTreeMap<[u8; 16], Marker>,
    /// Whoever goes on from an earlier revision is told everything anew.
    oldest: usize,
    watchers: Vec<mpsc::UnboundedSender<Said>>,
    asked: Vec<String>,
    /// What is changed about the end of snapshots.
    spoilt: Option<fn(&mut SnapshotEnd)>,
    /// Whoever comes is told that somebody is there, and nothing else.
    keeps_to_itself: bool,
    /// How whoever comes is turned away.
    closed: Option<Status>,
    /// By how many seconds it lags behind its clock.
    lag: i64,
}

/// Markers in one part of a snapshot.
const PART: usize = 2;

impl FeedServer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            clock,
            state: Mutex::default(),
        }))
    }

    pub(crate) async fn listen(&self, identity: &Identity) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.listen_at(listener, identity, None)
    }

    /// Listens there, for anybody or for clients with a certificate of an authority.
    pub(crate) fn listen_at(
        &self,
        listener: TcpListener,
        identity: &Identity,
        clients: Option<&Authority>,
    ) -> Listening {
        let config = server_config(identity, clients, b"h2");
        let service = RevocationServer::new(OnlyWatched(self.clone()));
        let router = tonic::transport::Server::builder().add_service(service);
        listen_on(listener, config, |incoming| async move {
            router.serve_with_incoming(incoming).await.unwrap();
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn as_of(&self) -> Option<prost_types::Timestamp> {
        let now = self.0.clock.now();
        Some(prost_types::Timestamp {
            seconds: now.as_second() - self.state().lag,
            nanos: now.subsec_nanosecond(),
        })
    }

    /// Changes markers, and tells whoever watches.
    pub(crate) fn put(&self, markers: &[Marker]) {
        let as_of = self.as_of();
        let mut state = self.state();
        state.changes.push(markers.to_vec());
        for marker in markers {
            if marker.cover.before == Second::ZERO {
                state.in_force.remove(marker.id.bits());
            } else {
                state.in_force.insert(*marker.id.bits(), *marker);
            }
        }
        let delta = Delta {
            revision: state.changes.len().to_string(),
            markers: packed(markers).into(),
            as_of,
        };
        state.tell(&Event::Delta(delta));
    }

    pub(crate) fn revoke(&self, thing: Thing<'_>) {
        self.put(&[all(thing)]);
    }

    pub(crate) fn reinstate(&self, thing: Thing<'_>) {
        let cover = Cover {
            before: Second::ZERO,
            until: Second::NEVER,
        };
        let id = thing.id();
        self.put(&[Marker { id, cover }]);
    }

    /// Tells that nothing newer exists.
    pub(crate) fn beat(&self) {
        let as_of = self.as_of();
        let mut state = self.state();
        let revision = state.changes.len().to_string();
        state.tell(&Event::Heartbeat(Heartbeat {
            revision,
            as_of,
            earliest: as_of,
        }));
    }

    /// Tells whoever watches something of the test's own.
    pub(crate) fn tell(&self, event: &Event) {
        self.state().tell(event);
    }

    /// Ends all that are watching.
    pub(crate) fn cut(&self) {
        self.state().watchers.clear();
    }

    /// Ends all that are watching, with this.
    pub(crate) fn end(&self, status: &Status) {
        for watcher in self.state().watchers.drain(..) {
            // One that has left needs not be told.
            let _ = watcher.send(Err(status.clone()));
        }
    }

    /// Turns away whoever comes, or lets them in again.
    pub(crate) fn close(&self, status: Option<Status>) {
        self.state().closed = status;
    }

    /// Tells whoever comes nothing but that somebody is there, or everything again.
    pub(crate) fn keep_to_itself(&self, keeps: bool) {
        self.state().keeps_to_itself = keeps;
    }

    /// What it tells is as old as this from now on.
    pub(crate) fn lag(&self, seconds: i64) {
        self.state().lag = seconds;
    }

    /// Whoever comes back is told everything.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.oldest = state.changes.len() + 1;
    }

    /// Keeps nothing of what it told, but how much that was.
    pub(crate) fn keep_nothing(&self) {
        let mut state = self.state();
        state
            .changes
            .iter_mut()
            .for_each(|change| *change = Vec::new());
        state.in_force.clear();
    }

    /// Has something changed about the end of snapshots.
    pub(crate) fn spoil(&self, how: Option<fn(&mut SnapshotEnd)>) {
        self.state().spoilt = how;
    }

    /// From where each watcher wanted to go on.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }
}

/// What every snapshot is of.
const VIEW: &[u8] = b"all of it";

/// The marker that revokes all of a thing, for ever.
pub(crate) fn all(thing: Thing<'_>) -> Marker {
    let cover = Cover::all(Second::NEVER);
    Marker {
        id: thing.id(),
        cover,
    }
}

/// A marker of nothing that anybody has.
pub(crate) fn idle(n: u64) -> Marker {
    let mut bits = [0xff; 16];
    bits[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    Marker {
        id: MarkerId::new(bits),
        cover: Cover::all(Second::NEVER),
    }
}

pub(crate) fn packed(markers: &[Marker]) -> Vec<u8> {
    let mut bytes = Vec::new();
    markers.iter().for_each(|marker| pack(marker, &mut bytes));
    bytes
}

fn said(event: Event) -> Said {
    Ok(WatchResponse { event: Some(event) })
}

impl State {
    fn tell(&mut self, event: &Event) {
        self.watchers
            .retain(|watcher| watcher.send(said(event.clone())).is_ok());
    }

    fn snapshot(&self, as_of: Option<prost_types::Timestamp>) -> Vec<Event> {
        let markers: Vec<_> = self.in_force.values().copied().collect();
        let mut chunks: Vec<_> = markers.chunks(PART).map(packed).collect();
        chunks.push(Vec::new());
        let digest = |bytes: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let digests = chunks.iter().map(|chunk| digest(chunk).as_ref().to_vec());
        let digest = digest(&digests.collect::<Vec<_>>().concat());
        let mut end = SnapshotEnd {
            revision: self.changes.len().to_string(),
            count: markers.len().try_into().unwrap(),
            digest: digest.as_ref().to_vec(),
            as_of,
            view: VIEW.to_vec(),
        };
        if let Some(spoil) = self.spoilt {
            spoil(&mut end);
        }
        let last = chunks.len() - 1;
        let part = |(place, bytes): (usize, Vec<u8>)| {
            Event::Snapshot(SnapshotPart {
                markers: bytes.into(),
                first: place == 0,
                end: (place == last).then(|| end.clone()),
            })
        };
        chunks.into_iter().enumerate().map(part).collect()
    }
}

impl Tells for FeedServer {
    fn watched(&self, request: WatchRequest) -> Result<Told, Status> {
        let WatchRequest {
            from_revision: from,
            view,
        } = request;
        let as_of = self.as_of();
        let mut state = self.state();
        // Who does not say what it has all of, has nothing.
        let known = from.parse().ok().filter(|_| view == VIEW);
        let known = known.filter(|from| (state.oldest..=state.changes.len()).contains(from));
        state.asked.push(from);
        if let Some(status) = &state.closed {
            return Err(status.clone());
        }
        let first = match known {
            _ if state.keeps_to_itself => Vec::new(),
            Some(from) => {
                let missed = state.changes[from..].iter().enumerate();
                let missed = missed.map(|(place, markers)| {
                    Event::Delta(Delta {
                        revision: (from + place + 1).to_string(),
                        markers: packed(markers).into(),
                        as_of,
                    })
                });
                missed.collect()
            }
            None => state.snapshot(as_of),
        };
        let revision = state.changes.len().to_string();
        let (sender, receiver) = mpsc::unbounded_channel();
        for event in first.into_iter().chain([Event::Heartbeat(Heartbeat {
            revision,
            as_of,
            earliest: as_of,
        })]) {
            sender.send(said(event)).unwrap();
        }
        state.watchers.push(sender);
        Ok(Box::pin(UnboundedReceiverStream::new(receiver)))
    }
}
