//! Looking after the log's closed segments: nothing is issued while one of them is lost.

use super::World;
use crate::audit::{Closed, Log, Lost};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Between one look and the next.
const PACE: Duration = Duration::from_secs(1);

/// Looks, until nothing is asked any more.
pub(super) fn start(world: &World, log: Log, closed: Closed) {
    let closed = Arc::new(Mutex::new(closed));
    let quiet = world.lifecycle.quiet().clone();
    world.lifecycle.spawn("closed segments", async move {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while quiet.run_until_cancelled(ticks.tick()).await.is_some() {
            let closed = Arc::clone(&closed);
            let look = move || closed.lock().unwrap_or_else(PoisonError::into_inner).look();
            match tokio::task::spawn_blocking(look).await {
                // One that could not be made says nothing, and is made again.
                Err(_) | Ok(Err(Lost::Unseen(_))) => {}
                Ok(looked) => log.lacks(looked.err().as_ref()),
            }
        }
        Ok::<_, anyhow::Error>(())
    });
}
