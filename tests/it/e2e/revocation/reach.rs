//! How far each revocation reaches.

use super::{Pair, administrator, ban, check, dry_run, kid, of, revoke};
use crate::e2e::edge::{guard_of, passes, until_told};
use crate::support::broker::{
    Broker, InProcess, Site, api_key, ask, claims, delegated, peer, refusal, spec, token,
};
use crate::support::clock::testing::TestClock;
use crate::support::edge::{until, within};
use crate::support::svid::NOW;
use cambist::clock::{Clock as _, SystemClock};
use cambist::limits;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{
    ExchangeResponse, LeaseRequest, ReinstateRequest, RevokeRequest, RotateSigningKeyRequest,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn a_revoked_parent_takes_its_child_along_also_after_a_crash() {
    let mut broker = Broker::start().await;
    let (pair, other) = (Pair::new(&broker).await, Pair::new(&broker).await);
    assert!(pair.child_lives(&broker).await && pair.parent_lives(&broker).await);
    let request = of(Thing::Token(pair.parent.access_token.clone()));
    let answer = revoke(&mut administrator(&broker).await, request)
        .await
        .unwrap();
    assert!(answer.durable && !answer.revision.is_empty());
    let [marker] = &answer.markers[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (&*marker.kind, &marker.thing),
        ("token", &pair.parent.token_id)
    );
    assert!(!pair.child_lives(&broker).await && !pair.parent_lives(&broker).await);
    broker.kill9().await;
    broker.restart().await;
    let billing = broker.svid("spiffe://example.org/billing");
    let pair = Pair {
        billing: broker.workload(&billing).await,
        ..pair
    };
    assert!(!pair.child_lives(&broker).await && !pair.parent_lives(&broker).await);
    let other = Pair {
        billing: broker.workload(&billing).await,
        ..other
    };
    assert!(other.child_lives(&broker).await && other.parent_lives(&broker).await);
}

/// Also where no one acts: the party of a token that presents it with another one of its own has made what comes of it from both.
#[tokio::test]
async fn a_revoked_actor_token_takes_what_was_exchanged_with_it_along() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let verifier = guard_of(&broker, "shop", "shop").await;
    let caller = broker.web().await;
    let own = |reply: &ExchangeResponse| token(&reply.access_token);
    let subject = caller.yes(ask(peer(), "shop")).await;
    let actor = caller.yes(ask(peer(), "shop")).await;
    let with_both = delegated(own(&subject), own(&actor), "shop");
    let child = caller.yes(with_both).await;
    let grandchild = caller.yes(ask(own(&child), "shop")).await;
    let request = of(Thing::TokenId(actor.token_id.clone()));
    let would = revoke(&mut administrator, dry_run(&request)).await.unwrap();
    assert_eq!(would.hit.unwrap().tokens, 3);
    let answer = revoke(&mut administrator, request).await.unwrap();
    until_told(&verifier, &answer.revision).await;
    for reply in [&actor, &child, &grandchild] {
        assert!(!check(&broker, reply).await.active);
        assert!(!passes(&verifier, &reply.access_token));
        assert_eq!(caller.no(ask(own(reply), "shop")).await, "token_refused");
    }
    assert!(check(&broker, &subject).await.active && passes(&verifier, &subject.access_token));
    caller.yes(ask(own(&subject), "shop")).await;
}

