//! Assembly: from a checked configuration to a running broker, constructor by constructor.

mod archiving;
mod attempts;
mod check;
mod closed;
mod continuity;
mod faces;
mod files;
mod leaks;
mod maintenance;
mod open;
mod parties;
mod publishing;
mod recovery;
mod reloads;
mod restore;
mod settled;
mod sinks;
mod state;
mod upkeep;
mod watching;

pub use crate::store::embedded::{OpenError, Restored};
pub use check::check;
pub use files::create_seal_key;
pub use restore::restore;

use crate::administration::{Changes, KeyAdmin, RevocationAdmin, SigningAdmin, Undurable};
use crate::audit::{Device, Drain, Outbox};
use crate::authn::{Authn, OwnTokens};
use crate::clock::{Clock, Random};
use crate::config::Config;
use crate::exchange::Exchange;
use crate::keys::Rotation;
use crate::lifecycle::Lifecycle;
use crate::listener::{BoundAddress, Edge, Listener};
use crate::mint::Mint;
use crate::policy::{Policy, Settings};
use crate::store::Store;
use crate::telemetry::ops::Ops;
use crate::telemetry::{Metrics, Readiness};
use crate::trust::TrustStore;
use anyhow::Context as _;
use attempts::Attempts;
use open::{Memory, Opened};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the process is given from outside.
#[derive(Clone, Debug)]
pub struct World {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The process's start and stop.
    pub lifecycle: Lifecycle,
    /// Issue although the store lost changes that the log cannot give back (`--accept-rollback`).
    pub accept_rollback: bool,
    /// Takes the log's records in the place of the data folder: for the bench, which measures what the disk costs. No
    /// configuration sets it.
    pub records: Option<Arc<dyn Device>>,
}

/// A running broker.
#[derive(Debug)]
pub struct Running {
    /// Where each listener listens in fact, in the order of the configuration.
    pub addresses: Vec<BoundAddress>,
    /// Where operations are served.
    pub ops: SocketAddr,
    /// Whether it is ready.
    pub readiness: Readiness,
}

/// Starts a broker. Binds its listeners before it returns; serves until the lifecycle ends.
///
/// # Errors
/// What keeps it from starting, in words for its operator.
pub async fn start(config: &Config, world: &World) -> anyhow::Result<Running> {
    let since = world.clock.monotonic();
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::new(&["log", "store", "clock", "keys", "policies", "revocations"]);
    let opened = open::open(config, world).await?;
    let following = CancellationToken::new();
    let memory = open::remember(config, world, &opened, &metrics, &following).await?;

    let applied = memory.replica.subscribe();
    let store: Arc<dyn Store> = opened.store.clone();
    let (outbox, drain) = Outbox::new(Arc::clone(&store), opened.log.clone(), applied);
    follow_outbox(world, drain, &following);
    let taken_up = opened.publisher.published();
    let publishing = publishing::start(world, &opened);
    opened.parties.start(world, &opened.publisher, &opened.log);
    let sinks = sinks::start(config, world, &opened)?;
    archiving::start(config, world, &opened, sinks.clone());
    let (log, closed) = (opened.log.clone(), opened.closed.clone());
    // Of what is written elsewhere there is nothing to be looked at, and nothing to publish.
    if world.records.is_none() {
        closed::start(world, log, closed, publishing.clone());
    }
    let settled = Arc::new(settled::InForce {
        replica: memory.replica.clone(),
        outbox,
        log: opened.log.clone(),
    });
    let guard = Arc::clone(&opened.guard);
    let changes = Arc::new(Changes::new(
        store,
        settled,
        guard,
        Arc::clone(&world.random),
    ));
    let acts = acts(config, world, &opened, &memory, changes)?;
    upkeep::ensure_keys(&acts.signing, &opened.guard).await?;
    upkeep::restore_usage_of(&memory.keys, &opened.store).await?;

    let trust = Arc::new(TrustStore::new());
    let trust_files = files::follow_trust(config, world, &trust, &opened.log, &metrics)?;
    let exchange = exchange(config, world, &opened, &memory, &acts, &trust, &metrics);
    let routes = faces::routes(config, world, &exchange, &opened, &memory, &acts, &metrics)?;
    let edge = Edge {
        identity: files::follow_identity(config, world, &metrics)?,
        trust,
        clock: Arc::clone(&world.clock),
        random: Arc::clone(&world.random),
        observer: Arc::new(Attempts {
            metrics: Arc::clone(&metrics),
            log: opened.log.clone(),
        }),
    };
    let bound = bind(config, &edge)?;
    let addresses = bound
        .iter()
        .map(|listener| listener.address().clone())
        .collect();
    let ops = Ops::bind(config.ops.address).await;
    let ops = ops.with_context(|| format!("operations cannot listen on {}", config.ops.address))?;

    metrics.follow_log(opened.log.stats());
    metrics.follow_sinks(sinks);
    metrics.follow_feed(memory.feed.clone());
    let started = upkeep::Started {
        configuration: config.digest_text(),
        policies: memory.policies.loaded(),
        policy_files: memory.policy_files,
        trust_files,
        taken_up,
    };
    upkeep::announce(world, &opened.log, started).await;
    upkeep::start(
        world,
        upkeep::Subjects {
            exchange,
            signing: acts.signing,
            revocations: acts.revocations,
            store: Arc::clone(&opened.store),
            policies: Arc::clone(&memory.policies),
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
            publishing,
            since,
            following: following.drop_guard(),
        },
    );
    let running = Running {
        addresses,
        ops: ops.address(),
        readiness: readiness.clone(),
    };
    faces::serve(world, bound, routes, ops, metrics, readiness);
    Ok(running)
}

