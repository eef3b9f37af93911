//! Revocations as they arrive over the network, and what passes when they do not.

use super::ISSUER;
use super::world::{BOUND, CLOSED, OPEN, World, endpoint, token};
use crate::support::edge::{until, within};
use crate::support::feed::{all, idle, packed};
use crate::support::pki::Authority;
use cambist::client::{Error, TlsFiles};
use cambist::limits;
use cambist::marker::{Kind, Thing};
use cambist::proto::watch_response::Event;
use cambist::proto::{Delta, WatchResponse};
use cambist::refusal::{Code, Refusal};
use cambist::verify::{Feed, VerifyError};
use prost::Message as _;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// An empty set is a set: what was held before is not in it.
#[tokio::test]
async fn an_empty_snapshot_clears_what_was_held_before() {
    let mut world = World::new().await;
    let text = token("a", &[]);
    let thing = Thing::Token(ISSUER, "a");
    world.server.revoke(thing);
    world.until_revoked(&text).await;
    world.part().await;
    world.server.reinstate(thing);
    world.server.forget();
    assert!(world.is_revoked(&text));
    world.heal().await;
    until("the empty set", async || world.passes(&text)).await;
    assert_eq!(world.feed().status().markers, 0);
}

#[tokio::test]
async fn a_revoked_parent_takes_its_children_along_and_nothing_else() {
    let world = World::new().await;
    let (child, other) = (
        token("child", &["root", "parent"]),
        token("other", &["root"]),
    );
    assert!(world.passes(&child) && world.passes(&other));
    let parent = Thing::Token(ISSUER, "parent");
    world.server.revoke(parent);
    world.until_revoked(&child).await;
    let told = VerifyError::Revoked {
        kind: Kind::Token,
        marker: parent.id(),
    };
    assert_eq!(world.check(&child, OPEN), Err(told));
    assert!(world.passes(&other));
    world.server.reinstate(parent);
    until("it to be taken back", async || world.passes(&child)).await;
    world
        .server
        .revoke(Thing::Subject(ISSUER, "spiffe://example.org/ci"));
    world.until_revoked(&other).await;
    assert!(world.is_revoked(&child));
}

