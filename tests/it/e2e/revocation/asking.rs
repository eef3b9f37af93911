//! What is asked: what would be hit, what is in force, whether a token is good; and what makes no sense.

use super::{Pair, administrator, anybody, ban, check, dry_run, kid, of, revoke};
use crate::e2e::keys::forged;
use crate::support::broker::{
    Broker, Svid, api_key, ask, audience, claims, delegated, peer, refusal, spec, token,
};
use cambist::clock::{Clock as _, SystemClock};
use cambist::id::CredentialId;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{
    Audience, CheckRequest, CheckResponse, ExchangeResponse, GetKeyRequest, KeySpec,
    ListKeysRequest, ListMarkersRequest, Marker, PutAudienceRequest, ReinstateRequest,
    RevokeRequest, SuspendKeyRequest,
};
use tonic::Code;

#[tokio::test]
async fn a_dry_run_says_what_would_be_hit_and_hits_nothing() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let (pair, other) = (Pair::new(&broker).await, Pair::new(&broker).await);
    let ids = |replies: &[&ExchangeResponse]| {
        let mut ids: Vec<_> = replies.iter().map(|reply| reply.token_id.clone()).collect();
        ids.sort();
        ids
    };
    let both = ids(&[&pair.parent, &pair.child]);
    let all = ids(&[&pair.parent, &pair.child, &other.parent, &other.child]);
    let sub = claims(&pair.parent.access_token)["sub"]
        .as_str()
        .unwrap()
        .to_owned();
    for (thing, expected) in [
        (Thing::Token(pair.parent.access_token.clone()), &both),
        (
            Thing::TokenId(pair.child.token_id.clone()),
            &ids(&[&pair.child]),
        ),
        (Thing::ApiKey(pair.secret.clone()), &both),
        (Thing::Subject(sub), &both),
        (Thing::SigningKey(kid(&pair.parent.access_token)), &all),
        (Thing::Issuer(broker.issuer.clone()), &all),
        // The actor of the children.
        (
            Thing::TrustDomain("example.org".to_owned()),
            &ids(&[&pair.child, &other.child]),
        ),
        (Thing::TrustDomain("example".to_owned()), &Vec::new()),
    ] {
        let request = RevokeRequest {
            dry_run: true,
            ..of(thing.clone())
        };
        let answer = revoke(&mut administrator, request).await.unwrap();
        assert_eq!((answer.markers, &*answer.revision), (Vec::new(), ""));
        let mut hit = answer.hit.unwrap();
        hit.token_ids.sort();
        assert_eq!(&hit.token_ids, expected, "{thing:?}");
        assert_eq!(hit.tokens, u64::try_from(expected.len()).unwrap());
        assert!(hit.complete);
    }
    assert!(pair.child_lives(&broker).await && pair.parent_lives(&broker).await);
}

/// Also where no token of them is good now: whoever revokes it ends them.
#[tokio::test]
async fn a_dry_run_names_the_keys_that_would_end() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let of_team = async || {
        let spec = KeySpec {
            owner: "team-b".to_owned(),
            ..spec(&["shop"], &[])
        };
        broker.create_key(spec).await
    };
    let (one, two) = (of_team().await, of_team().await);
    let ids = [&one, &two].map(|made| format!("key:{}", made.key.as_ref().unwrap().id));
    let sub = format!("{}/keys/{}", broker.issuer, one.key.as_ref().unwrap().id);
    let owner = |name: &str| Thing::Owner(name.to_owned());
    let by_id = || Thing::CredentialId(ids[0].clone());
    let looks = |thing| dry_run(&of(thing));
    for (thing, expected) in [
        (owner("team-b"), &ids[..]),
        (by_id(), &ids[..1]),
        (Thing::ApiKey(one.secret.clone()), &ids[..1]),
        (Thing::Subject(sub), &ids[..1]),
        (owner("team-d"), &[]),
    ] {
        let answer = revoke(&mut administrator, looks(thing.clone())).await;
        let mut hit = answer.unwrap().hit.unwrap();
        hit.credential_ids.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(hit.credential_ids, expected, "{thing:?}");
        assert_eq!((hit.tokens, hit.keys), (0, expected.len() as u64));
    }
    revoke(&mut administrator, of(by_id())).await.unwrap();
    for (thing, expected) in [(owner("team-b"), &ids[1..]), (by_id(), &[])] {
        let answer = revoke(&mut administrator, looks(thing)).await;
        assert_eq!(answer.unwrap().hit.unwrap().credential_ids, expected);
    }
}