/// Nothing is done between the acknowledgement and the crash: what was durable by then is what there is.
#[tokio::test]
async fn a_parent_that_was_revoked_right_before_a_crash_takes_its_child_along_everywhere() {
    let mut broker = Broker::start().await;
    let (pair, other) = (Pair::new(&broker).await, Pair::new(&broker).await);
    let stayed = guard_of(&broker, "billing", "billing").await;
    let [child, others] = [&pair, &other].map(|pair| pair.child.access_token.clone());
    assert!(passes(&stayed, &child) && passes(&stayed, &others));
    let mut administrator = administrator(&broker).await;
    let request = of(Thing::Token(pair.parent.access_token.clone()));
    let answer = revoke(&mut administrator, request).await;
    broker.kill9().await;
    let answer = answer.unwrap();
    assert!(answer.durable && !answer.revision.is_empty());
    assert_eq!(answer.markers[0].kind, "token");

    broker.restart().await;
    let billing = broker.svid("spiffe://example.org/billing");
    let [pair, other] = [pair, other].map(async |pair| Pair {
        billing: broker.workload(&billing).await,
        ..pair
    });
    let (pair, other) = (pair.await, other.await);
    // At introspection and on re-exchange.
    assert!(!pair.child_lives(&broker).await && !pair.parent_lives(&broker).await);
    assert!(other.child_lives(&broker).await && other.parent_lives(&broker).await);
    // At a verifier that listened all the while, and at one that begins now.
    let new = guard_of(&broker, "billing", "billing").await;
    for guard in [stayed, new] {
        until_told(&guard, &answer.revision).await;
        assert!(!passes(&guard, &child) && passes(&guard, &others));
    }
}

/// What else dies with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Takes {
    Nothing,
    Parent,
    /// Whatever was issued beside it, too.
    All,
}

/// What can be revoked of a pair, and what dies with the child.
fn ways(pair: &Pair) -> Vec<(&'static str, RevokeRequest, Takes)> {
    let parent = claims(&pair.parent.access_token);
    let sub = parent["sub"].as_str().unwrap().to_owned();
    vec![
        (
            "token",
            of(Thing::Token(pair.child.access_token.clone())),
            Takes::Nothing,
        ),
        (
            "token id",
            of(Thing::TokenId(pair.child.token_id.clone())),
            Takes::Nothing,
        ),
        (
            "parent's id",
            of(Thing::TokenId(pair.parent.token_id.clone())),
            Takes::Parent,
        ),
        ("key", of(Thing::ApiKey(pair.secret.clone())), Takes::Parent),
        (
            "credential",
            of(Thing::CredentialId(pair.credential())),
            Takes::Parent,
        ),
        ("subject", of(Thing::Subject(sub.clone())), Takes::Parent),
        ("banned subject", ban(Thing::Subject(sub)), Takes::Parent),
        // The last one: it takes the bystander along.
        (
            "signing key",
            of(Thing::SigningKey(kid(&pair.child.access_token))),
            Takes::All,
        ),
    ]
}

#[tokio::test]
async fn every_way_to_name_a_thing_revokes_that_and_nothing_else() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let bystander = Pair::new(&broker).await;
    let verifier = guard_of(&broker, "billing", "billing").await;
    let count = ways(&bystander).len();
    for way in 0..count {
        let pair = Pair::new(&broker).await;
        let (name, request, takes) = ways(&pair).swap_remove(way);
        assert!(pair.child_lives(&broker).await, "{name}");
        let answer = revoke(&mut administrator, request.clone()).await.unwrap();
        assert_eq!(answer.markers.len(), 1, "{name}");
        assert!(!pair.child_lives(&broker).await, "{name}");
        let parent_lives = pair.parent_lives(&broker).await;
        assert_eq!(!parent_lives, takes >= Takes::Parent, "{name}");
        let others_live = bystander.child_lives(&broker).await;
        assert_eq!(!others_live, takes == Takes::All, "{name}");
        until_told(&verifier, &answer.revision).await;
        assert!(!passes(&verifier, &pair.child.access_token), "{name}");
        let passes_beside = passes(&verifier, &bystander.child.access_token);
        assert_eq!(passes_beside, others_live, "{name}");
        // What is revoked is revoked again without harm, and is the same marker.
        let again = revoke(&mut administrator, request).await.unwrap();
        assert_eq!(again.markers[0].id, answer.markers[0].id, "{name}");
        assert!(again.durable, "{name}");
    }
}

