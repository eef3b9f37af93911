//! What is in force and waits to be written: shown to whoever looks for what keeps the broker from issuing.

use super::load::create;
use super::revocation::client;
use crate::support::broker::{Broker, Site};
use crate::support::edge::until;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{ListMarkersRequest, Marker, RevokeRequest, RevokeResponse};
use serde_json::Value;
use tonic::transport::Channel;

async fn ban(mut client: RevocationClient<Channel>, thing: Thing) -> RevokeResponse {
    let request = RevokeRequest {
        ban: matches!(thing, Thing::Subject(_)),
        thing: Some(thing),
        reason: "tests".to_owned(),
        ..RevokeRequest::default()
    };
    client.revoke(request).await.unwrap().into_inner()
}

fn subject(name: &str) -> Thing {
    Thing::Subject(format!("spiffe://example.org/{name}"))
}

/// All markers, page by page.
async fn listed(client: &mut RevocationClient<Channel>, page_size: u32) -> Vec<Marker> {
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListMarkersRequest {
            page_size,
            page_token,
            all: false,
        };
        let answer = client.list_markers(request).await.unwrap().into_inner();
        listed.extend(answer.markers);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return listed;
        }
    }
}

/// Those that wait, by what they name.
fn waiting(markers: &[Marker]) -> Vec<&str> {
    let waiting = markers.iter().filter(|one| one.durable == Some(false));
    let mut things: Vec<_> = waiting.map(|one| one.thing.as_str()).collect();
    things.sort_unstable();
    things
}

async fn waits(broker: &Broker, count: u64) {
    let is_shown = async || broker.metric("revocations_waiting").await == Some(count);
    until("the metric", is_shown).await;
}

/// The store is held by another program, and is well again once that lets go.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_written_is_listed_and_counted_until_it_is() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = client(&broker).await;
    let (id, _) = create(&mut broker.inventory().await, 0).await.unwrap();
    for name in ["one", "two", "three"] {
        assert!(ban(admin.clone(), subject(name)).await.durable);
    }
    let request = RevokeRequest {
        thing: Some(subject("four")),
        reason: "tests".to_owned(),
        ..RevokeRequest::default()
    };
    let up_to_now = admin.revoke(request).await.unwrap().into_inner();
    assert_eq!(up_to_now.markers[0].durable, Some(true));
    waits(&broker, 0).await;

    let store = rusqlite::Connection::open(site.path("data/store.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let key = Thing::CredentialId(format!("key:{id}"));
    let answers = tokio::join!(
        ban(admin.clone(), key),
        ban(admin.clone(), subject("four")),
        ban(admin.clone(), subject("five")),
    );
    for answer in [answers.0, answers.1, answers.2] {
        assert!(!answer.durable && answer.markers[0].durable == Some(false));
    }
    waits(&broker, 3).await;
    let things = [
        &format!("key:{id}"),
        "spiffe://example.org/five",
        "spiffe://example.org/four",
    ];
    let mut sizes = Vec::new();
    for page_size in [0, 1, 2] {
        let all = listed(&mut admin, page_size).await;
        assert!(all.is_sorted_by(|one, next| one.id < next.id), "{all:?}");
        assert_eq!(waiting(&all), things);
        sizes.push(all.len());
        // As far as it is in force, not as it is stored.
        let four = all.iter().find(|one| one.thing.ends_with("/four")).unwrap();
        assert_eq!(four.before, None);
    }
    assert_eq!(sizes, [6; 3]);
    let shown = broker.run_as_admin(&["marker", "list"]).await;
    assert_eq!(shown.stdout.matches("not durable").count(), 3, "{shown:?}");
    let shown = broker.run_as_admin(&["marker", "list", "--json"]).await;
    let shown = shown.json();
    let markers = shown["markers"].as_array().unwrap();
    let is_waiting = |one: &&Value| one["durable"] == false;
    assert_eq!(markers.iter().filter(is_waiting).count(), 3, "{shown}");

    store.execute_batch("ROLLBACK").unwrap();
    waits(&broker, 0).await;
    let all = listed(&mut admin, 2).await;
    // The key is in its own list.
    assert_eq!((waiting(&all), all.len()), (Vec::new(), 5));
    assert_eq!(broker.terminate().await.code(), Some(0));
}
