//! Revocations that are repeated under one idempotency key: what is answered is what is in force.

use super::*;
use crate::id::TokenId;

fn somebody(reach: Reach) -> Revocable {
    Revocable::Subject("somebody".to_owned(), reach)
}

fn before(second: i64) -> Revocable {
    somebody(Reach::Before(at(second)))
}

/// The cut-off that is answered; it is the one that is in force, and the one that is stored.
async fn answered(world: &World, what: &Revocable) -> Second {
    let revoked = world.revoke(what, &once()).await.unwrap();
    assert!(revoked.revision.is_some() && !world.admin.undurable.any());
    let [told] = &revoked.markers[..] else {
        panic!("{revoked:?}")
    };
    let id = told.marker.id;
    let name = StoredMarker::key(&id).unwrap();
    let entry = world.store.read(&name).await.unwrap().unwrap();
    assert_eq!(StoredMarker::read(&entry).unwrap(), *told);
    assert_eq!(world.hot.markers().get(&id), Some(told.marker.cover));
    told.marker.cover.before
}

async fn records(world: &World) -> usize {
    world.records("marker.set").await.len()
}

#[tokio::test]
async fn what_reaches_further_is_carried_out_and_what_does_not_is_answered_with_what_is_stored() {
    let world = World::new();
    for (what, expected, written) in [
        (before(NOW - 1_000), Second::of(at(NOW - 1_000)), 1),
        (before(NOW - 1_000), Second::of(at(NOW - 1_000)), 1),
        // As of now, each time.
        (before(NOW), Second::of(at(NOW)), 2),
        (before(NOW + 40), Second::of(at(NOW + 40)), 3),
        (before(NOW), Second::of(at(NOW + 40)), 3),
        (somebody(Reach::Ban), Second::NEVER, 4),
        (before(NOW + 40), Second::NEVER, 4),
        (somebody(Reach::Ban), Second::NEVER, 4),
    ] {
        assert_eq!(answered(&world, &what).await, expected, "{what:?}");
        assert_eq!(records(&world).await, written, "{what:?}");
    }
}

/// Its end is reckoned from when it is asked for.
#[tokio::test]
async fn a_token_is_revoked_once_however_late_that_is_repeated() {
    let world = World::new();
    let token = Revocable::Token(TokenId::new([1; 16]), None);
    for _ in 0..3 {
        assert_eq!(answered(&world, &token).await, Second::NEVER);
        assert_eq!(records(&world).await, 1);
        world.clock.advance(60);
    }
}

#[tokio::test]
async fn what_was_taken_back_since_stays_so_and_is_not_said_to_be_in_force() {
    let world = World::new();
    let what = somebody(Reach::Ban);
    assert_eq!(answered(&world, &what).await, Second::NEVER);
    let id = Thing::Subject("https://cambist.example.org", "somebody").id();
    let on = Precondition::default();
    let reinstated = world.admin.reinstate(&id, "", &author(), &on).await;
    assert!(reinstated.unwrap().0.is_reinstated());
    let refused = world.revoke(&what, &once()).await.unwrap_err();
    assert_eq!(refused.code(), "conflict");
    assert!(world.hot.markers().get(&id).is_none());
    assert_eq!(records(&world).await, 1);
    // It is no repeat for others, and none of what they set.
    world.revoke(&before(NOW), &on).await.unwrap();
    assert!(world.hot.markers().get(&id).is_some());
    assert_eq!(answered(&world, &what).await, Second::NEVER);
}

#[tokio::test]
async fn a_reinstatement_that_is_repeated_takes_nothing_back_that_was_decided_since() {
    let world = World::new();
    let what = somebody(Reach::Ban);
    let set = async || world.revoke(&what, &Precondition::default()).await.unwrap();
    let id = set().await.markers[0].marker.id;
    let reinstate = async || world.admin.reinstate(&id, "", &author(), &once()).await;
    for _ in 0..2 {
        assert!(reinstate().await.unwrap().0.is_reinstated());
    }
    set().await;
    let refused = reinstate().await.unwrap_err();
    assert_eq!(refused.code(), "conflict");
    assert!(world.hot.markers().get(&id).is_some());
}

/// The first call, which asks for less, comes in between.
#[tokio::test]
async fn a_repeat_that_races_with_the_first_call_is_carried_out_as_far_as_it_reaches() {
    for (first, what, expected, written) in [
        (NOW, before(NOW + 5), Second::of(at(NOW + 5)), 1),
        (NOW, somebody(Reach::Ban), Second::NEVER, 1),
        (NOW + 9, before(NOW + 5), Second::of(at(NOW + 9)), 0),
    ] {
        let (world, author) = (World::new(), author());
        let asked = world.admin.asked(&before(first), "", &author);
        let stored = world.admin.told(&asked).unwrap().remove(0);
        let name = StoredMarker::key(&stored.marker.id).unwrap();
        let id = stored.marker.id.to_string();
        let changes = &world.admin.changes;
        let remembered = changes.remembering("marker.set", &id, &author, &once(), &id);
        let mut batch = Batch::new()
            .put(name.clone(), stored.value().unwrap())
            .unwrap();
        for op in remembered.unwrap() {
            if let crate::store::Op::Put(key, value) = op {
                batch = batch.put(key, value).unwrap();
            }
        }
        *world.store.between.lock().unwrap() = Some((name, batch));
        assert_eq!(answered(&world, &what).await, expected, "{what:?}");
        assert!(world.store.between.lock().unwrap().is_none());
        assert_eq!(records(&world).await, written, "{what:?}");
    }
}
