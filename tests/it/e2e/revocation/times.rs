//! Revocations at the bounds of their time.

use super::{of, revoke};
use crate::support::broker::{InProcess, Site, ask, claims, peer, refusal, token};
use crate::support::clock::testing::TestClock;
use crate::support::edge::{until, within};
use crate::support::svid::NOW;
use cambist::client::{Ask, Source, Tokens};
use cambist::id::Audience;
use cambist::limits;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use std::sync::Arc;

/// A token of that second would be covered, and the next one is not: who asks is not revoked.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_second_of_a_cut_off_the_answer_is_to_ask_again_and_our_client_does() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    let caller = broker.web().await;
    let before = caller.yes(ask(peer(), "shop")).await;
    let request = of(Thing::Issuer(broker.issuer.clone()));
    let mut administrator = RevocationClient::new(broker.local().await);
    let answer = revoke(&mut administrator, request).await.unwrap();
    assert_eq!(answer.markers[0].before.unwrap().seconds, NOW);
    assert_eq!(caller.no(ask(peer(), "shop")).await, "too_busy");
    let made_of_it = ask(token(&before.access_token), "shop");
    assert_eq!(caller.no(made_of_it.clone()).await, "token_refused");

    let endpoint = broker.endpoint(Some(&broker.web));
    let shop = Ask::new(Audience::parse("shop").unwrap());
    let tokens = Tokens::builder(endpoint, Source::PeerCertificate, shop)
        .clock(Arc::<TestClock>::clone(&clock))
        .build()
        .unwrap();
    let asking = tokio::spawn(async move { tokens.token().await });
    let told = "exchanges_total{kind=\"certificate\",outcome=\"too_busy\"}";
    let is_told = async || broker.metric(told).await > Some(1);
    until("the client to be told", is_told).await;
    clock.advance(1);
    let after = within("a token", asking).await.unwrap().unwrap();
    let issued = claims(after.value().expose())["iat"].as_i64();
    assert_eq!(issued, Some(NOW + 1));
    assert_eq!(caller.no(made_of_it).await, "token_refused");
    broker.stop().await;
}

/// Verifiers forgive clocks that differ, and so may be passed with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_by_its_text_as_long_as_a_verifier_may_accept_it_and_no_longer() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    let mut administrator = RevocationClient::new(broker.local().await);
    let mut holder = RevocationClient::new(broker.channel(Some(&broker.web)).await);
    let caller = broker.web().await;
    let text = async || caller.yes(ask(peer(), "shop")).await.access_token;
    let (one, other, late) = (text().await, text().await, text().await);
    let lapses = claims(&late)["exp"].as_i64().unwrap();
    let leeway = i64::try_from(limits::LEEWAY.as_secs()).unwrap();
    clock.advance(u32::try_from(lapses + leeway - 1 - NOW).unwrap());
    for (client, token) in [(&mut administrator, one), (&mut holder, other)] {
        let answer = revoke(client, of(Thing::Token(token))).await.unwrap();
        let [marker] = &answer.markers[..] else {
            panic!("{answer:?}")
        };
        assert_eq!(marker.kind, "token");
        assert!(marker.until.unwrap().seconds > lapses + leeway);
    }
    clock.advance(1);
    for (client, code) in [
        (&mut administrator, "invalid_request"),
        (&mut holder, "token_refused"),
    ] {
        let request = of(Thing::Token(late.clone()));
        let status = revoke(client, request).await.unwrap_err();
        assert_eq!(refusal(&status), code);
    }
    broker.stop().await;
}
