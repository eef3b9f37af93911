//! Following what is revoked.

mod put_back;
mod tenants;

use crate::support::broker::{Broker, Site, audience, refusal, spec};
use crate::support::edge::{until, within};
use aws_lc_rs::digest::{SHA256, digest};
use cambist::id::{CredentialId, KeyPublicId};
use cambist::marker::{Cover, MarkerId, Second, Thing, unpack};
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::watch_response::Event;
use cambist::proto::{
    DeleteAudienceRequest, PutAudienceRequest, ResumeKeyRequest, RevokeKeyRequest,
    SuspendKeyRequest, WatchRequest, WatchResponse,
};
use cambist::revocation::View;
use cambist::store::Revision;
use std::collections::{BTreeMap, BTreeSet};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// A verifier, and what it has.
struct Follower {
    stream: Streaming<WatchResponse>,
    set: BTreeMap<MarkerId, Cover>,
    /// Every marker that it was ever sent.
    sent: BTreeSet<MarkerId>,
    coming: Vec<u8>,
    /// The digests of the parts so far.
    digests: Vec<u8>,
    revision: String,
    /// What it is told of, as the broker calls it.
    view: Vec<u8>,
    /// Whether it began with a snapshot.
    snapshots: usize,
}

impl Follower {
    async fn start(channel: Channel, from: &str) -> Result<Self, Status> {
        Self::back(channel, from, &View::All.token()).await
    }

    /// Goes on from what it was told of a view.
    async fn back(channel: Channel, from: &str, view: &[u8]) -> Result<Self, Status> {
        let request = WatchRequest {
            from_revision: from.to_owned(),
            view: view.to_vec(),
        };
        let stream = RevocationClient::new(channel).watch(request).await?;
        Ok(Self {
            stream: stream.into_inner(),
            set: BTreeMap::new(),
            sent: BTreeSet::new(),
            coming: Vec::new(),
            digests: Vec::new(),
            revision: String::new(),
            view: Vec::new(),
            snapshots: 0,
        })
    }

    /// As somebody who serves an audience.
    async fn of(broker: &Broker, from: &str) -> Self {
        let svid = broker.svid("spiffe://example.org/shop");
        let channel = broker.channel(Some(&svid)).await;
        Self::start(channel, from).await.unwrap()
    }

    /// Takes the next message.
    async fn take(&mut self) -> Result<Event, Status> {
        let message = within("a message", self.stream.message()).await?;
        let event = message.expect("it ended without a word").event.unwrap();
        let markers = match &event {
            Event::Snapshot(part) => &part.markers[..],
            Event::Delta(delta) => &delta.markers[..],
            Event::Heartbeat(_) => &[],
        };
        let sent = unpack(markers).unwrap().map(|marker| marker.id);
        self.sent.extend(sent);
        match &event {
            Event::Snapshot(part) => {
                if part.first {
                    self.coming.clear();
                    self.digests.clear();
                }
                self.digests.extend(digest(&SHA256, &part.markers).as_ref());
                self.coming.extend_from_slice(&part.markers);
                if let Some(end) = &part.end {
                    assert_eq!(digest(&SHA256, &self.digests).as_ref(), end.digest);
                    let all = unpack(&self.coming).unwrap();
                    self.set = all.map(|marker| (marker.id, marker.cover)).collect();
                    assert_eq!(u64::try_from(self.set.len()).unwrap(), end.count);
                    assert!(end.as_of.is_some());
                    self.revision.clone_from(&end.revision);
                    self.view.clone_from(&end.view);
                    self.snapshots += 1;
                }
            }
            Event::Delta(delta) => {
                for marker in unpack(&delta.markers).unwrap() {
                    match marker.cover.before {
                        Second::ZERO => self.set.remove(&marker.id),
                        _ => self.set.insert(marker.id, marker.cover),
                    };
                }
                self.revision.clone_from(&delta.revision);
            }
            Event::Heartbeat(beat) => self.revision.clone_from(&beat.revision),
        }
        Ok(event)
    }

    /// Takes messages until something holds of what it has.
    async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        // Heartbeats alone would go on for ever.
        let taking = async {
            while !holds(self) {
                self.take().await.unwrap();
            }
        };
        within("what it waits for", taking).await;
    }

    /// Whether it has a revision whole.
    fn reached(&self, revision: &str) -> bool {
        let [own, wanted] = [&self.revision, revision].map(str::parse::<Revision>);
        own.is_ok_and(|own| own.covers(&wanted.unwrap()))
    }

    fn has(&self, id: &str) -> bool {
        self.set.contains_key(&marker(id))
    }
}

