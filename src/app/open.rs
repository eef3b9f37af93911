//! Opening what holds state: the store, the log, and the memory that follows them.

use super::continuity::Continuity;
use super::parties::{Kept, Parties};
use super::recovery::{PUT_BACK, Recovering, WAY_OUT};
use super::reloads::Contents;
use super::{World, files, publishing, state, watching};
use crate::administration::{PolicyAdmin, keep_tenants, parted_from};
use crate::audit::{
    Author, Closed, Disk, Headers, Holds, Log, Lost, Options, Publisher, Recovered,
};
use crate::clock::guard::TimeGuard;
use crate::config::Config;
use crate::inventory::{Audiences, Keys};
use crate::keys::{Kek, KeyRing, LogKey, Timing};
use crate::limits;
use crate::policy::Policies;
use crate::refusal::Denial;
use crate::revocation::{Feed, HotSet};
use crate::store::embedded::EmbeddedStore;
use crate::store::replica::Replica;
use crate::store::{Store, mark};
use crate::telemetry::Metrics;
use anyhow::Context as _;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Everything that holds state, opened and brought up to date.
pub(super) struct Opened {
    pub(super) store: Arc<EmbeddedStore>,
    pub(super) log: Log,
    pub(super) disk: Arc<Disk>,
    /// Its closed segments, which were all there.
    pub(super) closed: Closed,
    /// Who reads the log and has not taken all of it yet raises this; retention keeps to it.
    pub(super) holds: Holds,
    pub(super) publisher: Arc<Publisher>,
    pub(super) parties: Parties,
    pub(super) hot: Arc<HotSet>,
    pub(super) guard: Arc<TimeGuard>,
    pub(super) kek: Arc<Kek>,
}

/// The state in memory, and what follows the store.
pub(super) struct Memory {
    pub(super) keys: Arc<Keys>,
    pub(super) audiences: Arc<Audiences>,
    /// From when on tenants part what watchers are told.
    pub(super) parted_from: Timestamp,
    pub(super) policies: Arc<Policies>,
    /// What the policies from files were at the start.
    pub(super) policy_files: Contents,
    pub(super) policy_admin: Arc<PolicyAdmin>,
    pub(super) ring: Arc<KeyRing>,
    pub(super) replica: Replica,
    pub(super) feed: Feed,
}

pub(super) async fn open(config: &Config, world: &World) -> anyhow::Result<Opened> {
    files::private_folder(&config.data)?;
    let kek = Kek::from_file(&config.keys.seal_key_file)?;
    let hot = Arc::<HotSet>::default();
    let (clock, random) = (Arc::clone(&world.clock), Arc::clone(&world.random));
    let store = Arc::new(EmbeddedStore::open(
        &config.store_file(),
        Arc::clone(&clock),
        Arc::clone(&random),
    )?);
    let folder = config.log_directory();
    // First: under another one the log would look as if somebody else had written it.
    let signed_from = LogKey::signed_from(&folder.join(publishing::KEY), &kek)?;
    let disk = Disk::open(&folder, limits::LOG_RESERVE_BYTES)
        .and_then(|disk| disk.bounded(config.log.max_bytes));
    let disk = Arc::new(disk.with_context(|| format!("the log's folder {}", folder.display()))?);
    let origin = format!("{}/{}", config.issuer, config.node);
    let options = Options {
        segment_bytes: config.log.segment_bytes,
        segment_age: config.log.segment_age,
        accept_lack: world.accept_rollback,
        ..Options::default()
    };
    let headers = Headers::new(kek.mac_key(Author::PURPOSE)?, signed_from);
    let records = world.records.clone();
    let (log, recovered) = Log::open(
        records.unwrap_or_else(|| Arc::clone(&disk) as _),
        &origin,
        Arc::clone(&hot),
        Arc::clone(&clock),
        Arc::clone(&random),
        headers,
        options,
    )?;
    let mut closed = disk.closed(log.headers());
    closed.look().map_err(|lost| match lost {
        // It is not known then.
        Lost::Folder(_) | Lost::Unseen(_) | Lost::Unread { .. } => lost.into(),
        Lost::Gone(_) | Lost::Unsigned(_) | Lost::Changed { .. } => {
            let folder = folder.display();
            let told = format!(
                "the log in {folder} lacks records: {PUT_BACK}, or move it away and {WAY_OUT}"
            );
            anyhow::Error::new(lost).context(told)
        }
    })?;
    let kept = mark::kept(&*store).await?;
    let mark = highest(recovered.mark, kept.map(|kept| kept.at), clock.now());
    let guard = Arc::new(TimeGuard::new(clock, mark));
    if let Some(kept) = kept {
        guard.recall(kept.confirmed_from, kept.counted);
    }
    report(&recovered);
    let kept = Kept::new(store.clone());
    let held = Continuity {
        config,
        kek: &kek,
        random: &*random,
        recovered: &recovered,
        recovering: Recovering {
            store: &store,
            disk: &disk,
            log: &log,
            guard: &guard,
            kept: &kept,
            accept: world.accept_rollback,
        },
    };
    let (publisher, parties) = held.establish().await?;
    // Nothing was added to the log until here but what goes with a rollback, or with a store that was put back.
    kept.go_on().await?;
    publishing::ratchet(&folder, &log, &kek, &*random);
    Ok(Opened {
        store,
        log,
        disk,
        closed,
        holds: Holds::default(),
        publisher,
        parties,
        hot,
        guard,
        kek: Arc::new(kek),
    })
}

