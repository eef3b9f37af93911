//! Estates that are asked for more than once, and that wait to be written.

use super::*;
use crate::inventory::KEY_PREFIX;
use crate::store::{Effect, Op, load_all};

fn estate(owner: &str) -> Revocable {
    Revocable::Owner(Owner::parse(owner).unwrap())
}

/// The records of estates that were begun.
async fn begun(world: &World) -> usize {
    world.records("estate.revoke").await.len()
}

#[tokio::test]
async fn one_that_waits_is_what_there_was_when_it_was_last_asked_for() {
    let (what, on) = (estate("team"), Precondition::default());
    for asked_again in [false, true] {
        let world = World::new();
        let mut keys = vec![world.key("team", -1).await, world.key("team", 0).await];
        world.away(true);
        let revoked = world.revoke(&what, &on).await.unwrap();
        assert_eq!((revoked.revision, revoked.markers.len()), (None, 2));
        assert!(
            revoked
                .markers
                .iter()
                .all(|stored| stored.told.at == at(NOW))
        );
        world.away(false);
        // Made since, and before it can be written.
        keys.push(world.key("team", 5).await);
        world.clock.advance(10);
        if asked_again {
            world.away(true);
            let revoked = world.revoke(&what, &on).await.unwrap();
            assert_eq!((revoked.revision, revoked.markers.len()), (None, 3));
            assert_eq!(world.admin.undurable.len(), 1);
            world.away(false);
        }
        world.admin.settle().await.unwrap();
        let revoked = world.are_revoked(&keys).await;
        assert_eq!(revoked, [true, true, asked_again]);
        let id = CredentialId::ApiKey(keys[2]);
        assert_eq!(world.hot.credential(id), asked_again);
        assert_eq!((begun(&world).await, world.jobs().await), (1, 0));
    }
}

#[tokio::test]
async fn however_often_it_is_tried_it_is_begun_once() {
    let world = World::new();
    let keys = [world.key("team", 0).await, world.key("team", 0).await];
    let (what, on) = (estate("team"), Precondition::default());
    world.away(true);
    assert_eq!(world.revoke(&what, &on).await.unwrap().revision, None);
    world.away(false);
    world.contest(Some(stored_key(&keys[0])));
    for _ in 0..3 {
        world.clock.advance(1);
        assert!(world.admin.settle().await.is_err());
        assert_eq!((begun(&world).await, world.jobs().await), (1, 1));
    }
    assert_eq!(world.are_revoked(&keys).await, [false, true]);
    world.contest(None);
    world.admin.settle().await.unwrap();
    assert_eq!(world.are_revoked(&keys).await, [true, true]);
    assert_eq!((begun(&world).await, world.jobs().await), (1, 0));
    // What was ended by somebody else meanwhile is not begun again.
    world.away(true);
    world
        .admin
        .undurable
        .push(&world.admin.asked(&what, "", &author()), || {})
        .unwrap();
    world.away(false);
    world.admin.settle().await.unwrap();
    assert_eq!((begun(&world).await, world.jobs().await), (1, 0));
}

#[tokio::test]
async fn a_repeat_ends_what_the_first_call_began() {
    let world = World::new();
    let keys = [world.key("team", 0).await, world.key("team", 0).await];
    let what = estate("team");
    let on = once();
    world.contest(Some(stored_key(&keys[0])));
    let refused = world.revoke(&what, &on).await.unwrap_err();
    assert_eq!(refused.code(), "conflict");
    world.contest(None);
    world.clock.advance(1);
    for _ in 0..2 {
        assert!(world.revoke(&what, &on).await.unwrap().revision.is_some());
        assert_eq!(world.are_revoked(&keys).await, [true, true]);
        assert_eq!((begun(&world).await, world.jobs().await), (1, 0));
    }
}

