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
