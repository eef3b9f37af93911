//! Looking after sealed segments: one thing at a time, and never in anybody's way.

use super::World;
use super::open::Opened;
use crate::audit::sink::{SinkName, SinkStats, Sinks};
use crate::audit::{Archive, Archivist, Disk, Done, Hold, Log, Pruner, Publisher, Segments as _};
use crate::clock::guard::TimeGuard;
use crate::config::Config;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Between one thing and the next.
const PACE: Duration = Duration::from_secs(1);
/// How many of those until what failed is tried again, and what is there is looked at again: ten minutes.
const AGAIN: u32 = 600;
/// The share of its bound from which on the log's size is warned of, in percent.
const WARNING: u64 = 80;

/// What is done, and with what.
struct Archiving {
    disk: Arc<Disk>,
    log: Log,
    publisher: Arc<Publisher>,
    guard: Arc<TimeGuard>,
    archivist: Arc<Mutex<Archivist>>,
    /// Where there is a `retention`.
    pruner: Option<Pruner>,
    /// What sinks have not taken yet stays.
    sinks: Option<(Sinks, Hold)>,
    /// Each is said once, and not each second.
    warned: bool,
    failing: bool,
}

/// Indexes and compresses what a checkpoint is of, and removes what is old, until nothing is asked any more. What is left is
/// done after the next start.
pub(super) fn start(config: &Config, world: &World, opened: &Opened, sinks: Sinks) {
    let archive = Arc::clone(&opened.disk) as Arc<dyn Archive>;
    let mut this = Archiving {
        disk: Arc::clone(&opened.disk),
        log: opened.log.clone(),
        publisher: Arc::clone(&opened.publisher),
        guard: Arc::clone(&opened.guard),
        archivist: Arc::new(Mutex::new(Archivist::new(Arc::clone(&archive)))),
        pruner: config.log.retention.map(|retention| {
            Pruner::new(
                archive,
                opened.log.clone(),
                Arc::clone(&opened.publisher),
                opened.holds.clone(),
                retention,
            )
        }),
        sinks: sinks.taken().map(|taken| (sinks, opened.holds.hold(taken))),
        warned: false,
        failing: false,
    };
    let quiet = world.lifecycle.quiet().clone();
    world.lifecycle.spawn("archive", async move {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rounds = 0_u32;
        loop {
            tokio::select! {
                () = quiet.cancelled() => return Ok::<_, anyhow::Error>(()),
                _ = ticks.tick() => this.round(rounds == 0).await,
            }
            rounds = rounds.saturating_add(1) % AGAIN;
        }
    });
}

impl Archiving {
    async fn round(&mut self, again: bool) {
        let published = self.publisher.size();
        let changed = self.keep(again, published).await | self.prune().await;
        if changed || again {
            let disk = Arc::clone(&self.disk);
            let measured = tokio::task::spawn_blocking(move || {
                disk.measure()?;
                Ok::<_, std::io::Error>(disk.segments()?.first().copied().unwrap_or(0))
            });
            if let Ok(Ok(begins)) = measured.await {
                self.log.stats().begins.store(begins, Ordering::Relaxed);
            }
        }
        self.tell_size();
    }

    /// Answers whether anything was done.
    async fn keep(&mut self, again: bool, published: u64) -> bool {
        let archivist = Arc::clone(&self.archivist);
        let step = move || {
            let mut archivist = archivist.lock().unwrap_or_else(PoisonError::into_inner);
            if again {
                archivist.again();
            }
            archivist.step(published)
        };
        match tokio::task::spawn_blocking(step).await {
            Ok(Ok(None)) => return false,
            Ok(Ok(Some(Done::Indexed(first)))) => {
                tracing::debug!(first, "a log segment is indexed");
            }
            Ok(Ok(Some(Done::Packed(first)))) => {
                tracing::debug!(first, "a log segment is compressed");
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a log segment is neither indexed nor compressed; tried again later");
            }
            Err(error) => tracing::warn!(%error, "log segments are not looked after; tried again"),
        }
        true
    }

    /// Answers whether anything was removed. While the clock is not to be trusted nothing is old, and by one that may be ahead
    /// nothing is older than by the time that was counted: what is removed does not come back when it is set right.
    async fn prune(&mut self) -> bool {
        let (Some(pruner), Ok(now)) = (&mut self.pruner, self.guard.earliest()) else {
            return false;
        };
        if let Some((sinks, hold)) = &self.sinks {
            hold.raise(sinks.taken().unwrap_or_default());
        }
        match pruner.step(now).await {
            Ok(removed) => {
                self.failing = false;
                if let Some(first) = removed {
                    tracing::info!(first, "log segments older than `retention` are removed");
                }
                removed.is_some()
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "old log segments are not removed; tried again");
                }
                false
            }
        }
    }

    fn tell_size(&mut self) {
        let (size, stats) = (self.disk.size(), self.log.stats());
        stats.disk.store(size, Ordering::Relaxed);
        let Some(bound) = self.disk.bound() else {
            return;
        };
        stats.disk_bound.store(bound, Ordering::Relaxed);
        let near = size / WARNING >= bound / 100;
        if near && !self.warned {
            let advice = advice(self.held_by());
            tracing::warn!(
                bytes = size,
                max_bytes = bound,
                "the log nears its bound, at which no tokens are issued: {advice}"
            );
        }
        self.warned = near;
    }

    /// The sink that old segments wait for, if they do.
    fn held_by(&self) -> Option<&SinkName> {
        let is_held = self.pruner.as_ref().is_some_and(Pruner::is_held);
        let (sinks, _) = self.sinks.as_ref().filter(|_| is_held)?;
        sinks.furthest_behind().map(SinkStats::name)
    }
}

/// What makes room in the log, where segments that are old wait for this sink.
fn advice(held_by: Option<&SinkName>) -> String {
    match held_by {
        Some(sink) => format!(
            "sink `{sink}` has not taken what `retention` would remove: see to its receiver or take the sink out of the \
             configuration, or raise `max_bytes`"
        ),
        None => "raise `max_bytes`, or lower `retention`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_holds_segments_back_is_named() {
        let sink = SinkName::try_from("siem".to_owned()).unwrap();
        assert!(advice(Some(&sink)).starts_with("sink `siem` has not taken"));
        assert!(advice(None).ends_with("lower `retention`"));
    }
}
