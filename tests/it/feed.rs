//! The feed of revocations over real sockets, to somebody who does not read.

use crate::support::edge::{Server, connect, until, within};
use axum::body::Body;
use axum::routing::get;
use bytes::{Buf as _, Bytes};
use cambist::grpc::Wire;
use cambist::limits;
use cambist::marker::{Second, Thing, unpack};
use cambist::proto::WatchResponse;
use cambist::proto::watch_response::Event;
use cambist::revocation::{Feed, HotSet, Label, View};
use cambist::store::{Incarnation, Revision};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

/// The messages that are whole in what was read so far.
fn messages(read: &mut bytes::BytesMut) -> Vec<Event> {
    let mut all = Vec::new();
    while let Some((head, rest)) = read.split_at_checked(5) {
        let length = u32::from_be_bytes(*head.last_chunk().unwrap());
        let length = usize::try_from(length).unwrap();
        let Some(message) = rest.get(..length) else {
            break;
        };
        all.push(WatchResponse::decode(message).unwrap().event.unwrap());
        read.advance(5 + length);
    }
    all
}

/// Far more changes than the deltas that are kept: it begins again with a snapshot, and has everything in the end.
#[tokio::test]
async fn who_does_not_read_gets_a_snapshot_again_and_nothing_is_kept_for_it() {
    let hot = Arc::<HotSet>::default();
    let at = |counter| Revision {
        incarnation: Incarnation(1),
        counter,
    };
    let reached = watch::Sender::new(at(1));
    let reading = reached.subscribe();
    let now = move || Label {
        revision: *reading.borrow(),
        as_of: None,
        earliest: None,
    };
    let feed = Feed::new(Arc::clone(&hot), Box::new(Wire), &now);
    let running = feed
        .clone()
        .run(reached.subscribe(), now, CancellationToken::new());
    tokio::spawn(running);
    let served = feed.clone();
    let server = Server::serving(
        |_| {},
        |router| {
            let watch = move || async move {
                let watcher = served.watch("somebody", &View::All, None).unwrap();
                Body::from_stream(watcher.map(Ok::<_, Infallible>))
            };
            router.route("/watch", get(watch))
        },
    );
    let mut config = server.client(None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = connect(server.socket(), config).await.unwrap();
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(driver);
    let request = http::Request::get("https://localhost/watch");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    // The empty set, and from then on it does not read.
    let mut read = bytes::BytesMut::new();
    let (mut set, mut snapshots) = (BTreeSet::new(), 0);
    let count = limits::WATCH_DELTAS_BYTES / 24 * 3 / 2;
    let mut take = |event: Event, set: &mut BTreeSet<_>| match event {
        Event::Snapshot(part) => {
            if part.first {
                set.clear();
            }
            set.extend(unpack(&part.markers).unwrap().map(|marker| marker.id));
            snapshots += usize::from(part.end.is_some());
            snapshots
        }
        Event::Delta(delta) => {
            set.extend(unpack(&delta.markers).unwrap().map(|marker| marker.id));
            snapshots
        }
        Event::Heartbeat(_) => snapshots,
    };
    let mut began = 0;
    while began == 0 {
        let frame = within("a frame", body.frame()).await.unwrap().unwrap();
        read.extend_from_slice(frame.data_ref().unwrap());
        for event in messages(&mut read) {
            began = take(event, &mut set);
        }
    }
    for n in 0..count {
        hot.revoke(Thing::Issuer(&n.to_string()), Second::NEVER);
        if n % limits::DELTA_MARKERS == 0 {
            reached.send_modify(|revision| revision.counter += 1);
            tokio::task::yield_now().await;
        }
    }
    reached.send_modify(|revision| revision.counter += 1);
    let counter = reached.borrow().counter;
    until("the feed to have come to the end", async || {
        feed.watch("somebody", &View::All, Some(at(counter)))
            .is_ok_and(|watcher| format!("{watcher:?}").contains("Delta"))
    })
    .await;
    while set.len() < count || began < 2 {
        let frame = within("a frame", body.frame()).await.unwrap().unwrap();
        read.extend_from_slice(frame.data_ref().unwrap());
        for event in messages(&mut read) {
            began = take(event, &mut set);
        }
    }
    assert_eq!(began, 2, "the first snapshot, and one more");
    assert_eq!(feed.counts().lagged, 1);
}
