//! Signing keys: revoked once more, and where the store or the log does not do its part.

use super::*;
use crate::id::KeyId;

fn is_distrusted(world: &World, id: &KeyId) -> bool {
    let thing = Thing::SigningKey(id).id();
    world.hot.markers().get(&thing).is_some()
}

#[tokio::test]
async fn one_that_is_revoked_is_revoked_again_without_harm() {
    let world = World::new();
    let id = world.signing_key().await;
    let (what, on) = (Revocable::SigningKey(id.clone()), Precondition::default());
    let first = world.revoke(&what, &on).await.unwrap();
    let again = world.revoke(&what, &on).await.unwrap();
    assert!(first.revision.is_some());
    assert_eq!(again.revision, first.revision, "nothing was written");
    assert_eq!(again.markers, first.markers);
    assert_ne!(world.signing_key().await, id);
    let recorded = world.records("signing_key.compromise").await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    let unknown = Revocable::SigningKey(KeyId::parse("nobody's").unwrap());
    for is_away in [false, true] {
        world.away(is_away);
        let refused = world.revoke(&unknown, &on).await.unwrap_err();
        assert_eq!(refused.code(), "not_found", "{is_away}");
        assert!(!world.admin.undurable.any());
    }
}

#[tokio::test]
async fn one_whose_record_is_not_durable_waits_until_it_is() {
    let world = World::new();
    let id = world.signing_key().await;
    let (what, on) = (Revocable::SigningKey(id.clone()), Precondition::default());
    world.lacks_log(true);
    let revoked = world.revoke(&what, &on).await.unwrap();
    assert_eq!((revoked.revision, revoked.markers.len()), (None, 1));
    for _ in 0..2 {
        // It is committed: that is no reason to let go of it.
        assert!(world.admin.settle().await.is_err());
        assert!(world.admin.undurable.any() && world.admin.is_undurable_signing(&id));
    }
    world.lacks_log(false);
    world.admin.settle().await.unwrap();
    assert!(!world.admin.undurable.any() && !world.admin.is_undurable_signing(&id));
    assert!(is_distrusted(&world, &id));
}

#[tokio::test]
async fn a_store_that_hangs_is_waited_for_so_long_and_no_longer() {
    let world = World::new();
    let id = world.signing_key().await;
    let (what, on) = (Revocable::SigningKey(id.clone()), Precondition::default());
    world.store.hangs.store(true, Ordering::Release);
    let began = async {
        world.store.hanging.notified().await;
        // Time passes only while there is nothing else to do.
        tokio::time::pause();
        Instant::now()
    };
    let (revoked, began) = tokio::join!(world.revoke(&what, &on), began);
    assert!(began.elapsed() < limits::STORE_COMMIT + Duration::from_secs(1));
    tokio::time::resume();
    assert_eq!(revoked.unwrap().revision, None);
    assert!(is_distrusted(&world, &id) && world.admin.undurable.any());
    world.store.hangs.store(false, Ordering::Release);
    world.admin.settle().await.unwrap();
    assert!(!world.admin.undurable.any() && is_distrusted(&world, &id));
    assert_ne!(world.signing_key().await, id);
}
