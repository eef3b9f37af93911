//! A clock that steps, under a whole broker whose clock the test moves.

use super::load::{by_certificate, by_key, create_at, exchanges, inventory, reason};
use crate::support::clock::testing::TestClock;
use crate::support::process::{LOOK, PATIENCE, Reach, Site};
use crate::support::svid::{DAY, NOW};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::app::{self, World};
use cambist::clock::{Clock as _, SystemRandomness};
use cambist::config::Config;
use cambist::lifecycle::{Ended, Lifecycle};
use cambist::listener::BoundAddress;
use cambist::proto::{ConfirmClockRequest, ExchangeRequest, LeaseRequest};
use jiff::Timestamp;
use serde_json::Value;
use std::fs;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A broker in this process.
struct InProcess {
    lifecycle: Lifecycle,
    end: JoinHandle<Ended>,
    reach: Reach,
}

impl Deref for InProcess {
    type Target = Reach;

    fn deref(&self) -> &Reach {
        &self.reach
    }
}

impl InProcess {
    async fn start(site: &Site, clock: Arc<TestClock>, accept_rollback: bool) -> Self {
        let config = Config::load(&site.path("cambist.toml")).unwrap();
        let lifecycle = Lifecycle::new();
        let world = World {
            clock,
            random: SystemRandomness::shared(),
            lifecycle: lifecycle.clone(),
            accept_rollback,
        };
        let running = app::start(&config, &world).await.unwrap();
        let (signals, receiver) = tokio::sync::mpsc::channel(1);
        let end = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move {
                let ended = lifecycle.run(receiver, Duration::from_secs(5)).await;
                drop(signals);
                ended
            }
        });
        let BoundAddress::Tcp(address) = running.addresses[0] else {
            panic!("the first listener is on TCP");
        };
        Self {
            lifecycle,
            end,
            reach: site.reach(address, running.ops),
        }
    }

    async fn stop(self) {
        self.lifecycle.stop();
        assert_eq!(self.end.await.unwrap(), Ended::Stopped);
    }

    async fn exchange(&self, request: ExchangeRequest) -> Result<i64, String> {
        match exchanges(self.mtls()).exchange(request).await {
            Ok(answer) => Ok(issued_at(&answer.get_ref().access_token)),
            Err(status) => Err(reason(&status)),
        }
    }

    /// Exchanges once the store has confirmed its state by the clock as it is now.
    async fn issues(&self, request: ExchangeRequest) -> i64 {
        let asking = async {
            loop {
                match self.exchange(request.clone()).await {
                    Ok(issued) => return issued,
                    Err(reason) => assert_eq!(reason, "state_stale"),
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, asking).await.unwrap()
    }

    /// The secret of a new key.
    async fn unlimited(&self, now: i64) -> String {
        let now = Timestamp::from_second(now).unwrap();
        create_at(&mut inventory(self), 0, now).await.unwrap().1
    }

    async fn confirm(&self) {
        let confirmed = inventory(self).confirm_clock(ConfirmClockRequest {}).await;
        confirmed.unwrap();
    }
}

fn issued_at(token: &str) -> i64 {
    let claims = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).unwrap())
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["iat"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_stops_issuance_until_it_is_confirmed() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    let made = create_at(&mut inventory(&broker), 3, clock.now()).await;
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
        broker.confirm().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_on_the_clock_outlives_a_restart() {
    let site = Site::new();
    // A clock that is a year ahead, and is then set right.
    let broker = InProcess::start(&site, TestClock::at(NOW + 365 * DAY), false).await;
    broker
        .issues(by_key(&broker.unlimited(NOW + 365 * DAY).await))
        .await;
    broker.stop().await;
    let broker = InProcess::start(&site, TestClock::at(NOW), false).await;
    let refused = broker.exchange(by_certificate()).await;
    assert_eq!(refused.unwrap_err(), "clock_unsteady");
    broker.confirm().await;
    assert_eq!(broker.issues(by_certificate()).await, NOW);
    broker.stop().await;
    let broker = InProcess::start(&site, TestClock::at(NOW + 1), false).await;
    assert_eq!(broker.issues(by_certificate()).await, NOW + 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_renewed_ends_with_its_last_token() {
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    broker.issues(by_certificate()).await;
    let lifetime = Some(prost_types::Duration {
        seconds: 2,
        nanos: 0,
    });
    let exchange = ExchangeRequest {
        lifetime,
        ..by_certificate()
    };
    let request = LeaseRequest {
        exchange: Some(exchange),
    };
    let lease = exchanges(broker.mtls()).lease(request).await.unwrap();
    let mut lease = lease.into_inner();
    assert!(lease.message().await.unwrap().is_some());
    clock.step(3600);
    let end = timeout(PATIENCE, async {
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
    assert_eq!(reason(&end.unwrap()), "clock_unsteady");
}
