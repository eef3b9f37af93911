//! What the broker does regularly, by itself.

use super::World;
use super::publishing::Publishing;
use super::reloads::Contents;
use crate::administration::{RevocationAdmin, SigningAdmin};
use crate::audit::{Act, ActKind, Log, LogHealth, Published, record_checkpoint};
use crate::clock::guard::TimeGuard;
use crate::exchange::Exchange;
use crate::inventory::{Keys, USAGE_PREFIX, flush_usage, restore_usage};
use crate::lifecycle::Lifecycle;
use crate::limits;
use crate::policy::{Loaded, Policies};
use crate::refusal::Denial;
use crate::store::embedded::EmbeddedStore;
use crate::store::load_all;
use crate::store::mark::{self, Mark};
use crate::telemetry::{Metrics, Readiness};
use anyhow::Context as _;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::DropGuard;
use tonic_health::pb::health_server::{Health, HealthServer};

/// How often the clock, the log and the store are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the log's last checkpoint is kept in the store: after a crash, what came since could be changed unseen.
const KEPT: Duration = Duration::from_secs(5);
/// How often usage counters are written, signing keys looked at, and what has ended is removed.
const SELDOM: Duration = Duration::from_secs(30);

/// What is looked after.
pub(super) struct Subjects {
    pub(super) exchange: Arc<Exchange>,
    pub(super) signing: Arc<SigningAdmin>,
    pub(super) revocations: Arc<RevocationAdmin>,
    pub(super) store: Arc<EmbeddedStore>,
    pub(super) policies: Arc<Policies>,
    pub(super) readiness: Readiness,
    pub(super) metrics: Arc<Metrics>,
    pub(super) publishing: Publishing,
    /// When the broker started, by the monotonic clock.
    pub(super) since: Duration,
    /// Memory follows the store, and the log the outbox, until this is dropped: what is written last has to be in force as well.
    pub(super) following: DropGuard,
}

/// The standard health service: serving until the drain begins. Whoever watches it is told, and let go.
pub(super) fn health(lifecycle: &Lifecycle) -> HealthServer<impl Health> {
    let (mut reporter, service) = tonic_health::server::health_reporter();
    let drain = lifecycle.shutdown().drain.clone();
    lifecycle.spawn("health", async move {
        drain.cancelled().await;
        reporter
            .set_service_status("", tonic_health::ServingStatus::NotServing)
            .await;
        // Ends the watches after that last answer: a drain waits for every call in flight, and these never end.
        reporter.clear_service_status("").await;
        Ok::<_, anyhow::Error>(())
    });
    service.max_decoding_message_size(limits::STANDARD_MESSAGE)
}

/// Sees that there is a key that signs. Keys need a time: while none can be had, the broker serves what needs neither, an
/// operator's word on the clock first of all, and the keys are made later.
pub(super) async fn ensure_keys(signing: &SigningAdmin, guard: &TimeGuard) -> anyhow::Result<()> {
    match (signing.ensure().await, guard.now()) {
        (Err(_), Err(fault)) => tracing::warn!(%fault, "nothing is issued yet"),
        (ensured, _) => ensured.context("no signing key could be made")?,
    }
    Ok(())
}

/// What a broker starts with.
pub(super) struct Started {
    /// The configuration's digest.
    pub(super) configuration: String,
    /// The policies in force, and those of them that are files.
    pub(super) policies: Loaded,
    pub(super) policy_files: Contents,
    /// The bundles and revocation lists.
    pub(super) trust_files: Contents,
    /// The checkpoint at which the log was taken up.
    pub(super) taken_up: Option<Arc<Published>>,
}

impl Started {
    fn change(&self) -> String {
        let change = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "configuration_sha256": self.configuration,
            "policies": self.policies.policies,
            "set": &*self.policies.revision,
            "policy_files_sha256": self.policy_files.sha256,
            "trust_files_sha256": self.trust_files.sha256,
        });
        change.to_string()
    }
}

/// The start and what is configured, on the record before anything is issued, and the checkpoint that the last run left: so
/// it is sent wherever records are sent, whatever its host does with the rest of it. A log that cannot be written keeps nobody
/// from starting, since revocations go on without it: the start is recorded when the log is back.
pub(super) async fn announce(world: &World, log: &Log, started: Started) {
    let change = started.change();
    let mut health = log.health_changes();
    let Err(denial) = record_start(log, &change).await else {
        let left = started.taken_up.filter(|last| last.checkpoint.size > 0);
        if let Some(last) = left {
            // What is not recorded now is in what is recorded next.
            let _told = record_checkpoint(&last, log).await;
        }
        return;
    };
    tracing::warn!(code = denial.code(), "the start is not on the record yet");
    let (log, quiet) = (log.clone(), world.lifecycle.quiet().clone());
    world.lifecycle.spawn("announcement", async move {
        let recorded = async {
            while health.changed().await.is_ok() && record_start(&log, &change).await.is_err() {}
        };
        quiet.run_until_cancelled(recorded).await;
        quiet.cancelled().await;
        Ok::<_, anyhow::Error>(())
    });
}

