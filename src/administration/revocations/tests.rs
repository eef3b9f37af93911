//! What others do to the store in between, one that does not answer, and an estate of which not every key can be revoked.

mod estate;
mod known;
pub(super) mod meanwhile;
mod own;
mod repeats;
mod signing;
mod stress;
mod until;
mod waiting;
mod world;

use super::estate::testing::{JOBS, job};
use super::*;
use crate::limits;
use crate::secret::api_key;
use crate::store::{Batch, Key, Store as _, Value};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use world::{NOW, World, at, author, once, stored_key};

#[tokio::test]
async fn a_marker_that_is_set_anew_while_it_is_removed_stays() {
    let world = World::new();
    for prolonged in [true, false] {
        let (key, ended) = world.marker(&format!("{prolonged}"), NOW + 100);
        world.put(key.clone(), ended.value().unwrap()).await;
        world.hot.put(ended.marker);
        let (_, anew) = world.marker(&format!("{prolonged}"), NOW + 100_000);
        if prolonged {
            let batch = Batch::new().put(key.clone(), anew.value().unwrap());
            *world.store.between.lock().unwrap() = Some((key.clone(), batch.unwrap()));
        }
        world.admin.forget_ended(at(NOW + 1_000)).await.unwrap();
        let left = world.store.read(&key).await.unwrap();
        let left = left.map(|entry| StoredMarker::read(&entry).unwrap());
        assert_eq!(left, prolonged.then_some(anew));
        assert!(world.store.between.lock().unwrap().is_none());
    }
}

