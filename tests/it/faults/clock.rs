//! A clock that steps.

use super::load::{by_certificate, by_key, create_at};
use crate::support::broker::{InProcess, Site, Svid, claims, refusal};
use crate::support::clock::testing::TestClock;
use crate::support::edge::{until, within};
use crate::support::svid::{DAY, NOW};
use cambist::clock::Clock as _;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{
    CheckRequest, ConfirmClockRequest, ExchangeRequest, LeaseRequest, LeaseResponse,
    ListSigningKeysRequest, Marker, RevokeRequest, RotateSigningKeyRequest,
};
use jiff::Timestamp;
use std::fs;
use std::sync::Arc;
use tonic::Streaming;

/// The secret of a new key.
async fn unlimited(site: &Site, now: i64) -> String {
    let now = Timestamp::from_second(now).unwrap();
    let made = create_at(&mut site.inventory().await, 0, now).await;
    made.unwrap().1
}

async fn confirm(site: &Site) {
    let mut admin = site.inventory().await;
    admin.confirm_clock(ConfirmClockRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_stops_issuance_until_it_is_confirmed() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    let made = create_at(&mut broker.inventory().await, 3, clock.now()).await;
    let (_, finite) = made.unwrap();
    let mut last = broker.issues(by_certificate()).await;
    // A clock that is set right a little goes on, and no token is older than the one before.
    for slew in [-4, 1, -2, 5, -3] {
        clock.step(slew);
        broker.until_ready(true).await;
        let issued = broker.issues(by_certificate()).await;
        assert!(issued >= last, "{issued} after {last}");
        last = issued;
    }
    for step in [3600, -3600, 6, -6] {
        clock.step(step);
        for request in [by_certificate(), by_key(&finite)] {
            let refused = broker.exchange(request).await;
            assert_eq!(refused.unwrap_err(), "clock_unsteady", "step of {step}");
        }
        let told = broker.until_ready(false).await;
        assert!(told.contains(r#""condition":"clock""#), "{told}");
        confirm(&broker).await;
        broker.until_ready(true).await;
        let issued = broker.issues(by_certificate()).await;
        assert!((0..=1).contains(&(clock.now().as_second() - issued)));
    }
    // Not one use was lost to the refusals.
    for _ in 0..3 {
        broker.issues(by_key(&finite)).await;
    }
    assert_eq!(
        broker.exchange(by_key(&finite)).await.unwrap_err(),
        "credential_spent"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_below_the_mark_of_log_or_store_does_not_issue() {
    let site = Site::new();
    let broker = InProcess::start(&site, TestClock::at(NOW), false).await;
    broker.issues(by_certificate()).await;
    broker.stop().await;
    let behind = |broker: InProcess| async move {
        let refused = broker.exchange(by_certificate()).await;
        assert_eq!(refused.unwrap_err(), "clock_unsteady");
        let told = broker.until_ready(false).await;
        assert!(told.contains(r#""condition":"clock""#), "{told}");
        broker
    };
    // The log says so, with every issue.
    let broker = InProcess::start(&site, TestClock::at(NOW - 60), false).await;
    behind(broker).await.stop().await;
    // Without the log, the store does.
    fs::rename(site.path("data/log"), site.path("log.lost")).unwrap();
    let broker = InProcess::start(&site, TestClock::at(NOW - 60), true).await;
    behind(broker).await.stop().await;
}

/// A broker whose clock was a year ahead, gave out a time, and is right and confirmed now.
async fn set_right_after_a_year() -> (Arc<Site>, InProcess) {
    let site = Site::new();
    let broker = InProcess::start(&site, TestClock::at(NOW + 365 * DAY), false).await;
    broker
        .issues(by_key(&unlimited(&broker, NOW + 365 * DAY).await))
        .await;
    broker.stop().await;
    let broker = InProcess::start(&site, TestClock::at(NOW), false).await;
    let refused = broker.exchange(by_certificate()).await;
    assert_eq!(refused.unwrap_err(), "clock_unsteady");
    confirm(&broker).await;
    (site, broker)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_on_the_clock_outlives_a_restart() {
    let (site, broker) = set_right_after_a_year().await;
    assert_eq!(broker.issues(by_certificate()).await, NOW);
    broker.stop().await;
    for now in [NOW + 1, NOW + 2] {
        let broker = InProcess::start(&site, TestClock::at(now), false).await;
        assert_eq!(broker.issues(by_certificate()).await, now);
        // Everything so far is also what that clock had given out.
        let thing = Thing::Subject("spiffe://example.org/other".to_owned());
        let marker = revoke(&broker, thing).await;
        assert_eq!(marker.before.unwrap().seconds, NOW + 365 * DAY);
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_accepted_under_a_wrong_clock_takes_one_word() {
    let site = Site::new();
    let broker = InProcess::start(&site, TestClock::at(NOW), false).await;
    unlimited(&broker, NOW).await;
    broker.stop().await;
    fs::rename(site.path("data/log"), site.path("log.lost")).unwrap();
    // A clock that is a minute ahead, and is then set right.
    let broker = InProcess::start(&site, TestClock::at(NOW + 60), true).await;
    broker.stop().await;
    let broker = InProcess::start(&site, TestClock::at(NOW), false).await;
    broker.until_ready(false).await;
    confirm(&broker).await;
    broker.until_ready(true).await;
    broker.stop().await;
    let broker = InProcess::start(&site, TestClock::at(NOW + 1), false).await;
    broker.until_ready(true).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_cuts_off_no_time_that_is_known_to_be_wrong() {
    let (site, broker) = set_right_after_a_year().await;
    broker.stop().await;
    fs::rename(site.path("data/log"), site.path("log.lost")).unwrap();
    let broker = InProcess::start(&site, TestClock::at(NOW + 60), true).await;
    broker.stop().await;
    let broker = InProcess::start(&site, TestClock::at(NOW + 62), false).await;
    assert_eq!(broker.issues(by_certificate()).await, NOW + 62);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compromised_key_is_withdrawn_under_a_clock_that_is_not_steady() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    clock.step(-3600);
    let mut admin = broker.inventory().await;
    let planned = admin.rotate_signing_key(RotateSigningKeyRequest::default());
    assert_eq!(refusal(&planned.await.unwrap_err()), "clock_unsteady");
    let listed = admin.list_signing_keys(ListSigningKeysRequest::default());
    let keys = listed.await.unwrap().into_inner().keys;
    let bad = keys.iter().find(|key| key.state == "active").unwrap();
    let compromised = RotateSigningKeyRequest {
        compromised: bad.kid.clone(),
        reason: "seen elsewhere".to_owned(),
        ..RotateSigningKeyRequest::default()
    };
    admin.rotate_signing_key(compromised).await.unwrap();
    let listed = admin.list_signing_keys(ListSigningKeysRequest::default());
    let keys = listed.await.unwrap().into_inner().keys;
    let state = |kid: &str| &keys.iter().find(|key| key.kid == kid).unwrap().state;
    assert_eq!(state(&bad.kid), "compromised");
    broker.stop().await;
}

/// When a marker of it would be gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_ended_is_inactive_by_a_clock_that_was_set_back_too() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    let token = broker.web().await.yes(by_certificate()).await.access_token;
    let mut admin = RevocationClient::new(broker.local().await);
    let mut active = async || {
        let token = token.clone();
        let asked = CheckRequest {
            token,
            ..CheckRequest::default()
        };
        admin.check(asked).await.unwrap().into_inner().active
    };
    assert!(active().await);
    // A day, which no token outlives.
    for _ in 0..24 {
        clock.advance(3_600);
    }
    broker.issues(by_certificate()).await;
    assert!(!active().await);
    clock.step(-DAY);
    assert!(!active().await);
    broker.stop().await;
}

/// A lease of tokens that live so many seconds, of which the first has come.
async fn leased(broker: &InProcess, seconds: i64) -> Streaming<LeaseResponse> {
    let lifetime = Some(prost_types::Duration { seconds, nanos: 0 });
    let exchange = ExchangeRequest {
        lifetime,
        ..by_certificate()
    };
    let request = LeaseRequest {
        exchange: Some(exchange),
    };
    let lease = broker.web().await.0.lease(request).await.unwrap();
    let mut lease = lease.into_inner();
    assert!(lease.message().await.unwrap().is_some());
    lease
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_renewed_ends_with_its_last_token() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    broker.issues(by_certificate()).await;
    let mut lease = leased(&broker, 2).await;
    clock.step(3600);
    let end = within("the lease to end", async {
        loop {
            // A renewal may have been under way.
            match lease.message().await {
                Ok(item) => assert!(item.is_some()),
                Err(status) => return status,
            }
        }
    });
    let end = end.await;
    // First, or a lease that goes on would outlive its test.
    broker.stop().await;
    assert_eq!(refusal(&end), "clock_unsteady");
}

/// It does not wait for the next attempt, nor for the end of its token, to tell why.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_waits_for_the_broker_to_recover_ends_at_once_when_it_is_revoked() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    broker.issues(by_certificate()).await;
    // Renewed after sixteen seconds at most; there are four more in which that is tried.
    let mut lease = leased(&broker, 20).await;
    let mut admin = RevocationClient::new(broker.local().await);
    clock.step(3600);
    let unsteady = "exchanges_total{kind=\"certificate\",outcome=\"clock_unsteady\"}";
    let tried = async || broker.metric(unsteady).await > Some(0);
    until("a renewal that failed", tried).await;
    let request = RevokeRequest {
        thing: Some(Thing::Subject("spiffe://example.org/web".to_owned())),
        reason: "leaked".to_owned(),
        ..RevokeRequest::default()
    };
    let revoked = admin.revoke(request).await;
    let end = within("the lease to end", lease.message()).await;
    // First, or a lease that goes on would outlive its test.
    broker.stop().await;
    assert!(revoked.unwrap().into_inner().durable);
    let end = end.unwrap_err();
    assert_eq!(refusal(&end), "revoked", "{end:?}");
}

async fn revoke(broker: &InProcess, thing: Thing) -> Marker {
    let request = RevokeRequest {
        reason: "taken over".to_owned(),
        thing: Some(thing),
        ..RevokeRequest::default()
    };
    let mut admin = RevocationClient::new(broker.local().await);
    let revoked = admin.revoke(request).await.unwrap().into_inner();
    revoked.markers.into_iter().next().unwrap()
}

/// For a day, which is how long a token whose id alone is known may live.
fn token(jti: &str) -> Thing {
    Thing::TokenId(jti.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_marker_ends_before_its_time_by_a_clock_that_was_ahead_at_the_start() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    revoke(&broker, token("AAAAAAAAAAAAAAAAAAAAAA")).await;
    clock.advance(u32::try_from(2 * DAY).unwrap());
    until("an issue", async || {
        broker.exchange(by_certificate()).await.is_ok()
    })
    .await;
    revoke(&broker, token("BBBBBBBBBBBBBBBBBBBBBA")).await;
    broker.stop().await;
    // The first ended in the run before; the second may have as well, by a clock that nothing speaks against.
    let broker = InProcess::start(&site, TestClock::at(NOW + 365 * DAY), false).await;
    until("the first to go", async || {
        broker.metric("markers").await == Some(1)
    })
    .await;
    broker.stop().await;
}

/// A token, and a certificate with which one was had.
struct Revoked {
    token: String,
    other: Svid,
}

impl Revoked {
    async fn new(broker: &InProcess) -> Self {
        let other = broker.svid_for_a_day("spiffe://example.org/web");
        let caller = broker.workload(&other).await;
        caller.yes(by_certificate()).await;
        let token = broker.web().await.yes(by_certificate()).await.access_token;
        revoke(broker, Thing::Token(token.clone())).await;
        revoke(broker, Thing::Certificate(other.leaf.to_vec())).await;
        let revoked = Self { token, other };
        revoked.is_refused(broker).await;
        revoked
    }

    /// By a broker whose clock is right.
    async fn is_refused(&self, broker: &InProcess) {
        let mut admin = RevocationClient::new(broker.local().await);
        let token = self.token.clone();
        let asked = CheckRequest {
            token,
            ..CheckRequest::default()
        };
        let checked = admin.check(asked).await.unwrap().into_inner();
        assert!(!checked.active, "the token is good again");
        broker.issues(by_certificate()).await;
        let other = broker.workload(&self.other).await;
        let refused = other.no(by_certificate()).await;
        assert_eq!(refused, "credential_refused");
    }
}

/// Until what has ended by the clock as it is now is removed, which is this much ahead of what is right.
async fn removed(broker: &InProcess, ahead: i64) {
    let ahead = u64::try_from(ahead).unwrap();
    until("a removal of what has ended", async || {
        broker.metric("clock_unconfirmed_seconds").await >= Some(ahead)
    })
    .await;
}

/// In one run, the first one, or one whose clock was confirmed.
async fn no_step_brings_back_what_is_revoked(is_confirmed: bool) {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let mut broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    if is_confirmed {
        broker.stop().await;
        broker = InProcess::start(&site, Arc::clone(&clock), false).await;
        confirm(&broker).await;
    }
    let revoked = Revoked::new(&broker).await;
    // Past the end of both, for long enough to be trusted.
    clock.step(9 * DAY);
    broker.until_ready(false).await;
    broker.until_ready(true).await;
    removed(&broker, 9 * DAY).await;
    clock.step(-9 * DAY);
    broker.until_ready(false).await;
    confirm(&broker).await;
    revoked.is_refused(&broker).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_stays_so_after_a_clock_was_ahead_in_the_first_run() {
    no_step_brings_back_what_is_revoked(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_stays_so_after_a_clock_was_ahead_in_a_run_that_was_confirmed() {
    no_step_brings_back_what_is_revoked(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_stays_so_after_starts_by_a_clock_that_was_ahead() {
    let site = Site::new();
    let broker = InProcess::start(&site, TestClock::at(NOW), false).await;
    let revoked = Revoked::new(&broker).await;
    broker.stop().await;
    // The first of them gives out a time, which is the mark of the second.
    for ahead in [9 * DAY, 9 * DAY + 1] {
        let broker = InProcess::start(&site, TestClock::at(NOW + ahead), false).await;
        broker
            .issues(by_key(&unlimited(&broker, NOW + ahead).await))
            .await;
        removed(&broker, ahead - 1).await;
        broker.stop().await;
    }
    let broker = InProcess::start(&site, TestClock::at(NOW), false).await;
    confirm(&broker).await;
    revoked.is_refused(&broker).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_in_a_long_stop_goes_once_the_clock_is_confirmed() {
    let site = Site::new();
    let broker = InProcess::start(&site, TestClock::at(NOW), false).await;
    revoke(&broker, token("AAAAAAAAAAAAAAAAAAAAAA")).await;
    broker.stop().await;
    let start = async || InProcess::start(&site, TestClock::at(NOW + 9 * DAY), false).await;
    let broker = start().await;
    removed(&broker, 9 * DAY).await;
    assert_eq!(broker.metric("markers").await, Some(1));
    confirm(&broker).await;
    broker.stop().await;
    // It is known also to the run after, which removes at its start.
    let broker = start().await;
    until("it to go", async || {
        broker.metric("markers").await == Some(0)
    })
    .await;
    broker.stop().await;
}

/// It is what somebody has who used that time.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_by_a_clock_that_was_ahead_is_revoked_by_whatever_names_it() {
    let site = Site::new();
    let ahead = NOW + 2 * DAY;
    let broker = InProcess::start(&site, TestClock::at(ahead), false).await;
    let secret = unlimited(&broker, ahead).await;
    let caller = broker.anybody().await;
    let token = caller.yes(by_key(&secret)).await.access_token;
    broker.stop().await;
    let broker = InProcess::start(&site, TestClock::at(NOW), false).await;
    confirm(&broker).await;
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    let ends = claims(&token)["exp"].as_i64().unwrap();
    for thing in [Thing::Token(token), Thing::TokenId(jti)] {
        let marker = revoke(&broker, thing).await;
        assert!(marker.until.unwrap().seconds >= ends);
    }
    let caller = broker.anybody().await;
    caller.yes(by_key(&secret)).await;
    let owner = Thing::Owner("team-shop".to_owned());
    revoke(&broker, owner).await;
    assert_eq!(caller.no(by_key(&secret)).await, "credential_refused");
    broker.stop().await;
}