/// The marker of a key.
fn marker(id: &str) -> MarkerId {
    Thing::Credential(CredentialId::ApiKey(KeyPublicId::parse(id).unwrap())).id()
}

async fn key(broker: &Broker) -> String {
    let made = broker.create_key(spec(&["shop"], &["orders:read"])).await;
    made.key.unwrap().id
}

async fn revoke(broker: &Site, id: &str) -> String {
    let request = RevokeKeyRequest {
        id: id.to_owned(),
        ..RevokeKeyRequest::default()
    };
    let mut inventory = broker.inventory().await;
    inventory
        .revoke_key(request)
        .await
        .unwrap()
        .into_inner()
        .revision
}

#[tokio::test]
async fn an_empty_set_is_told_and_then_how_fresh_it_is() {
    let broker = Broker::start().await;
    let mut follower = Follower::of(&broker, "").await;
    let Event::Snapshot(only) = follower.take().await.unwrap() else {
        panic!("no snapshot");
    };
    assert!(only.first && only.markers.is_empty());
    let Event::Snapshot(last) = follower.take().await.unwrap() else {
        panic!("no end of the snapshot");
    };
    assert_eq!(last.end.unwrap().count, 0);
    let Event::Heartbeat(beat) = follower.take().await.unwrap() else {
        panic!("no heartbeat");
    };
    let first = beat.as_of.unwrap();
    // The next beat may be of the same second.
    let fresher = async {
        loop {
            let Event::Heartbeat(beat) = follower.take().await.unwrap() else {
                panic!("no heartbeat");
            };
            if beat.as_of.unwrap().seconds > first.seconds {
                return;
            }
        }
    };
    within("a later heartbeat", fresher).await;
}

#[tokio::test]
async fn what_is_revoked_is_told_and_what_is_taken_back() {
    let broker = Broker::start().await;
    let (one, other) = (key(&broker).await, key(&broker).await);
    let mut follower = Follower::of(&broker, "").await;
    follower.until(|follower| follower.snapshots == 1).await;
    let mut inventory = broker.inventory().await;
    let suspend = SuspendKeyRequest {
        id: one.clone(),
        ..SuspendKeyRequest::default()
    };
    inventory.suspend_key(suspend).await.unwrap();
    follower.until(|follower| follower.has(&one)).await;
    let revision = revoke(&broker, &other).await;
    // No timer says when it is told: a heartbeat may cross it, and no more.
    let mut beats = 0;
    while follower.revision != revision || !follower.has(&other) {
        let event = follower.take().await.unwrap();
        beats += usize::from(matches!(event, Event::Heartbeat(_)));
    }
    assert!(beats <= 1, "{beats} heartbeats before a revocation");
    assert!(follower.has(&one) && follower.has(&other));
    let resume = ResumeKeyRequest {
        id: one.clone(),
        ..ResumeKeyRequest::default()
    };
    inventory.resume_key(resume).await.unwrap();
    follower.until(|follower| !follower.has(&one)).await;
    assert!(follower.has(&other));
    assert_eq!(follower.snapshots, 1);
    // And it is counted.
    assert_eq!(broker.metric("watchers").await, Some(1));
    assert_eq!(broker.metric("markers").await, Some(1));
    assert_eq!(broker.metric("watch_deltas_total").await, Some(3));
    assert_eq!(broker.metric("watch_snapshots_total").await, Some(1));
    assert_eq!(broker.metric("watch_lagged_total").await, Some(0));
    drop(follower);
    until("the watcher to leave", async || {
        broker.metric("watchers").await == Some(0)
    })
    .await;
}