/// The highest time that was given out, by the log and by the store. What the log says beyond [`limits::MARK_AHEAD`] does not
/// count: a record that was added after a crash is like any other, and one that is dated centuries ahead would keep the broker
/// from issuing until then.
fn highest(
    logged: Option<Timestamp>,
    kept: Option<Timestamp>,
    wall: Timestamp,
) -> Option<Timestamp> {
    let known = kept.map_or(wall, |kept| kept.max(wall));
    let is_ahead = |logged: &Timestamp| {
        let ahead = Duration::try_from(logged.duration_since(known));
        ahead.is_ok_and(|ahead| ahead > limits::MARK_AHEAD)
    };
    if let Some(logged) = logged.filter(is_ahead) {
        tracing::warn!(
            %logged,
            "the log has an issue of a time that neither the store nor the clock knows of: somebody may have changed the log, \
             and the time does not count; if the clock was ahead, withdraw what it signed by `cambist signing-key rotate \
             --compromised`, and say `cambist clock confirm`"
        );
    }
    logged.filter(|logged| !is_ahead(logged)).max(kept)
}

fn report(recovered: &Recovered) {
    if recovered.torn > 0 {
        tracing::warn!(
            bytes = recovered.torn,
            "a torn tail that no reply depended on was dropped from the log"
        );
    }
    tracing::info!(records = recovered.next, "log opened");
}

pub(super) async fn remember(
    config: &Config,
    world: &World,
    opened: &Opened,
    metrics: &Arc<Metrics>,
    following: &CancellationToken,
) -> anyhow::Result<Memory> {
    let issuer: Arc<str> = config.issuer.as_str().into();
    let keys = Arc::new(Keys::new(Arc::clone(&issuer), Arc::clone(&opened.hot)));
    let audiences = Arc::<Audiences>::default();
    audiences.configure(config.audiences.clone())?;
    let now = opened.guard.now();
    let now = now.unwrap_or_else(|_| opened.guard.latest());
    match keep_tenants(&*opened.store, &config.audiences, now).await {
        Ok(()) => {}
        Err(Denial::Refused(refusal)) => anyhow::bail!("{}", refusal.detail()),
        Err(failed) => return Err(failed.into()),
    }
    let lineage = opened.store.lineage().await?;
    let parted_from = parted_from(&*opened.store, &lineage, now).await?;
    let policies = Arc::new(Policies::new().map_err(files::diagnosed)?);
    let policy_files = files::follow_policies(config, world, &policies, &opened.log, metrics)?;
    let policy_admin = Arc::new(PolicyAdmin::new(Arc::clone(&policies)));
    let timing = Timing::new(
        config.tokens.rotation_age,
        config.tokens.max_lifetime,
        config.store.staleness,
    )?;
    let ring = Arc::new(KeyRing::new(Arc::clone(&opened.kek), timing));
    let followers = state::followers(
        &keys,
        &audiences,
        &policy_admin,
        &ring,
        &opened.hot,
        &issuer,
    );
    let store: Arc<dyn Store> = opened.store.clone();
    let (clock, stop) = (Arc::clone(&world.clock), following.clone());
    let (replica, task) = Replica::start(store, followers, clock, stop).await?;
    world.lifecycle.spawn("replica", task);
    let feed = watching::start(world, &opened.hot, &replica, &opened.guard);
    Ok(Memory {
        keys,
        audiences,
        parted_from,
        policies,
        policy_files,
        policy_admin,
        ring,
        replica,
        feed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn the_log_counts_as_far_ahead_as_store_or_clock_allow_and_not_a_second_further() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let bound = SignedDuration::try_from(limits::MARK_AHEAD).unwrap();
        let wall = at(1_000_000);
        for kept in [None, Some(at(900_000)), Some(at(2_000_000))] {
            let most = kept.map_or(wall, |kept| kept.max(wall)) + bound;
            assert_eq!(highest(Some(most), kept, wall), Some(most));
            let beyond = most + SignedDuration::from_secs(1);
            assert_eq!(highest(Some(beyond), kept, wall), kept);
            assert_eq!(highest(None, kept, wall), kept);
            assert_eq!(highest(Some(at(1)), kept, wall), kept.or(Some(at(1))));
        }
    }
}