async fn record_start(log: &Log, change: &str) -> Result<(), Denial> {
    let act = Act {
        change: Some(change),
        ..Act::new(ActKind::Start, "broker.start")
    };
    log.event(&act).await.map(drop)
}

/// Takes over the usage counters of the last run.
pub(super) async fn restore_usage_of(keys: &Keys, store: &EmbeddedStore) -> anyhow::Result<()> {
    restore_usage(keys, &load_all(store, USAGE_PREFIX).await?);
    Ok(())
}

/// Starts the regular work. When nothing asks any more it is broken off, wherever it is, and what has to be done last is done.
pub(super) fn start(world: &World, subjects: Subjects) {
    let quiet = world.lifecycle.quiet().clone();
    look(&subjects);
    world.lifecycle.spawn("upkeep", async move {
        let is_told = AtomicBool::new(false);
        // Side by side, since each but the first may have much to do, or to wait for the store.
        let regular = async {
            tokio::join!(
                often(&subjects),
                every(LOOK, || settle(&subjects)),
                every(KEPT, || subjects.publishing.keep()),
                every(SELDOM, || seldom(&subjects)),
                every(SELDOM, || forget(&subjects, &is_told)),
            )
        };
        quiet.run_until_cancelled(regular).await;
        finish(subjects).await;
        Ok::<_, anyhow::Error>(())
    });
}

/// Does some work regularly, at once for the first time.
async fn every<F: Future<Output = ()>>(period: Duration, work: impl Fn() -> F) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        work().await;
    }
}

/// Looks at everything each [`LOOK`], and waits for nothing else.
async fn often(subjects: &Subjects) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut log = subjects.exchange.log.health_changes();
    loop {
        tokio::select! {
            _ = ticks.tick() => look(subjects),
            // A log that cannot be written is no longer ready, and not a second later.
            Ok(()) = log.changed() => look_at_log(subjects),
        }
    }
}

fn look_at_log(subjects: &Subjects) {
    let health = subjects.exchange.log.health();
    condition(
        &subjects.readiness,
        "log",
        match &*health {
            LogHealth::Writing => Ok(()),
            LogHealth::Failed { cause, .. } => Err(cause.as_ref()),
        },
    );
}

fn look(subjects: &Subjects) {
    let Subjects {
        exchange,
        policies,
        readiness,
        metrics,
        revocations,
        since,
        ..
    } = subjects;
    exchange.log.tick();
    let steady = exchange.guard.observe();
    condition(
        readiness,
        "clock",
        steady
            .then_some(())
            .ok_or("the wall clock cannot be trusted"),
    );
    look_at_log(subjects);
    let now = exchange.guard.wall();
    let rejected = exchange.replica.rejected();
    let store = match rejected.first() {
        Some(reason) => Err(reason.as_str()),
        None if exchange.replica.is_fresh(now, exchange.staleness) => Ok(()),
        None => Err("the store has not confirmed the state for too long"),
    };
    condition(readiness, "store", store);
    let signs = exchange.mint.can_sign();
    condition(
        readiness,
        "keys",
        signs.then_some(()).ok_or("no signing key is active"),
    );
    let is_any = !policies.snapshot().is_empty();
    condition(
        readiness,
        "policies",
        is_any
            .then_some(())
            .ok_or("no policy is loaded: everything is denied"),
    );
    let up = exchange.guard.clock().monotonic().saturating_sub(*since);
    metrics.store_is_stale_for(age(exchange.replica.as_of(), now, up));
    metrics.revocations_wait(revocations.waiting());
}

/// How old the view of the store is: as long as the broker is up, where the store has confirmed nothing yet. A confirmation
/// from the future is no better than one from as far back.
fn age(as_of: Option<Timestamp>, now: Timestamp, up: Duration) -> Duration {
    as_of.map_or(up, |as_of| now.duration_since(as_of).unsigned_abs())
}

fn condition(readiness: &Readiness, name: &'static str, holds: Result<(), &str>) {
    match holds {
        Ok(()) => readiness.met(name),
        Err(reason) => readiness.unmet(name, reason.to_owned()),
    }
}

/// Writes revocations that could not be written.
async fn settle(subjects: &Subjects) {
    let Subjects {
        revocations,
        readiness,
        ..
    } = subjects;
    let settled = revocations.settle().await;
    let settled =
        settled.map_err(|denial| format!("a revocation is in force and not written: {denial}"));
    condition(
        readiness,
        "revocations",
        settled.as_ref().map(|&()| ()).map_err(String::as_str),
    );
}