/// However many end at once, others have most of the machine meanwhile.
#[tokio::test]
async fn what_has_ended_goes_at_its_leisure() {
    let world = World::new();
    let ended: Vec<_> = (0..2 * limits::STORE_BATCH)
        .map(|n| world.marker(&n.to_string(), NOW + 100))
        .collect();
    for (key, stored) in &ended {
        world.put(key.clone(), stored.value().unwrap()).await;
        world.hot.put(stored.marker);
    }
    *world.store.spent.lock().unwrap() = Duration::ZERO;
    let start = Instant::now();
    world.admin.forget_ended(at(NOW + 1_000)).await.unwrap();
    let (took, spent) = (start.elapsed(), *world.store.spent.lock().unwrap());
    assert!(spent > Duration::ZERO);
    assert!(
        took >= spent * (1 + limits::EXPIRY_REST),
        "{took:?} {spent:?}"
    );
    assert_eq!(world.hot.markers().len(), 0);
    for (key, _) in &ended {
        assert_eq!(world.store.read(key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_estate_is_what_there_was_when_it_began_and_a_key_that_is_refused_keeps_no_other() {
    // Whichever of them is gone through first.
    for refused in 0..3 {
        let world = World::new();
        let mut keys = Vec::new();
        for later in [-1, 0, 0, 1] {
            keys.push(world.key("team-left", later).await);
        }
        // As they are gone through.
        keys[..3].sort();
        keys.push(world.key("team-stays", 0).await);
        world.contest(Some(stored_key(&keys[refused])));
        let what = Revocable::Owner(Owner::parse("team-left").unwrap());
        let on = Precondition::default();
        let denied = world.admin.revoke(&what, "gone", &author(), &on).await;
        assert_eq!(denied.unwrap_err().code(), "conflict");
        let mut expected = vec![true, true, true, false, false];
        expected[refused] = false;
        assert_eq!(world.are_revoked(&keys).await, expected);
        assert_eq!(world.jobs().await, 1, "it is not done");

        world.clock.advance(10);
        assert!(world.admin.resume().await.is_err());
        assert_eq!(world.are_revoked(&keys).await, expected);
        assert_eq!(world.jobs().await, 1);
        world.contest(None);
        world.admin.resume().await.unwrap();
        expected[refused] = true;
        let revoked = world.are_revoked(&keys).await;
        assert_eq!(revoked, expected, "and none that is younger");
        assert_eq!(world.jobs().await, 0);
    }
}

#[tokio::test]
async fn an_estate_that_a_crash_broke_off_is_gone_on_with() {
    let world = World::new();
    let keys = [world.key("team", 0).await, world.key("team", 5).await];
    let (key, value) = job("team", at(NOW + 4));
    world.put(key, value).await;
    world
        .put(
            Key::new(&format!("{JOBS}x")).unwrap(),
            Value::new(*b"no job").unwrap(),
        )
        .await;
    world.clock.advance(10);
    world.admin.resume().await.unwrap();
    assert_eq!(world.are_revoked(&keys).await, [true, false]);
    assert_eq!(world.jobs().await, 1, "what cannot be read is left");
}

#[tokio::test]
async fn where_the_store_does_not_answer_what_is_there_and_as_expected_ends_all_the_same() {
    let world = World::new();
    let [id, other] = [world.key("team", 0).await, world.key("team", 0).await];
    let on = |revision: Option<u64>| Precondition {
        idempotency_key: Some("once".parse().unwrap()),
        expected_revision: revision,
    };
    let revoke = async |id: KeyPublicId, on: &Precondition| {
        let what = Revocable::ApiKey(id);
        world.admin.revoke(&what, "leaked", &author(), on).await
    };
    let seen = world.admin.keys.found(&id).unwrap().revision();
    world.away(true);
    let missing = KeyPublicId::parse("CambistTestKey01").unwrap();
    let refused = revoke(missing, &on(None)).await.unwrap_err();
    assert_eq!(refused.code(), "not_found");
    let refused = revoke(id, &on(Some(seen + 1))).await.unwrap_err();
    assert_eq!(refused.code(), "conflict");
    // Nothing is in force, and nobody is kept from a token.
    assert!(world.hot.markers().is_empty() && world.admin.undurable.is_empty());
    assert!(!world.admin.undurable.any() && !world.admin.is_undurable(&id));

    let revoked = revoke(id, &on(Some(seen))).await.unwrap();
    assert_eq!((revoked.revision, revoked.markers.len()), (None, 1));
    assert!(world.admin.is_undurable(&id) && !world.admin.is_undurable(&other));
    assert!(world.admin.settle().await.is_err() && world.admin.undurable.any());
    world.away(false);
    world.admin.settle().await.unwrap();
    assert!(world.is_revoked(&id).await && !world.admin.undurable.any());
    assert!(!world.admin.is_undurable(&id));
    assert!(world.hot.credential(CredentialId::ApiKey(id)));
    assert!(!world.is_revoked(&other).await);
}

#[tokio::test]
async fn a_store_that_hangs_is_waited_for_so_long_and_no_longer() {
    let world = World::new();
    let id = world.key("team", 0).await;
    let (what, on) = (Revocable::ApiKey(id), Precondition::default());
    world.store.hangs.store(true, Ordering::Release);
    // Time passes only while there is nothing else to do.
    tokio::time::pause();
    let began = Instant::now();
    let revoked = world.admin.revoke(&what, "leaked", &author(), &on).await;
    assert!(began.elapsed() >= limits::STORE_COMMIT);
    assert!(began.elapsed() < limits::STORE_COMMIT + Duration::from_secs(1));
    tokio::time::resume();
    assert_eq!(revoked.unwrap().revision, None);
    assert!(world.hot.credential(CredentialId::ApiKey(id)) && world.admin.undurable.any());
    world.store.hangs.store(false, Ordering::Release);
    world.admin.settle().await.unwrap();
    assert!(world.is_revoked(&id).await && !world.admin.undurable.any());
}

/// What is begun is stored, and cannot be ended.
#[tokio::test]
async fn a_store_that_hangs_keeps_what_is_gone_on_with_no_longer_either() {
    let world = World::new();
    for owner in ["one", "other"] {
        let (key, value) = job(owner, at(NOW));
        world.put(key, value).await;
    }
    world.store.hangs.store(true, Ordering::Release);
    let began = async {
        world.store.hanging.notified().await;
        // Time passes only while there is nothing else to do.
        tokio::time::pause();
        Instant::now()
    };
    let (resumed, began) = tokio::join!(world.admin.resume(), began);
    assert!(began.elapsed() < limits::STORE_COMMIT + Duration::from_secs(1));
    tokio::time::resume();
    assert_eq!(resumed.unwrap_err().code(), "store_unavailable");
    world.store.hangs.store(false, Ordering::Release);
    world.admin.resume().await.unwrap();
    assert_eq!(world.jobs().await, 0);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_waited_for_no_longer_than_one_that_cannot_be_written() {
    let world = World::new();
    let key = world.key("team", 0).await;
    let signing = world.signing_key().await;
    let all = [
        Revocable::Owner(Owner::parse("team").unwrap()),
        Revocable::SigningKey(signing),
        Revocable::Subject("somebody".to_owned(), Reach::Ban),
    ];
    world.store.reads_hang.store(true, Ordering::Release);
    tokio::time::pause();
    for what in &all {
        let began = Instant::now();
        let revoked = world.revoke(what, &Precondition::default()).await;
        assert!(began.elapsed() >= limits::STORE_COMMIT);
        assert!(began.elapsed() < limits::STORE_COMMIT + Duration::from_secs(1));
        let revoked = revoked.unwrap();
        assert_eq!((revoked.revision, revoked.markers.len()), (None, 1));
    }
    let began = Instant::now();
    assert!(world.admin.resume().await.is_err());
    assert!(began.elapsed() < limits::STORE_COMMIT + Duration::from_secs(1));
    tokio::time::resume();
    world.store.reads_hang.store(false, Ordering::Release);
    world.admin.settle().await.unwrap();
    assert!(world.is_revoked(&key).await && !world.admin.undurable.any());
}

#[tokio::test]
async fn what_cannot_be_written_keeps_nothing_else_waiting() {
    let world = World::new();
    let keys = [world.key("team", 0).await, world.key("team", 0).await];
    world.away(true);
    for id in keys {
        let (what, on) = (Revocable::ApiKey(id), Precondition::default());
        let revoked = world.admin.revoke(&what, "leaked", &author(), &on).await;
        assert_eq!(revoked.unwrap().revision, None);
    }
    world.away(false);
    world.contest(Some(stored_key(&keys[0])));
    // Not a call later: there may be none, at a stop.
    assert!(world.admin.settle().await.is_err());
    assert_eq!(world.are_revoked(&keys).await, [false, true]);
    assert!(world.admin.is_undurable(&keys[0]) && world.admin.undurable.any());
    world.contest(None);
    world.admin.settle().await.unwrap();
    assert_eq!(world.are_revoked(&keys).await, [true, true]);
}

#[tokio::test]
async fn a_leak_that_waits_to_be_written_is_told_once_and_in_the_words_of_its_reporter() {
    let world = World::new();
    let (id, text) = world.key_and_text("team", 0).await;
    let sighting = |url: &str| Sighting {
        url: url.to_owned(),
        ..Sighting::default()
    };
    let on = once();
    let report = async |url: &str| {
        let place = sighting(url);
        let (author, first) = (author(), Writing::First);
        let leaked = world.admin.leaked(&text, &place, &author, &on, first);
        leaked.await.unwrap()
    };
    world.away(true);
    // However often, and wherever it is found meanwhile.
    for url in ["https://first.example", "https://second.example"] {
        assert!(matches!(report(url).await, Leaked::Revoked(_, None)));
    }
    assert_eq!(world.admin.undurable.len(), 1);
    world.away(false);
    world.admin.settle().await.unwrap();
    let recorded = world.recorded(&id).await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    let holds = |text: &str| recorded[0].contains(text);
    assert!(
        holds("key.leaked") && holds("https://first.example"),
        "{recorded:?}"
    );
    assert!(!holds(api_key::secret_part(text.expose()).unwrap()));
    assert!(matches!(report("").await, Leaked::Before(_)));
    // Whether this is a repeat cannot be said then; that the key is revoked for good can.
    world.away(true);
    assert!(matches!(report("").await, Leaked::Revoked(_, Some(_))));
    assert!(!world.admin.undurable.any());
    world.away(false);
    assert_eq!(world.recorded(&id).await.len(), 1);
}

/// By its id alone it is revoked for longer, since its end is not known: that tells nothing of whose it is.
#[tokio::test]
async fn whose_a_token_is_stays_known_when_it_is_revoked_by_its_id_as_well() {
    let world = World::new();
    let key = world.key("team", 0).await;
    let known = InHand {
        end: at(NOW + 100),
        root: Some(CredentialId::ApiKey(key)),
    };
    let id = crate::id::TokenId::new([7; 16]);
    for (known, written) in [(Some(known), 1), (None, 2)] {
        let token = Revocable::Token(id, known);
        world
            .revoke(&token, &Precondition::default())
            .await
            .unwrap();
        let records = world.records("marker.set").await;
        assert_eq!(records.len(), written);
        let its = |record: &String| record.contains(r#""owner":"team""#);
        assert!(records.iter().all(its), "{records:?}");
    }
}
