//! What a holder gives up, and what the record says of it.

use super::{Pair, administrator, anybody, check, kid, of, revoke};
use crate::e2e::keys::forged;
use crate::support::broker::{Broker, Caller, api_key, ask, claims, peer, refusal, spec, token};
use crate::support::edge::within;
use cambist::limits;
use cambist::proto::audit_client::AuditClient;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{
    ExchangeResponse, GetKeyRequest, KeySpec, LeaseRequest, Marker, PeerCertificateOfCaller,
    ReinstateRequest, RevokeRequest, ShowRequest, SuspendKeyRequest,
};
use std::fs;

#[tokio::test]
async fn a_holder_gives_up_what_it_shows_and_nothing_else() {
    let broker = Broker::start().await;
    let mut holder = anybody(&broker).await;
    let (pair, other) = (Pair::new(&broker).await, Pair::new(&broker).await);
    let web = broker.svid("spiffe://example.org/web");
    let bound = broker.workload(&web).await.yes(ask(peer(), "shop")).await;
    let sub = claims(&other.parent.access_token)["sub"]
        .as_str()
        .unwrap()
        .to_owned();
    for thing in [
        Thing::TokenId(other.parent.token_id.clone()),
        Thing::CredentialId(other.credential()),
        Thing::Certificate(web.leaf.to_vec()),
        Thing::Subject(sub),
        Thing::Issuer(broker.issuer.clone()),
        Thing::TrustDomain("example.org".to_owned()),
        Thing::SigningKey(kid(&other.parent.access_token)),
        Thing::Owner("team-shop".to_owned()),
    ] {
        let status = revoke(&mut holder, of(thing.clone())).await.unwrap_err();
        assert_eq!(refusal(&status), "not_authorised", "{thing:?}");
    }
    // A key's id and another's secret, a token that somebody changed, a certificate that was not shown.
    let forged = forged(&pair.secret, &other.secret);
    let mut changed = other.parent.access_token.clone();
    changed.replace_range(changed.len() - 4.., "AAAA");
    for (thing, code) in [
        (Thing::ApiKey(forged), "credential_refused"),
        (Thing::Token(changed), "token_refused"),
        (
            Thing::PeerCertificate(PeerCertificateOfCaller {}),
            "certificate_missing",
        ),
    ] {
        let status = revoke(&mut holder, of(thing)).await.unwrap_err();
        assert_eq!(refusal(&status), code);
    }
    let dry = RevokeRequest {
        dry_run: true,
        ..of(Thing::Token(pair.child.access_token.clone()))
    };
    let status = revoke(&mut holder, dry).await.unwrap_err();
    assert_eq!(refusal(&status), "not_authorised");
    assert!(other.child_lives(&broker).await && pair.child_lives(&broker).await);
    assert!(check(&broker, &bound).await.active);

    // One that is bound to a key is given up by who proves that key.
    let child = || of(Thing::Token(pair.child.access_token.clone()));
    let status = revoke(&mut holder, child()).await.unwrap_err();
    assert_eq!(refusal(&status), "binding_required");
    revoke(&mut pair.holder.clone(), child()).await.unwrap();
    assert!(!pair.child_lives(&broker).await && pair.parent_lives(&broker).await);
    let key = || of(Thing::ApiKey(pair.secret.clone()));
    let first = revoke(&mut holder, key()).await.unwrap();
    assert!(!pair.parent_lives(&broker).await);
    // Whoever lost the answer is answered alike.
    let again = revoke(&mut holder, key()).await.unwrap();
    let ids = |markers: &[Marker]| {
        markers
            .iter()
            .map(|marker| marker.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (ids(&again.markers), again.durable),
        (ids(&first.markers), true)
    );
    let mut own = RevocationClient::new(broker.channel(Some(&web)).await);
    revoke(
        &mut own,
        of(Thing::PeerCertificate(PeerCertificateOfCaller {})),
    )
    .await
    .unwrap();
    assert!(!check(&broker, &bound).await.active);
    assert!(other.child_lives(&broker).await);
}

/// Whoever finds it is seldom where it may be used. It only takes away.
#[tokio::test]
async fn a_key_is_given_up_from_anywhere_and_whatever_it_is_good_for() {
    let broker = Broker::start().await;
    let mut holder = anybody(&broker).await;
    let mut inventory = broker.inventory().await;
    let plain = || spec(&["shop"], &[]);
    let abroad = KeySpec {
        networks: vec!["203.0.113.0/24".to_owned()],
        ..plain()
    };
    let once = KeySpec { uses: 1, ..plain() };
    let [abroad, suspended, spent] =
        [abroad, plain(), once].map(async |spec| broker.create_key(spec).await);
    let (abroad, suspended, spent) = (abroad.await, suspended.await, spent.await);
    let request = SuspendKeyRequest {
        id: suspended.key.clone().unwrap().id,
        ..SuspendKeyRequest::default()
    };
    inventory.suspend_key(request).await.unwrap();
    let caller = broker.anybody().await;
    caller.yes(ask(api_key(&spent.secret), "shop")).await;
    for made in [abroad, suspended, spent] {
        let refused = of(Thing::ApiKey(forged(&made.secret, broker.api_key())));
        let status = revoke(&mut holder, refused).await.unwrap_err();
        assert_eq!(refusal(&status), "credential_refused");
        let id = made.key.unwrap().id;
        let mut state = async || {
            let request = GetKeyRequest { id: id.clone() };
            let key = inventory.get_key(request).await.unwrap();
            key.into_inner().key.unwrap().state
        };
        assert_ne!(state().await, "revoked");
        let answer = revoke(&mut holder, of(Thing::ApiKey(made.secret))).await;
        assert_eq!(answer.unwrap().markers[0].thing, format!("key:{id}"));
        assert_eq!(state().await, "revoked");
    }
}

/// Whoever lost the answer is answered alike by a repeat, though the certificate is revoked by then.
#[tokio::test]
async fn a_certificate_is_given_up_once_more_and_is_good_for_nothing_else() {
    let broker = Broker::start().await;
    let web = broker.svid("spiffe://example.org/web");
    let caller = broker.workload(&web).await;
    let bound = caller.yes(ask(peer(), "shop")).await;
    let mut holder = RevocationClient::new(broker.channel(Some(&web)).await);
    let own = || RevokeRequest {
        idempotency_key: "q".to_owned(),
        ..of(Thing::PeerCertificate(PeerCertificateOfCaller {}))
    };
    let first = revoke(&mut holder, own()).await.unwrap();
    let again = revoke(&mut holder, own()).await.unwrap();
    assert_eq!((again.markers, again.durable), (first.markers, true));
    assert_eq!(caller.no(ask(peer(), "shop")).await, "credential_refused");
    let request = of(Thing::Token(bound.access_token));
    let status = revoke(&mut holder, request).await.unwrap_err();
    assert_eq!(refusal(&status), "credential_refused");
}

/// Who has its secret may be whoever, and by whatever connection.
#[tokio::test]
async fn a_key_and_a_bearer_token_are_given_up_by_who_has_a_certificate_that_is_revoked() {
    let broker = Broker::start().await;
    let web = broker.svid("spiffe://example.org/web");
    let mut holder = RevocationClient::new(broker.channel(Some(&web)).await);
    let own = of(Thing::PeerCertificate(PeerCertificateOfCaller {}));
    revoke(&mut holder, own).await.unwrap();
    let secret = broker.api_key().to_owned();
    let bearer = broker.anybody().await;
    let bearer = bearer.yes(ask(api_key(&secret), "shop")).await;
    let request = of(Thing::Token(bearer.access_token.clone()));
    let answer = revoke(&mut holder, request).await.unwrap();
    assert_eq!(answer.markers[0].thing, bearer.token_id);
    assert!(!check(&broker, &bearer).await.active);
    let answer = revoke(&mut holder, of(Thing::ApiKey(secret)))
        .await
        .unwrap();
    assert_eq!(answer.markers[0].thing, bearer.credential_id);
}

#[tokio::test]
async fn every_act_is_on_the_record_and_no_secret_is() {
    let broker = Broker::start().await;
    let mut administrator = administrator(&broker).await;
    let pair = Pair::new(&broker).await;
    let request = of(Thing::Token(pair.child.access_token.clone()));
    let answer = revoke(&mut pair.holder.clone(), request).await.unwrap();
    let id = answer.markers[0].id.clone();
    let request = ReinstateRequest {
        marker_id: id.clone(),
        reason: "found again".to_owned(),
        ..ReinstateRequest::default()
    };
    administrator.reinstate(request).await.unwrap();
    revoke(&mut administrator, of(Thing::ApiKey(pair.secret.clone())))
        .await
        .unwrap();
    let records = broker.records();
    let acts: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "admin")
        .filter(|record| record["change"]["marker"] == id.as_str())
        .collect();
    let [set, undone] = &acts[..] else {
        panic!("{acts:?}")
    };
    assert_eq!(
        (&set["action"], &undone["action"]),
        (&"marker.set".into(), &"marker.reinstate".into())
    );
    let target = format!("token:{}", pair.child.token_id);
    assert_eq!(
        (set["target"].as_str(), undone["target"].as_str()),
        (Some(&*target), Some(&*target))
    );
    assert_eq!(undone["change"]["reason"], "found again");
    let child = claims(&pair.child.access_token);
    let holder = format!("holder:{}", child["sub"].as_str().unwrap());
    assert_eq!(set["sub"], holder);
    let request = ShowRequest {
        token_id: pair.child.token_id.clone(),
    };
    let mut shown = AuditClient::new(broker.local().await)
        .show(request)
        .await
        .unwrap()
        .into_inner();
    let mut story = Vec::new();
    while let Some(part) = shown.message().await.unwrap() {
        let record: serde_json::Value = serde_json::from_slice(&part.record.unwrap().line).unwrap();
        story.push(record["action"].as_str().unwrap_or("issue").to_owned());
    }
    let whole = [
        "issue",
        "issue",
        "marker.set",
        "marker.reinstate",
        "key.revoke",
    ];
    assert_eq!(story, whole);
    for file in fs::read_dir(broker.path("data/log")).unwrap() {
        let path = file.unwrap().path();
        let Ok(text) = fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&text);
        for secret in [
            &pair.secret,
            &pair.child.access_token,
            &pair.parent.access_token,
        ] {
            assert!(!text.contains(secret.as_str()), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn who_gives_up_many_tokens_gives_up_all_so_far_and_one_token_is_one_however_often() {
    let broker = Broker::start().await;
    let mut holder = anybody(&broker).await;
    let secret = broker.api_key().to_owned();
    let caller = broker.anybody().await;
    let first = caller.yes(ask(api_key(&secret), "shop")).await;
    for _ in 0..limits::SELF_REVOCATIONS + 5 {
        let request = of(Thing::Token(first.access_token.clone()));
        revoke(&mut holder, request).await.unwrap();
    }
    for _ in 1..limits::SELF_REVOCATIONS {
        let token = caller.yes(ask(api_key(&secret), "shop")).await;
        let request = of(Thing::Token(token.access_token));
        let answer = revoke(&mut holder, request).await.unwrap();
        assert_eq!(answer.markers[0].kind, "token");
    }
    let last = caller.yes(ask(api_key(&secret), "shop")).await;
    let request = of(Thing::Token(last.access_token.clone()));
    let answer = revoke(&mut holder, request).await.unwrap();
    assert_eq!(answer.markers[0].kind, "credential");
    assert!(!check(&broker, &last).await.active);
    let after = issued_after(&caller, &secret, &answer.markers[0]).await;
    assert!(check(&broker, &after).await.active);
    // The key itself ends by being shown.
    let request = of(Thing::ApiKey(secret.clone()));
    revoke(&mut holder, request).await.unwrap();
    let code = caller.no(ask(api_key(&secret), "shop")).await;
    assert_eq!(code, "credential_refused");
    assert!(!check(&broker, &after).await.active);
}

/// A token of a key from after all of its tokens so far were given up. None is issued in the second of that: it would be
/// covered.
async fn issued_after(caller: &Caller, secret: &str, marker: &Marker) -> ExchangeResponse {
    let after = within("the next second", async {
        loop {
            match caller.exchange(ask(api_key(secret), "shop")).await {
                Ok(reply) => return reply,
                Err(status) => assert_eq!(refusal(&status), "too_busy"),
            }
        }
    });
    let after = after.await;
    let issued = claims(&after.access_token)["iat"].as_i64().unwrap();
    assert!(issued > marker.before.unwrap().seconds);
    after
}

/// Whoever has tokens of another's key gives them up, and not the other's key.
#[tokio::test]
async fn who_gives_up_many_tokens_of_anothers_key_never_ends_the_key() {
    let mut broker = Broker::start().await;
    let made = broker
        .create_key(spec(&["shop", "billing"], &["orders:read"]))
        .await;
    let ci = broker.anybody().await;
    let issue = async |audience: &str| ci.yes(ask(api_key(&made.secret), audience)).await;
    let svid = broker.svid("spiffe://example.org/shop");
    let mut shop = RevocationClient::new(broker.channel(Some(&svid)).await);
    let mut others = anybody(&broker).await;
    let theirs = issue("billing").await;
    for _ in 0..limits::SELF_REVOCATIONS {
        let request = of(Thing::Token(issue("shop").await.access_token));
        let answer = revoke(&mut shop, request).await.unwrap();
        assert_eq!(answer.markers[0].kind, "token");
    }
    // Who proves no key is another one.
    let request = of(Thing::Token(issue("shop").await.access_token));
    let answer = revoke(&mut others, request).await.unwrap();
    assert_eq!(answer.markers[0].kind, "token");
    assert!(check(&broker, &theirs).await.active);

    let request = LeaseRequest {
        exchange: Some(ask(api_key(&made.secret), "shop")),
    };
    let mut lease = ci.0.clone().lease(request).await.unwrap().into_inner();
    within("a token", lease.message()).await.unwrap().unwrap();
    let last = issue("shop").await;
    let child = broker.workload(&svid).await;
    let child = child.yes(ask(token(&last.access_token), "billing")).await;
    let request = of(Thing::Token(last.access_token.clone()));
    let answer = revoke(&mut shop, request).await.unwrap();
    let [marker] = &answer.markers[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (&*marker.kind, &marker.thing),
        ("credential", &last.credential_id)
    );
    assert!(marker.before.is_some() && marker.until.is_some());
    let is_dead = async |broker: &Broker| {
        for reply in [&last, &child, &theirs] {
            assert!(!check(broker, reply).await.active, "{reply:?}");
        }
    };
    is_dead(&broker).await;
    let status = within("the end", lease.message()).await.unwrap_err();
    assert_eq!(refusal(&status), "revoked");

    let after = issued_after(&ci, &made.secret, marker).await;
    assert!(check(&broker, &after).await.active);
    let id = made.key.unwrap().id;
    let request = GetKeyRequest { id };
    let key = broker.inventory().await.get_key(request).await.unwrap();
    assert_eq!(key.into_inner().key.unwrap().state, "active");
    // What is among them already is none of those that came later.
    let request = of(Thing::Token(theirs.access_token.clone()));
    let again = revoke(&mut others, request).await.unwrap();
    assert_eq!(again.markers, answer.markers);
    assert!(check(&broker, &after).await.active);

    broker.kill9().await;
    broker.restart().await;
    is_dead(&broker).await;
    assert!(check(&broker, &after).await.active);
    let again = ask(api_key(&made.secret), "shop");
    broker.anybody().await.yes(again).await;
}

#[tokio::test]
async fn who_proves_a_certificate_gives_up_the_tokens_of_that_and_not_what_they_were_made_from() {
    let broker = Broker::start().await;
    let (pair, web) = (Pair::new(&broker).await, broker.web().await);
    let svid = broker.svid("spiffe://example.org/shop");
    let shop = broker.workload(&svid).await;
    let mut holder = RevocationClient::new(broker.channel(Some(&svid)).await);
    let own = shop.yes(ask(peer(), "billing")).await;
    let others = web.yes(ask(peer(), "shop")).await;
    for place in 0..=limits::SELF_REVOCATIONS {
        let made = ask(token(&pair.parent.access_token), "billing");
        let request = of(Thing::Token(shop.yes(made).await.access_token));
        let answer = revoke(&mut holder, request).await.unwrap();
        let marker = &answer.markers[0];
        if place < limits::SELF_REVOCATIONS {
            assert_eq!(marker.kind, "token");
        } else {
            assert_eq!(marker.thing, own.credential_id);
            assert!(marker.before.is_some());
        }
    }
    assert!(!check(&broker, &own).await.active);
    for reply in [&pair.parent, &pair.child, &others] {
        assert!(check(&broker, reply).await.active, "{reply:?}");
    }
}