#[tokio::test]
async fn a_certificate_takes_what_was_made_from_it_or_is_bound_to_it_along() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let web = broker.svid("spiffe://example.org/web");
    let caller = broker.workload(&web).await;
    let own = caller.yes(ask(peer(), "shop")).await;
    let made = broker.create_key(spec(&["shop", "billing"], &[])).await;
    let bound = caller.yes(ask(api_key(&made.secret), "shop")).await;
    // It is bound to the shop's certificate, and no less made from what only the first one's holder could present.
    let shop = broker
        .workload(&broker.svid("spiffe://example.org/shop"))
        .await;
    let from_bound = shop.yes(ask(token(&bound.access_token), "billing")).await;
    let other = broker.svid("spiffe://example.org/web");
    let others = broker.workload(&other).await.yes(ask(peer(), "shop")).await;
    let request = of(Thing::Certificate(web.leaf.to_vec()));
    let would = revoke(&mut administrator, dry_run(&request)).await.unwrap();
    assert_eq!(would.hit.unwrap().tokens, 3);
    let answer = revoke(&mut administrator, request).await.unwrap();
    let marker = &answer.markers[0];
    assert!(marker.thing.starts_with("x509:") && marker.until.is_some());
    for reply in [&own, &bound, &from_bound] {
        assert!(!check(&broker, reply).await.active);
    }
    assert!(check(&broker, &others).await.active);
    assert_eq!(caller.no(ask(peer(), "shop")).await, "credential_refused");
    let with_key = ask(api_key(broker.api_key()), "shop");
    assert_eq!(caller.no(with_key).await, "credential_refused");
    // By its id the other one.
    let request = of(Thing::CredentialId(others.credential_id.clone()));
    revoke(&mut administrator, request).await.unwrap();
    assert!(!check(&broker, &others).await.active);
}

/// With another `s` in its signature a certificate is as good, and has another fingerprint. Neither is any use where the other
/// one is revoked, whichever of them was issued.
#[tokio::test]
async fn a_certificate_takes_the_one_along_that_differs_in_its_signature_alone() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let verifier = guard_of(&broker, "shop", "shop").await;
    for is_issued in [true, false] {
        let issued = broker.svid("spiffe://example.org/web");
        let flipped = issued.flipped();
        let (revoked, shown) = match is_issued {
            true => (issued, flipped),
            false => (flipped, issued),
        };
        let caller = broker.workload(&shown).await;
        let own = caller.yes(ask(peer(), "shop")).await;
        let bound = caller.yes(ask(api_key(broker.api_key()), "shop")).await;
        let again = caller.yes(ask(token(&own.access_token), "shop")).await;
        let made = [own, bound, again];
        assert_ne!(revoked.thumbprint(), shown.thumbprint());
        let by_id = of(Thing::CredentialId(format!(
            "x509:{}",
            revoked.thumbprint()
        )));
        let would = revoke(&mut administrator, dry_run(&by_id)).await.unwrap();
        assert_eq!(would.hit.unwrap().tokens, 3);
        let answer = revoke(&mut administrator, by_id).await.unwrap();
        until_told(&verifier, &answer.revision).await;
        for reply in &made {
            assert!(!check(&broker, reply).await.active);
            assert!(!passes(&verifier, &reply.access_token));
        }
        let with_key = ask(api_key(broker.api_key()), "shop");
        for request in [ask(peer(), "shop"), with_key] {
            assert_eq!(caller.no(request).await, "credential_refused");
        }
    }
}

/// A marker of an authority's certificate would cover nothing.
#[tokio::test]
async fn an_authoritys_certificate_is_not_revoked_by_a_marker() {
    let broker = Broker::start().await;
    let request = of(Thing::Certificate(broker.home.certificate.to_vec()));
    let refused = revoke(&mut administrator(&broker).await, request).await;
    let status = refused.unwrap_err();
    assert_eq!(refusal(&status), "invalid_request");
    assert!(status.message().contains("trust bundle"), "{status:?}");
}

#[tokio::test]
async fn a_trust_domain_and_a_workload_are_revoked_and_taken_back() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let caller = broker.web().await;
    for thing in [
        Thing::TrustDomain("example.org".to_owned()),
        Thing::Subject("spiffe://example.org/web".to_owned()),
    ] {
        for request in [ban(thing.clone()), of(thing.clone())] {
            let before = caller.yes(ask(peer(), "shop")).await;
            let answer = revoke(&mut administrator, request).await.unwrap();
            assert!(!check(&broker, &before).await.active, "{thing:?}");
            assert_eq!(caller.no(ask(peer(), "shop")).await, "credential_refused");
            let request = ReinstateRequest {
                marker_id: answer.markers[0].id.clone(),
                reason: "it was another".to_owned(),
                ..ReinstateRequest::default()
            };
            let answer = administrator.reinstate(request).await.unwrap().into_inner();
            assert!(answer.marker.unwrap().reinstated && !answer.revision.is_empty());
            assert!(check(&broker, &before).await.active, "{thing:?}");
            caller.yes(ask(peer(), "shop")).await;
        }
    }
}