#[tokio::test]
async fn a_dry_run_of_a_signing_key_that_is_not_there_is_refused() {
    let broker = Broker::start().await;
    let look = dry_run(&of(Thing::SigningKey("nobodys".to_owned())));
    let status = revoke(&mut administrator(&broker).await, look).await;
    assert_eq!(refusal(&status.unwrap_err()), "not_found");
}

/// A token's owner on the record is its root's. Another's key that acted in it takes it along all the same.
#[tokio::test]
async fn a_dry_run_of_an_estate_counts_what_its_keys_acted_in_and_just_what_the_revocation_hits() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let of_team = async |owner: &str, audiences: &[&str]| {
        let spec = KeySpec {
            owner: owner.to_owned(),
            ..spec(audiences, &["orders:read"])
        };
        broker.create_key(spec).await
    };
    let acting = of_team("team-b", &["shop", "billing"]).await;
    let id = &acting.key.as_ref().unwrap().id;
    let counter = PutAudienceRequest {
        audience: Some(Audience {
            servers: vec![format!("{}/keys/{id}", broker.issuer)],
            ..audience("counter")
        }),
        ..PutAudienceRequest::default()
    };
    let mut inventory = broker.inventory().await;
    inventory.put_audience(counter).await.unwrap();
    let caller = broker.web().await;
    let all = ["counter", "billing"];
    let (others, own) = (of_team("team-a", &all).await, of_team("team-b", &all).await);
    let [of_others, of_certificate, of_own] =
        [api_key(&others.secret), peer(), api_key(&own.secret)]
            .map(async |root| caller.yes(ask(root, "counter")).await);
    let (of_others, of_certificate) = (of_others.await, of_certificate.await);
    let mut dying = vec![
        of_own.await,
        caller.yes(ask(api_key(&acting.secret), "shop")).await,
    ];
    for root in [&of_others, &of_certificate, &dying[0].clone()] {
        let actor = api_key(&acting.secret);
        let acted = caller.yes(delegated(token(&root.access_token), actor, "billing"));
        dying.push(acted.await);
    }
    let thing = || Thing::Owner("team-b".to_owned());
    let mut dry_run = async || {
        let request = RevokeRequest {
            dry_run: true,
            ..of(thing())
        };
        let mut hit = revoke(&mut administrator, request)
            .await
            .unwrap()
            .hit
            .unwrap();
        hit.token_ids.sort();
        assert!(hit.complete);
        (hit.tokens, hit.token_ids)
    };
    let mut expected: Vec<_> = dying.iter().map(|reply| reply.token_id.clone()).collect();
    expected.sort();
    assert_eq!(dry_run().await, (5, expected));
    for reply in dying.iter().chain([&of_others, &of_certificate]) {
        assert!(check(&broker, reply).await.active);
    }
    revoke(&mut super::administrator(&broker).await, of(thing()))
        .await
        .unwrap();
    for reply in &dying {
        assert!(!check(&broker, reply).await.active);
    }
    for reply in [&of_others, &of_certificate] {
        assert!(check(&broker, reply).await.active);
    }
    // No key is left that could be revoked.
    assert_eq!(dry_run().await, (0, Vec::new()));
}

