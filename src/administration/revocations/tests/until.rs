//! Until when markers are kept: as long as what they cover can be alive, where that can be said.

use super::*;

async fn until(world: &World, what: Revocable) -> Second {
    let revoked = world.revoke(&what, &Precondition::default()).await.unwrap();
    revoked.markers[0].marker.cover.until
}

fn later(second: i64, by: Duration) -> Second {
    Second::end_of(at(second) + by)
}

#[tokio::test]
async fn what_is_revoked_up_to_a_time_ends_with_what_began_by_then() {
    let world = World::new();
    let key = world.key("team", 0).await;
    let sub = |id: &str| format!("https://cambist.example.org/keys/{id}");
    let (before, ban) = (Reach::Before(at(NOW)), Reach::Ban);
    let workload = "spiffe://example.org/web".to_owned();
    let domain = crate::id::TrustDomain::parse("example.org").unwrap();
    let unknown = "AAAAAAAAAAAAAAAA";
    let lapses = later(NOW, limits::LONGEST_LIFETIME);
    for (what, expected) in [
        // The key's own end is sooner.
        (Revocable::Subject(sub(&key.to_string()), before), lapses),
        (
            Revocable::Subject(sub(unknown), before),
            later(NOW, limits::LONGEST_KEY_LIFE),
        ),
        (
            Revocable::Subject("somebody".to_owned(), before),
            later(NOW, limits::LONGEST_KEY_LIFE),
        ),
        (
            Revocable::TokensOf(CredentialId::Certificate([7; 32]), at(NOW)),
            lapses,
        ),
        (
            Revocable::Certificate([7; 32], Some(at(NOW + 200_000))),
            Second::end_of(at(NOW + 200_000)),
        ),
        // A certificate lives as long as its issuer says.
        (Revocable::Subject(workload, before), Second::NEVER),
        (
            Revocable::TrustDomain(domain.clone(), before),
            Second::NEVER,
        ),
        (Revocable::Certificate([8; 32], None), Second::NEVER),
        // These stay until they are taken back.
        (Revocable::Subject(sub(unknown), ban), Second::NEVER),
        (Revocable::TrustDomain(domain, ban), Second::NEVER),
    ] {
        assert_eq!(until(&world, what.clone()).await, expected, "{what:?}");
    }
}

/// What was made from it while it had longer to go keeps its end.
#[tokio::test]
async fn a_key_whose_expiry_a_rotation_brought_forward_is_marked_for_as_long_as_any_token_of_it_lives()
 {
    for state in [KeyState::Suspended, KeyState::Revoked] {
        let world = World::new();
        let key = world.key("team", 0).await;
        let (author, on) = (author(), Precondition::default());
        let overlap = Duration::from_secs(60);
        let rotated = world.admin.keys.rotate(&key, overlap, None, &author, &on);
        rotated.await.unwrap();
        let end = later(NOW + 60, limits::LONGEST_LIFETIME);
        // It has lapsed by then, and longer ago than verifiers forgive.
        world.clock.advance(600);
        match state {
            KeyState::Revoked => assert_eq!(until(&world, Revocable::ApiKey(key)).await, end),
            _ => {
                let set = world.admin.keys.set_state(&key, state, "", &author, &on);
                set.await.unwrap();
            }
        }
        let end = end.instant().unwrap();
        for second in [at(NOW + 600), at(NOW + 900), end - Duration::from_secs(1)] {
            world.admin.forget_ended(second).await.unwrap();
            let is_marked = world.hot.credential(CredentialId::ApiKey(key));
            assert!(is_marked, "{state:?} {second}");
        }
        // Ends are kept to within a quarter of a minute.
        let gone = end + Duration::from_secs(16);
        world.admin.forget_ended(gone).await.unwrap();
        assert!(
            !world.hot.credential(CredentialId::ApiKey(key)),
            "{state:?}"
        );
    }
}
