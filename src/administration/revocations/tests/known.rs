//! What is revoked for good already, asked for again where the store cannot be read.

use super::*;
use crate::id::TokenId;

fn token(number: u128) -> Revocable {
    Revocable::Token(TokenId::new(number.to_be_bytes()), None)
}

async fn again(world: &World, what: &Revocable) -> Revoked {
    world.clock.advance(60);
    let revoked = world.revoke(what, &Precondition::default()).await;
    revoked.unwrap()
}

#[tokio::test]
async fn it_is_answered_as_ever_and_keeps_nobody_from_a_token() {
    let world = World::new();
    let key = world.key("team", 0).await;
    let known = [
        Revocable::SigningKey(world.signing_key().await),
        Revocable::TokensOf(CredentialId::Certificate([7; 32]), at(NOW)),
        token(1),
        Revocable::Certificate([7; 32], Some(at(NOW + 100))),
        Revocable::Subject("somebody".to_owned(), Reach::Before(at(NOW))),
        Revocable::Issuer(at(NOW)),
        Revocable::ApiKey(key),
        Revocable::Owner(Owner::parse("team").unwrap()),
    ];
    for what in &known {
        let revoked = world.revoke(what, &Precondition::default()).await;
        assert!(revoked.unwrap().revision.is_some(), "{what:?}");
    }
    let reached = world.store.revision().await.unwrap();
    world.away(true);
    for what in &known {
        assert_eq!(
            again(&world, what).await.revision,
            Some(reached),
            "{what:?}"
        );
        assert!(!world.admin.undurable.any(), "{what:?}");
    }
    // What is further is not.
    let further = [
        Revocable::Subject("somebody".to_owned(), Reach::Ban),
        Revocable::Issuer(at(NOW + 1)),
        Revocable::TokensOf(CredentialId::Certificate([7; 32]), at(NOW + 1)),
        token(2),
    ];
    for (before, what) in further.iter().enumerate() {
        assert_eq!(again(&world, what).await.revision, None, "{what:?}");
        assert_eq!(world.admin.undurable.len(), before + 1, "{what:?}");
    }
}

#[tokio::test]
async fn one_that_waits_goes_on_waiting_however_often_it_is_asked_for() {
    let world = World::new();
    let key = world.key("team", 0).await;
    world.away(true);
    for what in [token(1), Revocable::ApiKey(key)] {
        for _ in 0..2 {
            assert_eq!(again(&world, &what).await.revision, None, "{what:?}");
            assert!(world.admin.undurable.any(), "{what:?}");
        }
    }
    assert_eq!(world.admin.undurable.len(), 2);
    world.away(false);
    world.admin.settle().await.unwrap();
    world.away(true);
    for what in [token(1), Revocable::ApiKey(key)] {
        assert!(again(&world, &what).await.revision.is_some(), "{what:?}");
    }
}

/// Its marker is like that of one that is revoked.
#[tokio::test]
async fn a_key_that_is_suspended_is_not_revoked() {
    let world = World::new();
    let key = world.key("team", 0).await;
    let (state, author, on) = (KeyState::Suspended, author(), Precondition::default());
    let set = world.admin.keys.set_state(&key, state, "", &author, &on);
    set.await.unwrap();
    assert!(world.hot.credential(CredentialId::ApiKey(key)));
    world.away(true);
    assert_eq!(again(&world, &Revocable::ApiKey(key)).await.revision, None);
    assert!(world.admin.undurable.any());
}

/// What is stored and not on the record could be lost with the store.
#[tokio::test]
async fn what_is_not_on_the_record_yet_is_not_for_good() {
    let world = World::new();
    assert!(again(&world, &token(1)).await.revision.is_some());
    world.unreach();
    world.away(true);
    assert_eq!(again(&world, &token(1)).await.revision, None);
    assert!(world.admin.undurable.any());
}