#[tokio::test]
async fn who_comes_back_is_sent_what_it_missed_and_only_that() {
    let broker = Broker::start().await;
    let (before, meanwhile) = (key(&broker).await, key(&broker).await);
    let mut follower = Follower::of(&broker, "").await;
    revoke(&broker, &before).await;
    follower.until(|follower| follower.has(&before)).await;
    let (set, revision) = (follower.set.clone(), follower.revision.clone());
    drop(follower);
    let reached = revoke(&broker, &meanwhile).await;
    let mut back = Follower::of(&broker, &revision).await;
    back.set = set;
    back.until(|back| back.reached(&reached)).await;
    assert!(back.has(&before) && back.has(&meanwhile));
    assert_eq!(back.snapshots, 0);
    // What nobody can come back to, nobody is refused for.
    for nonsense in ["nonsense", "00000000000000000000000000000001.7"] {
        let mut other = Follower::of(&broker, nonsense).await;
        other.until(|other| other.reached(&reached)).await;
        assert_eq!(other.snapshots, 1);
        assert_eq!(other.set, back.set);
    }
}

#[tokio::test]
async fn nothing_is_missed_when_the_broker_dies() {
    let mut broker = Broker::start().await;
    let keys = [key(&broker).await, key(&broker).await, key(&broker).await];
    let mut follower = Follower::of(&broker, "").await;
    revoke(&broker, &keys[0]).await;
    follower.until(|follower| follower.has(&keys[0])).await;
    let (set, revision) = (follower.set.clone(), follower.revision.clone());
    drop(follower);
    revoke(&broker, &keys[1]).await;
    broker.kill9().await;
    broker.restart().await;
    let mut back = Follower::of(&broker, &revision).await;
    back.set = set;
    let reached = revoke(&broker, &keys[2]).await;
    back.until(|back| back.reached(&reached)).await;
    assert!(keys.iter().all(|key| back.has(key)));
    let mut anew = Follower::of(&broker, "").await;
    anew.until(|anew| anew.reached(&reached)).await;
    assert_eq!(anew.set, back.set);
}

#[tokio::test]
async fn those_who_serve_an_audience_watch_and_those_who_administer_or_read_the_log() {
    let reader = "[[log.reader]]\nspiffe_id = \"spiffe://example.org/siem\"\n";
    let broker = Broker::with(|setup| setup.config.push_str(reader)).await;
    let start = async |name: &str| {
        let svid = broker.svid(&format!("spiffe://example.org/{name}"));
        Follower::start(broker.channel(Some(&svid)).await, "").await
    };
    for name in ["shop", "billing", "admin", "siem"] {
        let mut follower = start(name).await.unwrap();
        follower.until(|follower| follower.snapshots == 1).await;
    }
    let local = Follower::start(broker.local().await, "").await;
    local.unwrap().take().await.unwrap();
    for name in ["web", "curious"] {
        let told = start(name).await.err().unwrap();
        assert_eq!(refusal(&told), "not_authorised");
    }
    let told = Follower::start(broker.channel(None).await, "").await;
    assert_eq!(refusal(&told.err().unwrap()), "not_authorised");
}

#[tokio::test]
async fn who_serves_nothing_any_more_is_told_at_the_next_heartbeat() {
    let broker = Broker::start().await;
    let mut inventory = broker.inventory().await;
    let mut press = audience("press");
    press.servers = vec!["spiffe://example.org/web".to_owned()];
    let put = PutAudienceRequest {
        audience: Some(press),
        ..PutAudienceRequest::default()
    };
    inventory.put_audience(put).await.unwrap();
    let channel = broker.channel(Some(&broker.web)).await;
    let mut follower = Follower::start(channel, "").await.unwrap();
    follower.until(|follower| follower.snapshots == 1).await;
    let delete = DeleteAudienceRequest {
        name: "press".to_owned(),
        ..DeleteAudienceRequest::default()
    };
    inventory.delete_audience(delete).await.unwrap();
    let told = async {
        loop {
            if let Err(told) = follower.take().await {
                return told;
            }
        }
    };
    let told = within("the refusal", told).await;
    assert_eq!(refusal(&told), "not_authorised");
    until("the watcher to be counted out", async || {
        broker.metric("watchers").await == Some(0)
    })
    .await;
}

#[tokio::test]
async fn a_drain_ends_a_watch_with_a_word() {
    let mut broker = Broker::start().await;
    let mut follower = Follower::of(&broker, "").await;
    follower.until(|follower| follower.snapshots == 1).await;
    let (ended, told) = tokio::join!(broker.terminate(), async {
        loop {
            if let Err(told) = follower.take().await {
                return told;
            }
        }
    });
    assert!(ended.success());
    assert_eq!(refusal(&told), "draining");
}