fn follow_outbox(world: &World, drain: Drain, following: &CancellationToken) {
    let following = following.clone();
    world.lifecycle.spawn("outbox", async move {
        tokio::select! {
            () = drain.run() => {}
            () = following.cancelled() => {}
        }
        Ok::<_, anyhow::Error>(())
    });
}

/// What is done to governed things.
struct Acts {
    changes: Arc<Changes>,
    keys: Arc<KeyAdmin>,
    signing: Arc<SigningAdmin>,
    revocations: Arc<RevocationAdmin>,
    undurable: Arc<Undurable>,
}

fn acts(
    config: &Config,
    world: &World,
    opened: &Opened,
    memory: &Memory,
    changes: Arc<Changes>,
) -> anyhow::Result<Acts> {
    let keys = Arc::new(KeyAdmin::new(
        Arc::clone(&memory.keys),
        Arc::clone(&memory.audiences),
        Arc::clone(&changes),
        config.keys.max_key_life,
    ));
    let rotation = Rotation::new(
        opened.store.clone(),
        Arc::clone(&opened.kek),
        Arc::clone(&world.random),
        files::algorithm(config.tokens.algorithm),
        *memory.ring.timing(),
    );
    let ring = Arc::clone(&memory.ring);
    let signing = Arc::new(SigningAdmin::new(rotation, ring, Arc::clone(&changes)));
    let undurable = Arc::<Undurable>::default();
    let revocations = Arc::new(RevocationAdmin::new(
        config.issuer.as_str().into(),
        Arc::clone(&opened.hot),
        memory.feed.clone(),
        Arc::clone(&keys),
        Arc::clone(&signing),
        Arc::clone(&changes),
        Arc::clone(&undurable),
    ));
    Ok(Acts {
        changes,
        keys,
        signing,
        revocations,
        undurable,
    })
}

fn exchange(
    config: &Config,
    world: &World,
    opened: &Opened,
    memory: &Memory,
    acts: &Acts,
    trust: &Arc<TrustStore>,
    metrics: &Arc<Metrics>,
) -> Arc<Exchange> {
    let issuer: Arc<str> = config.issuer.as_str().into();
    let mint = Arc::new(Mint::new(
        issuer,
        Arc::clone(&memory.ring),
        Arc::clone(&world.random),
    ));
    let settings = Settings {
        default_lifetime: config.tokens.default_lifetime,
        max_lifetime: config.tokens.max_lifetime,
    };
    Arc::new(Exchange {
        authn: Authn::new(
            Arc::clone(&memory.keys),
            Arc::clone(&memory.audiences),
            Arc::clone(trust),
            OwnTokens::new(Arc::clone(mint.issuer()), Arc::clone(&memory.ring)),
            Arc::clone(&opened.hot),
            memory.parted_from,
        ),
        audiences: Arc::clone(&memory.audiences),
        keys: Arc::clone(&memory.keys),
        policy: Policy::new(Arc::clone(&memory.policies), settings),
        changes: Arc::clone(&acts.changes),
        undurable: Arc::clone(&acts.undurable),
        mint,
        log: opened.log.clone(),
        guard: Arc::clone(&opened.guard),
        random: Arc::clone(&world.random),
        replica: memory.replica.clone(),
        staleness: config.store.staleness,
        tasks: world.lifecycle.shutdown().tasks.clone(),
        observer: Arc::clone(metrics) as _,
    })
}

fn bind(config: &Config, edge: &Edge) -> anyhow::Result<Vec<Listener>> {
    let bind = |listener| {
        Ok(Listener::bind(
            files::listener(listener, &config.limits),
            edge.clone(),
        )?)
    };
    config.listeners.iter().map(bind).collect()
}