#[tokio::test]
async fn markers_are_listed_a_page_at_a_time_and_merge_by_maximum() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let now = SystemClock::shared().now().as_second();
    let at = |second| prost_types::Timestamp {
        seconds: second,
        nanos: 0,
    };
    let up_to = |second| RevokeRequest {
        before: Some(at(second)),
        ..of(Thing::Subject("spiffe://example.org/one".to_owned()))
    };
    for second in [now - 100, now - 50, now - 200] {
        revoke(&mut administrator, up_to(second)).await.unwrap();
    }
    for name in ["two", "three"] {
        let sub = format!("spiffe://example.org/{name}");
        revoke(&mut administrator, ban(Thing::Subject(sub)))
            .await
            .unwrap();
    }
    let mut listed: Vec<Marker> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListMarkersRequest {
            page_size: 2,
            page_token,
            all: false,
        };
        let answer = administrator
            .list_markers(request)
            .await
            .unwrap()
            .into_inner();
        assert!(answer.markers.len() <= 2);
        listed.extend(answer.markers);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed.len(), 3);
    assert!(listed.is_sorted_by_key(|marker| marker.id.clone()));
    let one = listed
        .iter()
        .find(|marker| marker.thing.ends_with("/one"))
        .unwrap();
    assert_eq!(one.before.unwrap().seconds, now - 50);
    assert_eq!((&*one.reason, one.until), ("tests", None));
    // Taken back, it is no longer listed but on request.
    let request = ReinstateRequest {
        marker_id: one.id.clone(),
        ..ReinstateRequest::default()
    };
    administrator.reinstate(request).await.unwrap();
    for (all, count) in [(false, 2), (true, 3)] {
        let request = ListMarkersRequest {
            all,
            ..ListMarkersRequest::default()
        };
        let answer = administrator
            .list_markers(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.markers.len(), count);
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_reason() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let long = "x".repeat(3_000);
    let far = prost_types::Timestamp {
        seconds: 4_000_000_000,
        nanos: 0,
    };
    let subject = || Thing::Subject("spiffe://example.org/web".to_owned());
    let key = broker.api_key().to_owned();
    for (request, says) in [
        (RevokeRequest::default(), "thing"),
        (of(Thing::Token("nonsense".to_owned())), ""),
        (of(Thing::TokenId("short".to_owned())), "token_id"),
        (of(Thing::ApiKey("cmb_short".to_owned())), "api_key"),
        (
            of(Thing::CredentialId("key:short".to_owned())),
            "credential_id",
        ),
        (of(Thing::Certificate(vec![0; 20])), "certificate"),
        (
            of(Thing::Certificate(vec![0; 16 * 1024 + 1])),
            "certificate: too large",
        ),
        (of(Thing::Subject(String::new())), "subject"),
        (
            of(Thing::Subject("spiffe://example.org/web ".to_owned())),
            "white space",
        ),
        (
            of(Thing::Subject("spiffe://EXAMPLE.org/web".to_owned())),
            "subject",
        ),
        (of(Thing::Subject(long.clone())), "subject"),
        (of(Thing::Subject(key.clone())), "holds a credential"),
        (of(Thing::TrustDomain("UPPER".to_owned())), "trust_domain"),
        (of(Thing::Owner(String::new())), "owner"),
        (ban(Thing::TokenId(long.clone())), "ban: only of"),
        (
            RevokeRequest {
                before: Some(far),
                ..of(subject())
            },
            "before",
        ),
        (
            RevokeRequest {
                before: Some(far),
                ..ban(subject())
            },
            "ban",
        ),
        (
            RevokeRequest {
                reason: long.clone(),
                ..of(subject())
            },
            "reason",
        ),
        (
            RevokeRequest {
                reason: key,
                ..of(subject())
            },
            "holds a credential",
        ),
    ] {
        let status = revoke(&mut administrator, request.clone())
            .await
            .unwrap_err();
        assert_eq!(
            status.code(),
            Code::InvalidArgument,
            "{request:?}: {status:?}"
        );
        assert!(status.message().contains(says), "{says}: {status:?}");
    }
    for id in ["nonsense", "AAAAAAAAAAAAAAAAAAAAAA"] {
        let request = ReinstateRequest {
            marker_id: id.to_owned(),
            ..ReinstateRequest::default()
        };
        let status = administrator.reinstate(request).await.unwrap_err();
        let code = if id == "nonsense" {
            Code::InvalidArgument
        } else {
            Code::NotFound
        };
        assert_eq!(status.code(), code);
    }
    let mut stranger = anybody(&broker).await;
    for status in [
        stranger
            .reinstate(ReinstateRequest::default())
            .await
            .unwrap_err(),
        stranger
            .list_markers(ListMarkersRequest::default())
            .await
            .unwrap_err(),
        stranger.check(CheckRequest::default()).await.unwrap_err(),
    ] {
        assert_eq!(refusal(&status), "not_authorised");
    }
}

/// What ends by itself is kept no longer: whoever comes with a certificate says when it does.
#[tokio::test]
async fn ones_own_certificate_has_an_end_also_by_its_id() {
    let broker = Broker::start().await;
    let admin = broker.svid("spiffe://example.org/admin");
    let id = |svid: &Svid| format!("x509:{}", svid.thumbprint());
    let mut own = RevocationClient::new(broker.channel(Some(&admin)).await);
    let other = broker.svid("spiffe://example.org/web");
    let anothers = of(Thing::CredentialId(id(&other)));
    let answer = revoke(&mut own, anothers).await.unwrap();
    assert_eq!(answer.markers[0].until, None);
    let answer = revoke(&mut own, of(Thing::CredentialId(id(&admin))));
    let answer = answer.await.unwrap();
    assert!(answer.markers[0].until.is_some(), "{answer:?}");
}