#[tokio::test]
async fn everything_up_to_a_time_is_revoked_and_nothing_after_it() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let caller = broker.web().await;
    let before = caller.yes(ask(peer(), "shop")).await;
    let request = of(Thing::Issuer(broker.issuer.clone()));
    let answer = revoke(&mut administrator, request).await.unwrap();
    let cut_off = answer.markers[0].before.unwrap().seconds;
    assert!(!check(&broker, &before).await.active);
    // A token of the cut-off's own second would be covered: none is issued in it.
    let after = within("the next second", async {
        loop {
            match caller.exchange(ask(peer(), "shop")).await {
                Ok(reply) => return reply,
                Err(status) => assert_eq!(refusal(&status), "too_busy"),
            }
        }
    })
    .await;
    assert!(claims(&after.access_token)["iat"].as_i64().unwrap() > cut_off);
    assert!(check(&broker, &after).await.active);
    let elsewhere = of(Thing::Issuer("https://elsewhere.example".to_owned()));
    let status = revoke(&mut administrator, elsewhere).await.unwrap_err();
    assert_eq!(refusal(&status), "invalid_request");
}

/// It is no flag: what a subject gets later, with a credential that began later, is good.
#[tokio::test]
async fn a_subject_is_revoked_up_to_a_time_and_what_it_gets_later_is_good() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let sub = "spiffe://example.org/web";
    let caller = broker.web().await;
    let before = caller.yes(ask(peer(), "shop")).await;
    let request = of(Thing::Subject(sub.to_owned()));
    let answer = revoke(&mut administrator, request).await.unwrap();
    let cut_off = answer.markers[0].before.unwrap().seconds;
    let clock = SystemClock::shared();
    let is_over = async || clock.now().as_second() > cut_off;
    until("the second after the cut-off", is_over).await;
    let renewed = broker.workload(&broker.svid_from_now(sub)).await;
    let after = renewed.yes(ask(peer(), "shop")).await;
    assert!(check(&broker, &after).await.active);
    assert!(!check(&broker, &before).await.active);
    assert_eq!(caller.no(ask(peer(), "shop")).await, "credential_refused");
    // A ban is one.
    let request = ban(Thing::Subject(sub.to_owned()));
    revoke(&mut administrator, request).await.unwrap();
    assert!(!check(&broker, &after).await.active);
    assert_eq!(renewed.no(ask(peer(), "shop")).await, "credential_refused");
}

#[tokio::test]
async fn a_signing_key_takes_all_that_it_signed_along() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let pair = Pair::new(&broker).await;
    let kid = kid(&pair.child.access_token);
    let answer = revoke(&mut administrator, of(Thing::SigningKey(kid.clone())))
        .await
        .unwrap();
    assert_eq!(
        (&*answer.markers[0].kind, &answer.markers[0].thing),
        ("signing_key", &kid)
    );
    assert!(!pair.child_lives(&broker).await && !pair.parent_lives(&broker).await);
    let again = broker
        .anybody()
        .await
        .yes(ask(api_key(&pair.secret), "shop"))
        .await;
    assert!(check(&broker, &again).await.active);
    let unknown = of(Thing::SigningKey("nobody's".to_owned()));
    let status = revoke(&mut administrator, unknown).await.unwrap_err();
    assert_eq!(refusal(&status), "not_found");
}