#[tokio::test]
async fn a_verifier_goes_on_without_the_broker_for_as_long_as_it_was_told() {
    let mut world = World::new().await;
    let (good, bad) = (token("good", &[]), token("bad", &[]));
    assert!(world.passes(&good) && world.passes(&bad));
    world.server.beat();
    let held = world.feed().status().revision;
    world.part().await;
    // What nobody can know here.
    world.server.revoke(Thing::Token(ISSUER, "bad"));
    world.clock.advance(u32::try_from(BOUND.as_secs()).unwrap());
    assert!(world.passes(&good) && world.passes(&bad));
    world.clock.advance(1);
    assert_eq!(world.check(&good, CLOSED), Err(VerifyError::Stale));
    assert!(world.check(&good, OPEN).is_ok());
    assert_eq!(
        world.feed().status().age,
        Some(BOUND + Duration::from_secs(1))
    );
    assert!(world.feed().status().failure.is_some());

    world.heal().await;
    world.until_revoked(&bad).await;
    assert!(world.passes(&good));
    assert_eq!(world.feed().status().age, Some(Duration::ZERO));
    // It went on from where it was.
    let asked = world.server.asked();
    assert_eq!(asked.first().map(String::as_str), Some(""));
    assert_eq!(asked.last().map(String::as_str), held.as_deref());
    let stats = world.feed().stats();
    assert_eq!(stats.snapshots.load(Ordering::Relaxed), 1);
    assert!(stats.begun.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn whoever_was_away_for_too_long_is_told_everything_anew() {
    let mut world = World::new().await;
    world.server.put(&(0..5).map(idle).collect::<Vec<_>>());
    world.server.revoke(Thing::Token(ISSUER, "old"));
    let (old, new) = (token("old", &[]), token("new", &[]));
    world.until_revoked(&old).await;
    world.part().await;
    world.server.reinstate(Thing::Token(ISSUER, "old"));
    world.server.revoke(Thing::Token(ISSUER, "new"));
    world.server.forget();
    assert!(world.is_revoked(&old));
    world.heal().await;
    world.until_revoked(&new).await;
    assert!(world.passes(&old));
    assert_eq!(world.feed().status().markers, 6);
    assert_eq!(world.feed().stats().snapshots.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_snapshot_that_is_not_what_was_sent_leaves_the_old_state() {
    let mut world = World::new().await;
    world.server.revoke(Thing::Token(ISSUER, "bad"));
    let (good, bad) = (token("good", &[]), token("bad", &[]));
    world.until_revoked(&bad).await;
    let spoilt: [fn(&mut cambist::proto::SnapshotEnd); 2] =
        [|end| end.count += 1, |end| end.digest[0] ^= 1];
    for spoil in spoilt {
        world.part().await;
        world.server.forget();
        world.server.spoil(Some(spoil));
        let before = world.feed().stats().failures.load(Ordering::Relaxed);
        world.heal().await;
        until("it to be refused", async || {
            let status = world.feed().status();
            matches!(status.failure, Some(Error::Protocol(_)))
                && world.feed().stats().failures.load(Ordering::Relaxed) > before
        })
        .await;
        assert!(world.is_revoked(&bad) && world.passes(&good));
        assert_eq!(world.feed().stats().snapshots.load(Ordering::Relaxed), 1);
    }
    world.server.spoil(None);
    until("a sound one", async || {
        world.feed().stats().snapshots.load(Ordering::Relaxed) == 2
    })
    .await;
    assert!(world.is_revoked(&bad) && world.passes(&good));
    // After what could not be, everything is asked for and nothing is gone on from.
    assert_eq!(world.server.asked().last().map(String::as_str), Some(""));
}

/// Changes that are not whole: nobody can say what they would have changed.
fn torn() -> Event {
    Event::Delta(Delta {
        revision: "2".to_owned(),
        markers: packed(&[idle(9)])[..23].to_vec().into(),
        as_of: None,
    })
}

#[tokio::test]
async fn after_what_cannot_be_nothing_is_gone_on_from_before_everything_has_come_anew() {
    let world = World::new().await;
    world.server.revoke(Thing::Token(ISSUER, "bad"));
    let bad = token("bad", &[]);
    world.until_revoked(&bad).await;
    let asked = async |times: usize| {
        until("another feed", async || world.server.asked().len() == times).await;
    };
    // Whoever comes back is told nothing yet, and the connection is lost again.
    world.server.keep_to_itself(true);
    world.server.tell(&torn());
    asked(2).await;
    for times in 3..5 {
        until("a sign of life", async || world.feed().status().connected).await;
        world.server.cut();
        asked(times).await;
    }
    // What was held before stays in use, and is not what the broker is asked to go on from.
    assert_eq!(world.server.asked(), [""; 4]);
    assert!(world.is_revoked(&bad));
    world.server.keep_to_itself(false);
    world.server.cut();
    asked(5).await;
    let patience = Duration::from_secs(60);
    world.feed().caught_up(patience).await.unwrap();
    world.server.cut();
    asked(6).await;
    assert_eq!(world.server.asked()[4..], ["", "1"]);
    assert!(world.is_revoked(&bad));
}

#[tokio::test]
async fn a_feed_that_tells_an_older_state_has_not_caught_up_whatever_it_says() {
    let world = World::new().await;
    let (good, bad) = (token("good", &[]), token("bad", &[]));
    // The broker that answers now has lost sight of its store.
    world.server.lag(100);
    world.server.forget();
    world.server.cut();
    until("another feed", async || world.server.asked().len() == 2).await;
    // What it tells after its snapshot and its heartbeat has come: so have they.
    world.server.revoke(Thing::Token(ISSUER, "bad"));
    world.until_revoked(&bad).await;
    world.server.beat();
    world.server.revoke(Thing::Token(ISSUER, "worse"));
    world.until_revoked(&token("worse", &[])).await;
    assert!(world.feed().status().connected);
    assert!(world.feed().caught_up(Duration::ZERO).await.is_err());
    world.clock.advance(61);
    world.server.beat();
    assert_eq!(world.check(&good, CLOSED), Err(VerifyError::Stale));
    world.server.lag(0);
    world.server.beat();
    let patience = Duration::from_secs(60);
    world.feed().caught_up(patience).await.unwrap();
    assert!(world.passes(&good) && world.is_revoked(&bad));
}

/// A certificate that has ended is a reason to come back at once, with its successor; a refusal at the door is none.
#[tokio::test]
async fn whoever_was_served_until_now_comes_back_at_once_and_whoever_is_turned_away_does_not() {
    let world = World::new().await;
    let began = Instant::now();
    let no = Refusal::new(Code::NotAuthorised, "its certificate has ended");
    let no = tonic::Status::from(no);
    world.server.close(Some(no.clone()));
    world.server.end(&no);
    until("another feed", async || world.server.asked().len() == 2).await;
    // After a refusal it stays away for so long at least.
    let away = Duration::from_secs(5);
    assert!(began.elapsed() < away);
    until("one more", async || world.server.asked().len() == 3).await;
    assert!(began.elapsed() >= away);
    let failure = world.feed().status().failure;
    assert!(failure.is_some_and(|failure| failure.is_refusal()));
}

#[tokio::test]
async fn a_feed_that_is_silent_is_given_up_for_another() {
    let world = World::with(|feed| feed.silence(Duration::from_millis(50))).await;
    let begun = || world.feed().stats().begun.load(Ordering::Relaxed);
    until("another feed", async || begun() >= 3).await;
    assert!(world.passes(&token("good", &[])));
}

#[tokio::test]
async fn a_message_is_taken_up_to_its_bound() {
    let world = World::new().await;
    let of_length = |length: usize, seed: u64| {
        let count = u64::try_from((length - 200) / 24).unwrap();
        let markers: Vec<_> = (0..count).map(|n| idle(seed + n)).collect();
        let event = |pad| {
            Event::Delta(Delta {
                revision: "r".repeat(pad),
                markers: packed(&markers).into(),
                as_of: Some(prost_types::Timestamp {
                    seconds: 1500,
                    nanos: 0,
                }),
            })
        };
        let size = |event: &Event| {
            let event = Some(event.clone());
            WatchResponse { event }.encoded_len()
        };
        let short = size(&event(128));
        let event = event(128 + length - short);
        assert_eq!(size(&event), length);
        (event, usize::try_from(count).unwrap())
    };
    // So long a revision is one, too, that is taken.
    let (event, count) = of_length(limits::FEED_MESSAGE, 0);
    world.server.tell(&event);
    until("a large message", async || {
        world.feed().status().markers == count
    })
    .await;
    let failures = || world.feed().stats().failures.load(Ordering::Relaxed);
    assert_eq!(failures(), 0);
    let (event, _) = of_length(limits::FEED_MESSAGE + 1, 1_000_000_000);
    world.server.tell(&event);
    until("the feed to end", async || failures() == 1).await;
    assert_eq!(world.feed().status().markers, count);
}

#[tokio::test]
async fn more_markers_than_are_held_make_what_is_held_stale() {
    let world = World::with(|feed| feed.most_markers(3)).await;
    let good = token("good", &[]);
    let three: Vec<_> = (0..3).map(idle).collect();
    world.server.put(&three);
    until("three", async || world.feed().status().markers == 3).await;
    world.server.put(&[idle(3)]);
    until("it to be refused", async || {
        matches!(world.feed().status().failure, Some(Error::Protocol(_)))
    })
    .await;
    world.clock.advance(61);
    assert_eq!(world.check(&good, CLOSED), Err(VerifyError::Stale));
}

#[tokio::test]
async fn the_feed_is_asked_for_with_the_clients_certificate() {
    let world = World::new().await;
    let clients = Authority::new("clients");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listening = world
        .server
        .listen_at(listener, &world.identity, Some(&clients));
    let port = listening.address.port();
    let tls = TlsFiles::new(world.path("ca.pem"));
    let without = Feed::builder(endpoint(port, tls.clone())).build().unwrap();
    let failed = without.ready(Duration::from_secs(1)).await;
    assert!(failed.is_err(), "nobody is told without a certificate");
    let identity = clients.client("shop");
    std::fs::write(world.path("cert.pem"), &identity.certificate).unwrap();
    std::fs::write(world.path("key.pem"), &identity.key).unwrap();
    let tls = tls.with_certificate(world.path("cert.pem"), world.path("key.pem"));
    let with = Feed::builder(endpoint(port, tls)).build().unwrap();
    with.ready(Duration::from_secs(60)).await.unwrap();
    let shown = format!("{with:?}");
    assert!(shown.contains("connected: true"), "{shown}");
}

#[tokio::test]
async fn nothing_passes_before_anything_is_known() {
    let mut world = World::unready(|feed| feed).await;
    world.part().await;
    let world = World::unready(|feed| feed).await;
    let good = token("good", &[]);
    // The first answer is still on its way, or has just come: either is right, and a stale one is no yes.
    match world.check(&good, CLOSED) {
        Ok(_) => assert!(world.feed().status().age.is_some()),
        Err(error) => assert_eq!(error, VerifyError::Stale),
    }
    within(
        "the first snapshot",
        world.feed().ready(Duration::from_secs(60)),
    )
    .await
    .unwrap();
    assert!(world.passes(&good));
}

#[tokio::test]
async fn what_was_counted_is_shown() {
    let world = World::new().await;
    world
        .server
        .put(&[all(Thing::Token(ISSUER, "bad")), idle(1)]);
    let (good, bad) = (token("good", &[]), token("bad", &[]));
    world.until_revoked(&bad).await;
    let accepted = world.guard.stats().accepted();
    assert!(world.passes(&good) && world.passes(&good));
    world.clock.advance(7);
    let text = world.guard.openmetrics().unwrap();
    for line in [
        &format!(
            "cambist_verify_checks_total{{result=\"accepted\"}} {}",
            accepted + 2
        ),
        "cambist_verify_checks_total{result=\"expired\"} 0",
        "cambist_verify_markers 2",
        "cambist_verify_remembered 2",
        "cambist_verify_feeds_total 1",
        "cambist_verify_feed_snapshots_total 1",
        "cambist_verify_feed_deltas_total 1",
        "cambist_verify_feed_failures_total 0",
        "cambist_verify_feed_connected 1",
        "cambist_verify_feed_age_seconds 7.0",
        "cambist_verify_feed_as_of_timestamp_seconds 1500",
        "cambist_verify_key_fetches_total 0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    let revoked = text.lines().find(|line| line.contains("revoked"));
    assert!(!revoked.unwrap().ends_with(" 0"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}
