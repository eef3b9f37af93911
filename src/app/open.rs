//! Opening what holds state: the store, the log, and the memory that follows them.

use super::parties::{Contradicted, Kept, Parties};
use super::recovery::{Recovering, WAY_OUT};
use super::reloads::Contents;
use super::{World, files, publishing, sinks, state, watching};
use crate::administration::{PolicyAdmin, keep_tenants, parted_from};
use crate::audit::{Author, Closed, Disk, Holds, Log, Options, Publisher, Recovered};
use crate::clock::guard::TimeGuard;
use crate::config::Config;
use crate::inventory::{Audiences, Keys};
use crate::keys::{Kek, KeyRing, Timing};
use crate::limits;
use crate::policy::Policies;
use crate::refusal::Denial;
use crate::revocation::{Feed, HotSet};
use crate::store::embedded::EmbeddedStore;
use crate::store::replica::Replica;
use crate::store::{Store, mark};
use crate::telemetry::Metrics;
use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use std::sync::Arc;
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
    let records = world.records.clone();
    let (log, recovered) = Log::open(
        records.unwrap_or_else(|| Arc::clone(&disk) as _),
        &origin,
        Arc::clone(&hot),
        Arc::clone(&clock),
        Arc::clone(&random),
        kek.mac_key(Author::PURPOSE)?,
        options,
    )?;
    let mut closed = disk.closed();
    closed.look().with_context(|| {
        let folder = folder.display();
        format!(
            "the log in {folder} lacks records: put its folder back as it was, or move it away and {WAY_OUT}"
        )
    })?;
    let kept = mark::kept(&*store).await?;
    let mark = recovered.mark.max(kept.map(|kept| kept.at));
    let guard = Arc::new(TimeGuard::new(clock, mark));
    if let Some(kept) = kept {
        guard.recall(kept.confirmed_from, kept.counted);
    }
    report(&recovered);
    let recovered_id = log.id();
    let ahead = sinks::ahead(config, &log)?;
    if let (Some((sink, delivered)), false) = (&ahead, world.accept_rollback) {
        return Err(anyhow!(
            "the log ends at {} records, and sink `{sink}` has delivered {delivered}: put the log's folder back as it was, \
             or {WAY_OUT}",
            log.durable()
        ));
    }
    let keyless = publishing::is_keyless(&folder, &log, &kek)?;
    if keyless && !world.accept_rollback {
        return Err(anyhow!(
            "the log in {} holds records, and the key that it signs its checkpoints with is not there: put the log's folder \
             back as it was, or {WAY_OUT}",
            folder.display()
        ));
    }
    let kept = Kept::new(store.clone());
    let open = || {
        let given_up = Some(recovered_id).filter(|id| *id != log.id());
        let disk = Arc::clone(&disk);
        let publisher = publishing::open(&folder, disk, &log, given_up, &kek, &*random)?;
        // After what is given up was set aside: it tells which copies are.
        let parties = Parties::new(&config.log, &folder, &log, &kek, &kept)?;
        anyhow::Ok((Arc::new(publisher), parties))
    };
    let recovering = Recovering {
        store: &store,
        disk: &disk,
        log: &log,
        guard: &guard,
        kept: &kept,
        accept: world.accept_rollback,
    };
    let proven = async || {
        let (publisher, parties) = open()?;
        parties.ask(&publisher, &log).await?;
        Ok(publisher)
    };
    recovering.bring_up(&recovered, proven).await?;
    let ended = kept.ended().await?;
    let ended = ended.filter(|ended| *ended < recovered.next);
    if let (Some(ended), false) = (ended, world.accept_rollback) {
        return Err(anyhow!(
            "the log ended at {ended} records when the broker stopped, and has {} now: put the log's folder back as it was \
             (or the store, if that is an older copy of its file), or {WAY_OUT}",
            recovered.next
        ));
    }
    let is_lacking = recovered.lack.is_some() || ahead.is_some() || keyless || ended.is_some();
    if is_lacking && log.id() == recovered_id {
        recovering.roll_back().await?;
    }
    // Before anything is issued: a log that lost records that were published is not gone on with. And not before a
    // rollback that is accepted, which makes the log another one.
    let is_another = log.id() != recovered_id;
    let (mut publisher, mut parties) = open()?;
    match parties.ask(&publisher, &log).await {
        Ok(()) => {}
        // What copies and witnesses have is of what is given up.
        Err(error) if world.accept_rollback && error.is::<Contradicted>() => {
            tracing::warn!(%error, "the log that was published is given up");
            if !is_another {
                recovering.roll_back().await?;
                (publisher, parties) = open()?;
            }
            parties.give_up();
        }
        Err(error) if error.is::<Contradicted>() => {
            return Err(error.context(format!(
                "the log is not the one that was published: put its folder back as it was, or {WAY_OUT}"
            )));
        }
        Err(error) => return Err(error),
    }
    if is_another {
        parties.give_up();
    }
    // Nothing was written until here but what goes with a rollback, or with a store that was put back.
    kept.go_on().await?;
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