/// Also once it is retired, and what was exchanged under the next key: whoever stole it could keep what they forged by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_takes_what_was_exchanged_under_the_next_one_along() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    let caller = broker.web().await;
    let parent = caller.yes(ask(peer(), "shop")).await;
    clock.advance(u32::try_from(limits::PUBLISH_AHEAD.as_secs()).unwrap());
    let rotate = RotateSigningKeyRequest::default();
    broker
        .inventory()
        .await
        .rotate_signing_key(rotate)
        .await
        .unwrap();
    broker.issues(ask(peer(), "shop")).await;
    let bystander = caller.yes(ask(peer(), "shop")).await;
    let child = caller.yes(ask(token(&parent.access_token), "shop")).await;
    let grandchild = caller.yes(ask(token(&child.access_token), "shop")).await;
    let signed = kid(&parent.access_token);
    for other in [&child, &grandchild, &bystander] {
        assert_ne!(kid(&other.access_token), signed);
    }
    let mut administrator = RevocationClient::new(broker.local().await);
    let request = of(Thing::SigningKey(signed));
    let dry = dry_run(&request);
    let line = [&parent, &child, &grandchild];
    let answer = revoke(&mut administrator, dry.clone()).await.unwrap();
    let mut hit = answer.hit.unwrap().token_ids;
    let mut expected = line.map(|reply| reply.token_id.clone());
    hit.sort();
    expected.sort();
    assert_eq!(hit, expected);

    revoke(&mut administrator, request).await.unwrap();
    for reply in line {
        let again = ask(token(&reply.access_token), "shop");
        assert_eq!(caller.no(again).await, "token_refused");
    }
    caller
        .yes(ask(token(&bystander.access_token), "shop"))
        .await;
    // What is refused already is not hit once more.
    let answer = revoke(&mut administrator, dry).await.unwrap();
    assert_eq!(answer.hit.unwrap().tokens, 0);
    broker.stop().await;
}

#[tokio::test]
async fn an_owners_whole_estate_is_revoked() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let owned = |owner: &str| {
        let mut spec = spec(&["shop"], &["orders:read"]);
        spec.owner = owner.to_owned();
        spec
    };
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(broker.create_key(owned("team-left")).await.secret);
    }
    let stays = broker.create_key(owned("team-stays")).await.secret;
    let anybody = broker.anybody().await;
    let reply = anybody.yes(ask(api_key(&keys[0]), "shop")).await;
    let request = dry_run(&of(Thing::Owner("team-left".to_owned())));
    let hit = revoke(&mut administrator, request)
        .await
        .unwrap()
        .hit
        .unwrap();
    assert_eq!(
        (hit.tokens, &hit.token_ids),
        (1, &vec![reply.token_id.clone()])
    );
    let answer = revoke(&mut administrator, of(Thing::Owner("team-left".to_owned())))
        .await
        .unwrap();
    assert_eq!(answer.markers.len(), 5);
    for key in &keys {
        assert_eq!(
            anybody.no(ask(api_key(key), "shop")).await,
            "credential_refused"
        );
    }
    assert!(!check(&broker, &reply).await.active);
    anybody.yes(ask(api_key(&stays), "shop")).await;
    let nobody = revoke(&mut administrator, of(Thing::Owner("team-none".to_owned())))
        .await
        .unwrap();
    assert_eq!(nobody.markers, []);
}

/// A lease that looks now and then whether its token is revoked would take longer.
const AT_ONCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_lease_ends_at_once_with_the_reason() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let mut caller = broker.web().await.0;
    for way in 0..2 {
        let request = LeaseRequest {
            exchange: Some(ask(peer(), "shop")),
        };
        let mut lease = caller.lease(request).await.unwrap().into_inner();
        let first = within("a token", lease.message()).await.unwrap().unwrap();
        let token = first.token.unwrap();
        let web = "spiffe://example.org/web".to_owned();
        let (thing, kind) = match way {
            0 => (Thing::TokenId(token.token_id), "token"),
            _ => (Thing::Subject(web), "subject"),
        };
        revoke(&mut administrator, of(thing)).await.unwrap();
        // Its successor would come in ten minutes.
        let end = timeout(AT_ONCE, lease.message()).await;
        let status = end.expect("the end, at once").unwrap_err();
        assert_eq!(refusal(&status), "revoked");
        assert!(status.message().ends_with(kind), "{status:?}");
    }
}
