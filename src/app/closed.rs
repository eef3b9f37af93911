//! Looking after the log's closed segments, and whether checkpoints are published of what comes after them: nothing is issued
//! while any of it is lost.

use super::World;
use super::publishing::Publishing;
use crate::audit::{Closed, Log, Lost};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Between one look and the next.
const PACE: Duration = Duration::from_secs(1);

/// Looks, until nothing is asked any more.
pub(super) fn start(world: &World, log: Log, closed: Closed, publishing: Publishing) {
    let closed = Arc::new(Mutex::new(closed));
    let quiet = world.lifecycle.quiet().clone();
    world.lifecycle.spawn("closed segments", async move {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_blind, mut lost) = (false, None);
        while quiet.run_until_cancelled(ticks.tick()).await.is_some() {
            let closed = Arc::clone(&closed);
            let look = move || closed.lock().unwrap_or_else(PoisonError::into_inner).look();
            let looked = tokio::task::spawn_blocking(look).await;
            let looked = match looked.map_err(io::Error::other) {
                Ok(Err(Lost::Unseen(error))) | Err(error) => Err(error),
                Ok(looked) => Ok(looked),
            };
            // One that could not be made says nothing of the log, and is made again.
            let was_blind = std::mem::replace(&mut is_blind, looked.is_err());
            match looked {
                Ok(looked) => lost = looked.err(),
                Err(error) if !was_blind => {
                    tracing::warn!(%error, "the log's closed segments cannot be looked at: that one is taken away is not noticed");
                }
                Err(_) => {}
            }
            let overdue = publishing.overdue();
            log.lacks(lost.as_ref().or(overdue.as_ref()));
        }
        Ok::<_, anyhow::Error>(())
    });
}