/// Whoever goes on with one ends it; what was begun meanwhile and reaches further stays.
#[tokio::test]
async fn one_that_is_asked_for_later_reaches_further() {
    let world = World::new();
    let keys = [world.key("team", 0).await, world.key("team", 5).await];
    let (what, on) = (estate("team"), Precondition::default());
    world.contest(Some(stored_key(&keys[0])));
    for (seconds, expected) in [(1, [false, false]), (5, [false, true])] {
        world.clock.advance(seconds);
        assert!(world.revoke(&what, &on).await.is_err());
        assert_eq!(world.are_revoked(&keys).await, expected);
        assert_eq!(world.jobs().await, 1);
    }
    assert_eq!(begun(&world).await, 2);
    world.contest(None);
    // Read at the first key; written anew before it is ended.
    let (name, value) = job("team", at(NOW + 20));
    let batch = Batch::new().put(name.clone(), value).unwrap();
    *world.store.between.lock().unwrap() = Some((name, batch));
    world.revoke(&what, &on).await.unwrap();
    assert_eq!(world.are_revoked(&keys).await, [true, true]);
    assert_eq!(world.jobs().await, 1, "it is not this one's to end");
}

#[tokio::test]
async fn one_that_is_under_way_is_gone_on_with_in_a_backup_that_is_put_back() {
    let (world, restored) = (World::new(), World::new());
    let keys = [world.key("team", 0).await, world.key("team", 0).await];
    for entry in load_all(&*world.store, KEY_PREFIX).await.unwrap() {
        restored.put(entry.key, entry.value).await;
    }
    world.contest(Some(stored_key(&keys[0])));
    let on = Precondition::default();
    assert!(world.revoke(&estate("team"), &on).await.is_err());
    // What the log gives back.
    let lost = world.store.outbox(100).await.unwrap();
    for Effect(op) in lost.into_iter().flat_map(|entry| entry.effects) {
        if let Op::Put(key, value) = op {
            restored.put(key, value).await;
        }
    }
    restored.admin.changes.all_in_force().await.unwrap();
    assert_eq!(restored.are_revoked(&keys).await, [false, true]);
    restored.admin.resume().await.unwrap();
    assert_eq!(restored.are_revoked(&keys).await, [true, true]);
    assert_eq!(restored.jobs().await, 0);
}

#[tokio::test]
async fn what_takes_a_keys_place_meanwhile_is_part_of_it() {
    for overlap in [Duration::ZERO, Duration::from_secs(60)] {
        let world = World::new();
        let mut keys = vec![world.key("team", 0).await, world.key("team", 0).await];
        let (key, value) = job("team", at(NOW));
        world.put(key, value).await;
        world.clock.advance(5);
        // A younger one, that is none of it, has one too.
        keys.push(world.key("team", 1).await);
        for of in [0, 2, 3] {
            let (on, author) = (Precondition::default(), author());
            let rotated = world
                .admin
                .keys
                .rotate(&keys[of], overlap, None, &author, &on);
            keys.push(rotated.await.unwrap().key.key().id);
        }
        world.admin.resume().await.unwrap();
        let ended = overlap.is_zero();
        let expected = [true, true, ended, true, false, true];
        assert_eq!(world.are_revoked(&keys).await, expected, "{overlap:?}");
        assert_eq!(world.jobs().await, 0);
    }
}

#[tokio::test]
async fn what_takes_the_place_of_a_key_before_its_turn_comes_is_part_of_it() {
    let world = World::new();
    let mut keys = vec![world.key("team", 0).await, world.key("team", 0).await];
    // As they are gone through.
    keys.sort();
    let (key, value) = job("team", at(NOW));
    world.put(key, value).await;
    world.clock.advance(5);
    let (on, author) = (Precondition::default(), author());
    let rotation = &world.admin.keys;
    let rotation = rotation.rotate(&keys[1], Duration::ZERO, None, &author, &on);
    let (resumed, rotated) = tokio::join!(world.admin.resume(), rotation);
    resumed.unwrap();
    keys.push(rotated.unwrap().key.key().id);
    assert_eq!(world.are_revoked(&keys).await, [true, true, true]);
    assert_eq!(world.jobs().await, 0);
}
