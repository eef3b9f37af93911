//! A whole broker in the test's own process, which moves its clock.

use super::{LOOK, Site, claims, refusal};
use crate::support::clock::testing::TestClock;
use crate::support::edge::within;
use cambist::app::{self, World};
use cambist::clock::SystemRandomness;
use cambist::config::Config;
use cambist::lifecycle::{Ended, Lifecycle};
use cambist::proto::ExchangeRequest;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A broker in this process.
pub(crate) struct InProcess {
    lifecycle: Lifecycle,
    end: JoinHandle<Ended>,
    site: Arc<Site>,
}

impl Deref for InProcess {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl InProcess {
    pub(crate) async fn start(
        site: &Arc<Site>,
        clock: Arc<TestClock>,
        accept_rollback: bool,
    ) -> Self {
        let config = Config::load(&site.path("cambist.toml")).unwrap();
        let lifecycle = Lifecycle::new();
        let world = World {
            clock,
            random: SystemRandomness::shared(),
            lifecycle: lifecycle.clone(),
            accept_rollback,
            records: None,
        };
        app::start(&config, &world).await.unwrap();
        let (signals, receiver) = tokio::sync::mpsc::channel(1);
        let end = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move {
                let ended = lifecycle.run(receiver, Duration::from_secs(5)).await;
                drop(signals);
                ended
            }
        });
        Self {
            lifecycle,
            end,
            site: Arc::clone(site),
        }
    }

    pub(crate) async fn stop(self) {
        self.lifecycle.stop();
        assert_eq!(self.end.await.unwrap(), Ended::Stopped);
    }

    pub(crate) async fn exchange(&self, request: ExchangeRequest) -> Result<i64, String> {
        match self.web().await.exchange(request).await {
            Ok(answer) => Ok(claims(&answer.access_token)["iat"].as_i64().unwrap()),
            Err(status) => Err(refusal(&status)),
        }
    }

    /// Exchanges once the store has confirmed its state by the clock as it is now.
    pub(crate) async fn issues(&self, request: ExchangeRequest) -> i64 {
        let asking = async {
            loop {
                match self.exchange(request.clone()).await {
                    Ok(issued) => return issued,
                    Err(reason) => assert_eq!(reason, "state_stale"),
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        within("a token", asking).await
    }
}