async fn seldom(subjects: &Subjects) {
    let Subjects {
        exchange,
        signing,
        revocations,
        ..
    } = subjects;
    // Through what waits for the store no longer than it may: what comes after it has its turn.
    if let Err(error) = flush_usage(&exchange.keys, exchange.changes.store()).await {
        tracing::warn!(%error, "usage counters are not written; tried again later");
    }
    keep_mark(subjects).await;
    if let Err(denial) = revocations.resume().await {
        tracing::warn!(
            code = denial.code(),
            "the revocation of an estate is not complete; tried again later"
        );
    }
    // Keys lapse by a clock that can be trusted, or not at all.
    if exchange.guard.now().is_ok()
        && let Err(denial) = signing.upkeep().await
    {
        tracing::warn!(
            code = denial.code(),
            "signing keys are not rotated; tried again later"
        );
    }
}

/// Removes what has ended, and says once where that is kept for longer.
async fn forget(subjects: &Subjects, is_told: &AtomicBool) {
    let guard = &subjects.exchange.guard;
    // By a clock that can be trusted, or not at all.
    let Ok(now) = guard.earliest() else {
        return;
    };
    let lag = guard.lag();
    if let Err(denial) = subjects.exchange.changes.forget_lapsed(now).await {
        tracing::warn!(
            code = denial.code(),
            "lapsed idempotency entries stay; tried again later"
        );
    }
    if let Err(denial) = subjects.exchange.changes.forget_former(now).await {
        tracing::warn!(
            code = denial.code(),
            "what is stored of former audiences stays; tried again later"
        );
    }
    if let Err(denial) = subjects.revocations.forget_ended(now).await {
        tracing::warn!(
            code = denial.code(),
            "markers that have ended stay stored; tried again later"
        );
    }
    subjects.metrics.clock_is_unconfirmed_for(lag);
    if is_news(lag, is_told) {
        tracing::warn!(
            seconds = lag.as_secs(),
            "the wall clock is ahead of the time that the broker has counted, as after a long stop: what has ended is kept for \
             that much longer; if it is right, say so with `cambist clock confirm`"
        );
    }
}

/// Whether things are kept for so much longer that somebody should know, and was not told.
fn is_news(lag: Duration, is_told: &AtomicBool) -> bool {
    let is_long = lag > limits::CLOCK_LAG;
    !is_told.swap(is_long, Ordering::Relaxed) && is_long
}

/// The log keeps the mark with every issue; this is for when the log is lost.
async fn keep_mark(subjects: &Subjects) {
    let Some(mark) = Mark::of(&subjects.exchange.guard) else {
        return;
    };
    if let Err(error) = mark::keep(subjects.exchange.changes.store(), mark).await {
        tracing::warn!(%error, "the time reached is not kept in the store; tried again later");
    }
}

/// Writes to the store what is to outlive this run, what matters most first.
async fn keep(subjects: &Subjects) {
    if let Err(denial) = subjects.revocations.settle().await {
        tracing::error!(%denial, "a revocation is written nowhere: it has to be said again after the start");
    }
    if let Err(error) = flush_usage(&subjects.exchange.keys, &*subjects.store).await {
        tracing::warn!(%error, "usage counters of this run are lost");
    }
    keep_mark(subjects).await;
}

async fn finish(subjects: Subjects) {
    // The log has to be ended as well.
    if timeout(limits::STORE_LAST, keep(&subjects)).await.is_err() {
        tracing::error!(
            "the store does not answer: what waited to be written to it, revocations among it, is written nowhere"
        );
    }
    let Subjects {
        exchange,
        store,
        publishing,
        following,
        ..
    } = subjects;
    drop(following);
    if let Err(denial) = exchange
        .log
        .event(&Act::new(ActKind::Stop, "broker.stop"))
        .await
    {
        tracing::warn!(code = denial.code(), "the stop is not on the record");
    }
    let whole = exchange.log.close().await;
    publishing.finish(whole).await;
    store.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_things_are_kept_longer_is_said_once_beyond_its_bound() {
        let is_told = AtomicBool::new(false);
        let (most, second) = (limits::CLOCK_LAG, Duration::from_secs(1));
        for (lag, is_said) in [
            (most, false),
            (most + second, true),
            (most + second, false),
            (most, false),
            (most + second, true),
        ] {
            assert_eq!(is_news(lag, &is_told), is_said, "{lag:?}");
        }
    }

    #[test]
    fn a_store_that_has_confirmed_nothing_is_as_stale_as_the_broker_is_old() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (up, seconds) = (Duration::from_secs(90), Duration::from_secs);
        assert_eq!(age(None, at(1_000), up), up);
        assert_eq!(age(Some(at(1_000)), at(1_000), up), Duration::ZERO);
        assert_eq!(age(Some(at(993)), at(1_000), up), seconds(7));
        // The clock was set back: how old it is cannot be said, and it is not fresh.
        assert_eq!(age(Some(at(1_400)), at(1_000), up), seconds(400));
    }
}