#[tokio::test]
async fn who_serves_an_audience_asks_about_its_tokens_and_no_others() {
    let broker = Broker::start().await;
    let pair = Pair::new(&broker).await;
    let shop = broker.svid("spiffe://example.org/shop");
    let mut asker = RevocationClient::new(broker.channel(Some(&shop)).await);
    let mut active = async |reply: &ExchangeResponse, presenter: &[u8]| {
        let request = CheckRequest {
            token: reply.access_token.clone(),
            presenter_certificate_sha256: presenter.to_vec(),
        };
        asker.check(request).await.unwrap().into_inner()
    };
    let said = active(&pair.parent, &[]).await;
    assert!(said.active);
    assert_eq!(
        (&*said.audience, &said.token_id),
        ("shop", &pair.parent.token_id)
    );
    assert!(said.as_of.is_some() && !said.revision.is_empty());
    // Another audience's token says nothing but no.
    assert_eq!(active(&pair.child, &[]).await, CheckResponse::default());
    let web = broker.svid("spiffe://example.org/web");
    let bound = broker.workload(&web).await.yes(ask(peer(), "shop")).await;
    let CredentialId::Certificate(digest) = bound.credential_id.parse().unwrap() else {
        panic!("{bound:?}")
    };
    assert!(active(&bound, &[]).await.active && active(&bound, &digest).await.active);
    assert!(!active(&bound, &[7; 32]).await.active);
    let held = delegated(token(&pair.parent.access_token), peer(), "shop");
    let acted = broker.workload(&shop).await.yes(held).await;
    let said = active(&acted, &[]).await;
    assert_eq!(said.actors, ["spiffe://example.org/shop"]);
}

/// Its id is public, and anybody makes a checksum.
#[tokio::test]
async fn a_text_with_a_keys_id_and_another_secret_revokes_nothing() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let (pair, other) = (Pair::new(&broker).await, Pair::new(&broker).await);
    let request = of(Thing::ApiKey(forged(&pair.secret, &other.secret)));
    for request in [dry_run(&request), request] {
        let status = revoke(&mut administrator, request).await.unwrap_err();
        assert_eq!(refusal(&status), "not_found");
        let said = status.message();
        assert!(said.contains("`--credential ID` revokes it"), "{said}");
    }
    assert!(pair.parent_lives(&broker).await && pair.child_lives(&broker).await);
    let by_id = of(Thing::CredentialId(pair.credential()));
    revoke(&mut administrator, by_id).await.unwrap();
    assert!(!pair.parent_lives(&broker).await && other.parent_lives(&broker).await);
}

#[tokio::test]
async fn a_key_that_ended_with_its_subject_is_told_to_be_revoked() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let mut inventory = broker.inventory().await;
    let made = broker.create_key(spec(&["shop"], &[])).await;
    let id = made.key.unwrap().id;
    let other = broker
        .create_key(spec(&["shop"], &[]))
        .await
        .key
        .unwrap()
        .id;
    let mut state = async |id: &str| {
        let request = GetKeyRequest { id: id.to_owned() };
        let key = inventory.get_key(request).await.unwrap().into_inner();
        let shown = key.key.unwrap().state;
        let all = inventory.list_keys(ListKeysRequest::default()).await;
        let all = all.unwrap().into_inner().keys;
        let listed = all.into_iter().find(|key| key.id == id).unwrap().state;
        assert_eq!(listed, shown);
        shown
    };
    let suspend = SuspendKeyRequest {
        id: other.clone(),
        ..SuspendKeyRequest::default()
    };
    broker.inventory().await.suspend_key(suspend).await.unwrap();
    assert_eq!(
        (&*state(&id).await, &*state(&other).await),
        ("active", "suspended")
    );
    let mut markers = Vec::new();
    for id in [&id, &other] {
        let sub = format!("{}/keys/{id}", broker.issuer);
        let answer = revoke(&mut administrator, of(Thing::Subject(sub))).await;
        markers.extend(answer.unwrap().markers);
        assert_eq!(state(id).await, "revoked");
    }
    let presented = ask(api_key(&made.secret), "shop");
    assert_eq!(
        broker.anybody().await.no(presented).await,
        "credential_refused"
    );
    for marker in markers {
        let request = ReinstateRequest {
            marker_id: marker.id,
            reason: "tests".to_owned(),
            ..ReinstateRequest::default()
        };
        administrator.reinstate(request).await.unwrap();
    }
    assert_eq!(
        (&*state(&id).await, &*state(&other).await),
        ("active", "suspended")
    );
}
