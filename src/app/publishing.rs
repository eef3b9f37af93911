//! Publishing the log: once a second while there is something new, and once more when it has ended.

use super::World;
use super::open::Opened;
use crate::audit::{Log, PublishError, Publisher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often: C2SP logs publish at most once a second.
const PACE: Duration = Duration::from_secs(1);

/// A log and its publisher.
#[derive(Clone, Debug)]
pub(super) struct Publishing {
    publisher: Arc<Publisher>,
    log: Log,
    /// Said once, and not each second.
    failing: Arc<AtomicBool>,
}

/// Publishes until nothing is asked any more. What comes after that is [`Publishing::publish`]'s, once the log has ended.
pub(super) fn start(world: &World, opened: &Opened) -> Publishing {
    let publishing = Publishing {
        publisher: Arc::clone(&opened.publisher),
        log: opened.log.clone(),
        failing: Arc::default(),
    };
    let (this, quiet) = (publishing.clone(), world.lifecycle.quiet().clone());
    world.lifecycle.spawn("publisher", async move {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = quiet.cancelled() => return Ok::<_, anyhow::Error>(()),
                _ = ticks.tick() => this.publish().await,
            }
        }
    });
    publishing
}

impl Publishing {
    /// Publishes what the log holds by now. A failure is counted and told; the next call tries again.
    pub(super) async fn publish(&self) {
        let (publisher, durable) = (Arc::clone(&self.publisher), self.log.durable());
        let advanced = tokio::task::spawn_blocking(move || publisher.advance(durable)).await;
        let advanced = advanced.unwrap_or(Err(PublishError::Signing));
        let stats = self.log.stats();
        match advanced {
            Ok(()) => {
                let size = self
                    .publisher
                    .published()
                    .map_or(0, |last| last.checkpoint.size);
                stats.published.store(size, Ordering::Release);
                self.failing.store(false, Ordering::Release);
            }
            Err(error) => {
                stats.publish_failures.fetch_add(1, Ordering::Relaxed);
                if !self.failing.swap(true, Ordering::AcqRel) {
                    tracing::warn!(%error, "no checkpoint of the log is published; tried again");
                }
            }
        }
    }
}
