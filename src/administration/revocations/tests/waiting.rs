//! What waits to be written, as whoever wants to know is told it.

use super::*;

#[tokio::test]
async fn the_markers_that_wait_are_told_as_they_are_in_force_until_they_are_written() {
    let world = World::new();
    let [one, two] = [world.key("team", 0).await, world.key("team", 0).await];
    let on = Precondition::default();
    let subject = |reach| Revocable::Subject("somebody".to_owned(), reach);
    let stored = world.revoke(&subject(Reach::Ban), &on).await.unwrap();
    assert!(stored.revision.is_some() && world.admin.waiting_markers().is_empty());
    world.revoke(&subject(Reach::Ban), &on).await.unwrap();

    world.away(true);
    // A key of its own, and among those of its owner; a subject that is stored otherwise.
    for what in [
        Revocable::ApiKey(one),
        Revocable::Owner(Owner::parse("team").unwrap()),
        Revocable::Certificate([7; 32], None),
        Revocable::Subject("other".to_owned(), Reach::Before(at(NOW))),
        Revocable::Subject("other".to_owned(), Reach::Ban),
    ] {
        let revoked = world.revoke(&what, &on).await.unwrap();
        assert_eq!(revoked.revision, None, "{what:?}");
    }
    assert_eq!(world.admin.waiting(), 5);
    let waiting = world.admin.waiting_markers();
    let things = |markers: &[StoredMarker]| {
        let mut things: Vec<_> = markers.iter().map(|one| one.told.thing.clone()).collect();
        things.sort();
        things
    };
    let markers: Vec<_> = waiting.values().cloned().collect();
    let certificate = CredentialId::Certificate([7; 32]).to_string();
    let mut expected = vec![
        format!("key:{one}"),
        format!("key:{two}"),
        "other".to_owned(),
        certificate,
    ];
    expected.sort();
    assert_eq!(things(&markers), expected);
    for (key, stored) in &waiting {
        assert_eq!(*key, StoredMarker::key(&stored.marker.id).unwrap());
        // As far as any of them reaches.
        assert_eq!(stored.marker.cover.before, Second::NEVER, "{stored:?}");
    }

    world.away(false);
    world.admin.settle().await.unwrap();
    assert!(world.admin.waiting_markers().is_empty() && world.admin.waiting() == 0);
}
