//! Looking after sealed segments: one thing at a time, and never in anybody's way.

use super::World;
use super::open::Opened;
use crate::audit::{Archive, Archivist, Done, Publisher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Between one thing and the next.
const PACE: Duration = Duration::from_secs(1);
/// How many of those until what failed is tried again: ten minutes.
const AGAIN: u32 = 600;

/// Indexes and compresses what a checkpoint is of, until nothing is asked any more. What is left is done after the next
/// start.
pub(super) fn start(world: &World, opened: &Opened) {
    let archive = Arc::clone(&opened.disk) as Arc<dyn Archive>;
    let archivist = Arc::new(Mutex::new(Archivist::new(archive)));
    let publisher = Arc::clone(&opened.publisher);
    let quiet = world.lifecycle.quiet().clone();
    world.lifecycle.spawn("archive", async move {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rounds = 0_u32;
        loop {
            tokio::select! {
                () = quiet.cancelled() => return Ok::<_, anyhow::Error>(()),
                _ = ticks.tick() => step(&archivist, &publisher).await,
            }
            rounds = rounds.saturating_add(1);
            if rounds >= AGAIN {
                archivist
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .again();
                rounds = 0;
            }
        }
    });
}

async fn step(archivist: &Arc<Mutex<Archivist>>, publisher: &Publisher) {
    let size = publisher.published().map_or(0, |last| last.checkpoint.size);
    let archivist = Arc::clone(archivist);
    let step = move || {
        let mut archivist = archivist.lock().unwrap_or_else(PoisonError::into_inner);
        archivist.step(size)
    };
    match tokio::task::spawn_blocking(step).await {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(Done::Indexed(first)))) => tracing::debug!(first, "a log segment is indexed"),
        Ok(Ok(Some(Done::Packed(first)))) => tracing::debug!(first, "a log segment is compressed"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a log segment is neither indexed nor compressed; tried again later");
        }
        Err(error) => tracing::warn!(%error, "log segments are not looked after; tried again"),
    }
}
