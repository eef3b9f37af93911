//! What holders give up, and what stays others'.

use super::*;
use crate::authn::{Held, HeldThing, Holder};
use crate::id::TokenId;
use crate::marker::Part;

/// Tokens of one credential, each another one.
struct Tokens {
    of: CredentialId,
    next: u128,
}

impl Tokens {
    /// One that was issued then, in somebody's hand.
    fn issued(&mut self, second: i64, by: &Holder) -> Held {
        self.next += 1;
        let thing = HeldThing::Token {
            id: TokenId::new(self.next.to_be_bytes()),
            root: Some(self.of),
            credential: Some(self.of),
            issued_at: at(second),
            expires_at: at(second + 900),
        };
        Held::for_test(thing, by.clone())
    }
}

fn proven(name: &str) -> Holder {
    Holder::Proven(name.into())
}

async fn give_up(world: &World, held: &Held) -> Revoked {
    give_up_on(world, held, &Precondition::default()).await
}

async fn give_up_on(world: &World, held: &Held, on: &Precondition) -> Revoked {
    world.admin.give_up(held, "", &author(), on).await.unwrap()
}

/// As many of its tokens are given up as are one by one.
async fn at_the_bound(world: &World, of: CredentialId, by: &Holder) -> Tokens {
    let mut tokens = Tokens { of, next: 0 };
    for _ in 0..limits::SELF_REVOCATIONS {
        give_up(world, &tokens.issued(NOW, by)).await;
    }
    tokens
}

fn the_one(revoked: &Revoked) -> &StoredMarker {
    let [marker] = &revoked.markers[..] else {
        panic!("{revoked:?}")
    };
    marker
}

fn is_covered(world: &World, of: CredentialId, second: i64) -> bool {
    let part = Part::dated(Thing::TokensOf(of), at(second));
    world.hot.markers().covers(&part)
}

#[tokio::test]
async fn past_the_bound_all_tokens_so_far_are_given_up_and_the_credential_is_not() {
    let world = World::new();
    let key = world.key("team", 0).await;
    let of = CredentialId::ApiKey(key);
    let mut tokens = Tokens { of, next: 0 };
    let (shop, other) = (proven("shop"), proven("other"));
    for _ in 0..limits::SELF_REVOCATIONS {
        let revoked = give_up(&world, &tokens.issued(NOW, &shop)).await;
        assert_eq!(the_one(&revoked).told.kind, "token");
    }
    // Whoever else gives one up is not held to what the first one did.
    let revoked = give_up(&world, &tokens.issued(NOW, &other)).await;
    assert_eq!(the_one(&revoked).told.kind, "token");
    assert!(!is_covered(&world, of, NOW));

    world.clock.advance(5);
    let last = tokens.issued(NOW, &shop);
    let revoked = give_up(&world, &last).await;
    let set = the_one(&revoked).clone();
    assert!(revoked.revision.is_some());
    assert_eq!(set.told.kind, "credential");
    assert_eq!(set.told.thing, of.to_string());
    assert_eq!(set.marker.cover.before, Second::of(at(NOW + 5)));
    // Nothing from then lives longer.
    let longest = i64::try_from(limits::LONGEST_LIFETIME.as_secs()).unwrap();
    let end = Second::end_of(at(NOW + 5 + longest));
    assert_eq!(set.marker.cover.until, end);
    assert!(is_covered(&world, of, NOW + 5) && !is_covered(&world, of, NOW + 6));
    assert!(!world.hot.credential(of) && !world.is_revoked(&key).await);

    // What is among them already is no further one, whoever shows it.
    world.clock.advance(5);
    for held in [last, tokens.issued(NOW + 4, &other)] {
        assert_eq!(*the_one(&give_up(&world, &held).await), set);
    }
    let revoked = give_up(&world, &tokens.issued(NOW + 6, &other)).await;
    assert_eq!(the_one(&revoked).told.kind, "token");
    // And of what came later all is given up again, in the same marker.
    let revoked = give_up(&world, &tokens.issued(NOW + 6, &shop)).await;
    let again = the_one(&revoked);
    assert_eq!(again.marker.id, set.marker.id);
    assert_eq!(again.marker.cover.before, Second::of(at(NOW + 10)));
    assert!(!world.hot.credential(of) && !world.is_revoked(&key).await);
}

/// All of them are of one marker then.
#[tokio::test]
async fn past_the_bound_a_token_that_is_given_up_under_the_name_of_another_is_given_up() {
    let world = World::new();
    let of = CredentialId::Certificate([7; 32]);
    let shop = proven("shop");
    let mut tokens = at_the_bound(&world, of, &shop).await;
    let on = once();
    for second in [NOW, NOW + 5] {
        let revoked = give_up_on(&world, &tokens.issued(second, &shop), &on).await;
        let before = the_one(&revoked).marker.cover.before;
        assert_eq!(before, Second::of(at(second)));
        assert!(is_covered(&world, of, second), "{second}");
        world.clock.advance(5);
    }
}

#[tokio::test]
async fn what_is_made_of_a_token_while_it_is_given_up_goes_with_it() {
    let world = World::new();
    let of = CredentialId::Certificate([7; 32]);
    let shop = proven("shop");
    let mut tokens = at_the_bound(&world, of, &shop).await;
    world.store.lasts.store(3, Ordering::Release);
    let revoked = give_up(&world, &tokens.issued(NOW, &shop)).await;
    let before = the_one(&revoked).marker.cover.before;
    assert_eq!(before, Second::of(at(NOW + 3)));
    assert!(is_covered(&world, of, NOW + 3) && !is_covered(&world, of, NOW + 4));
}

#[tokio::test]
async fn tokens_that_cannot_be_given_up_in_writing_are_given_up_all_the_same() {
    let world = World::new();
    let key = world.key("team", 0).await;
    let of = CredentialId::ApiKey(key);
    let shop = proven("shop");
    let mut tokens = at_the_bound(&world, of, &shop).await;
    world.away(true);
    for _ in 0..3 {
        let revoked = give_up(&world, &tokens.issued(NOW, &shop)).await;
        assert_eq!(revoked.revision, None);
        assert!(is_covered(&world, of, NOW) && !world.hot.credential(of));
    }
    assert_eq!(world.admin.undurable.len(), 1);
    world.away(false);
    world.admin.settle().await.unwrap();
    assert!(is_covered(&world, of, NOW) && !world.is_revoked(&key).await);
    // What becomes of the key is nothing to the marker of its tokens.
    let (on, author) = (Precondition::default(), author());
    for state in [KeyState::Suspended, KeyState::Active] {
        let set = world.admin.keys.set_state(&key, state, "", &author, &on);
        set.await.unwrap();
        assert!(is_covered(&world, of, NOW), "{state:?}");
    }
}

#[tokio::test]
async fn who_shows_the_credential_itself_ends_it() {
    let world = World::new();
    let key = world.key("team", 0).await;
    let of = CredentialId::ApiKey(key);
    let thing = HeldThing::Credential(of, at(NOW + 1_000));
    give_up(&world, &Held::for_test(thing, proven("team"))).await;
    assert!(world.hot.credential(of) && world.is_revoked(&key).await);
}
