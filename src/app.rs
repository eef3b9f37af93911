//! Assembly: from a checked configuration to a running broker, constructor by constructor.

mod files;
mod maintenance;
mod recovery;
mod settled;
mod state;
mod upkeep;

use crate::audit::{Disk, Drain, Log, Options, Outbox, Recovered};
use crate::authn::{Administrators, Authn};
use crate::clock::guard::TimeGuard;
use crate::clock::{Clock, Random};
use crate::config::Config;
use crate::exchange::Exchange;
use crate::grpc::{Gate, InventoryService, PolicyService, TokenExchangeService};
use crate::http;
use crate::inventory::{
    AudienceAdmin, Audiences, Changes, KeyAdmin, Keys, PolicyAdmin, SigningAdmin,
};
use crate::keys::{Kek, KeyRing, Rotation, Timing};
use crate::lifecycle::Lifecycle;
use crate::limits;
use crate::listener::{BoundAddress, Edge, Listener};
use crate::mint::Mint;
use crate::policy::{Policies, Policy, Settings};
use crate::proto;
use crate::proto::inventory_server::InventoryServer;
use crate::proto::policy_server::PolicyServer;
use crate::proto::token_exchange_server::TokenExchangeServer;
use crate::revocation::HotSet;
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;
use crate::store::mark;
use crate::store::replica::Replica;
use crate::telemetry::ops::Ops;
use crate::telemetry::{Metrics, Readiness};
use crate::trust::TrustStore;
use anyhow::Context as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tonic::service::Routes;

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

/// Everything that holds state, opened and brought up to date.
struct Opened {
    store: Arc<EmbeddedStore>,
    log: Log,
    hot: Arc<HotSet>,
    guard: Arc<TimeGuard>,
    kek: Arc<Kek>,
}

/// The state in memory, and what follows the store.
struct Memory {
    keys: Arc<Keys>,
    audiences: Arc<Audiences>,
    policies: Arc<Policies>,
    policy_admin: Arc<PolicyAdmin>,
    ring: Arc<KeyRing>,
    replica: Replica,
}

/// Starts a broker. Binds its listeners before it returns; serves until the lifecycle ends.
///
/// # Errors
/// What keeps it from starting, in words for its operator.
pub async fn start(config: &Config, world: &World) -> anyhow::Result<Running> {
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::new(&["log", "store", "clock", "keys", "policies"]);
    let opened = open(config, world).await?;
    let memory = remember(config, world, &opened).await?;
    upkeep::watch_policies(config, world, &memory, &metrics);

    let applied = memory.replica.subscribe();
    let store: Arc<dyn Store> = opened.store.clone();
    let (outbox, drain) = Outbox::new(Arc::clone(&store), opened.log.clone(), applied);
    follow_outbox(world, drain);
    let settled = Arc::new(settled::InForce {
        replica: memory.replica.clone(),
        outbox,
    });
    let guard = Arc::clone(&opened.guard);
    let changes = Arc::new(Changes::new(
        store,
        settled,
        guard,
        Arc::clone(&world.random),
    ));
    let signing = signing_admin(config, world, &opened, &memory, &changes)?;
    upkeep::ensure_keys(&signing, &opened.guard).await?;
    upkeep::restore_usage_of(&memory.keys, &opened.store).await?;

    let trust = Arc::new(TrustStore::new());
    files::follow_trust(config, world, &trust, &metrics)?;
    let exchange = exchange(config, world, &opened, &memory, &changes, &trust, &metrics);
    let routes = routes(
        config, world, &exchange, &opened, &memory, &changes, &signing,
    );
    let edge = Edge {
        identity: files::follow_identity(config, world, &metrics)?,
        trust,
        clock: Arc::clone(&world.clock),
        random: Arc::clone(&world.random),
        observer: Arc::clone(&metrics) as _,
    };
    let bound = bind(config, &edge)?;
    let addresses = bound
        .iter()
        .map(|listener| listener.address().clone())
        .collect();
    let ops = Ops::bind(config.ops.address).await;
    let ops = ops.with_context(|| format!("operations cannot listen on {}", config.ops.address))?;

    metrics.follow_log(opened.log.stats());
    upkeep::announce(config, world, &opened.log).await;
    upkeep::start(
        world,
        upkeep::Subjects {
            exchange,
            signing,
            store: Arc::clone(&opened.store),
            policies: Arc::clone(&memory.policies),
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
        },
    );
    let running = Running {
        addresses,
        ops: ops.address(),
        readiness: readiness.clone(),
    };
    serve(world, bound, routes, ops, metrics, readiness);
    Ok(running)
}

async fn open(config: &Config, world: &World) -> anyhow::Result<Opened> {
    files::private_folder(&config.data)?;
    let kek = Kek::from_file(&config.keys.seal_key_file)?;
    let hot = Arc::<HotSet>::default();
    let (clock, random) = (Arc::clone(&world.clock), Arc::clone(&world.random));
    let store = EmbeddedStore::open(
        &config.store_file(),
        Arc::clone(&clock),
        Arc::clone(&random),
    )?;
    let folder = config.log_directory();
    let disk = Disk::open(&folder, limits::LOG_RESERVE_BYTES);
    let disk = Arc::new(disk.with_context(|| format!("the log's folder {}", folder.display()))?);
    let origin = format!("{}/{}", config.issuer, config.node);
    let options = Options {
        segment_bytes: config.log.segment_bytes,
        segment_age: config.log.segment_age,
        ..Options::default()
    };
    let (log, recovered) = Log::open(
        disk.clone(),
        &origin,
        Arc::clone(&hot),
        Arc::clone(&clock),
        random,
        options,
    )?;
    let mark = recovered.mark.max(mark::kept(&store).await?);
    let guard = Arc::new(TimeGuard::new(clock, mark));
    report(&recovered);
    recovery::bring_up(
        &store,
        disk,
        &log,
        &recovered,
        &guard,
        world.accept_rollback,
    )
    .await?;
    Ok(Opened {
        store: Arc::new(store),
        log,
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

async fn remember(config: &Config, world: &World, opened: &Opened) -> anyhow::Result<Memory> {
    let issuer: Arc<str> = config.issuer.as_str().into();
    let keys = Arc::new(Keys::new(issuer, Arc::clone(&opened.hot)));
    let audiences = Arc::<Audiences>::default();
    audiences.configure(config.audiences.clone())?;
    let policies = Arc::new(Policies::new().map_err(files::diagnosed)?);
    files::load_policies(&config.policy, &policies)?;
    let policy_admin = Arc::new(PolicyAdmin::new(Arc::clone(&policies)));
    let timing = Timing::new(config.tokens.rotation_age, config.tokens.max_lifetime)?;
    let ring = Arc::new(KeyRing::new(Arc::clone(&opened.kek), timing));
    let followers = state::followers(&keys, &audiences, &policy_admin, &ring, &opened.hot);
    let store: Arc<dyn Store> = opened.store.clone();
    let stop = world.lifecycle.quiet().clone();
    let (replica, task) = Replica::start(store, followers, Arc::clone(&world.clock), stop).await?;
    world.lifecycle.spawn("replica", task);
    Ok(Memory {
        keys,
        audiences,
        policies,
        policy_admin,
        ring,
        replica,
    })
}

fn follow_outbox(world: &World, drain: Drain) {
    let quiet = world.lifecycle.quiet().clone();
    world.lifecycle.spawn("outbox", async move {
        tokio::select! {
            () = drain.run() => {}
            () = quiet.cancelled() => {}
        }
        Ok::<_, anyhow::Error>(())
    });
}

fn signing_admin(
    config: &Config,
    world: &World,
    opened: &Opened,
    memory: &Memory,
    changes: &Arc<Changes>,
) -> anyhow::Result<Arc<SigningAdmin>> {
    let rotation = Rotation::new(
        opened.store.clone(),
        Arc::clone(&opened.kek),
        Arc::clone(&world.random),
        files::algorithm(config.tokens.algorithm),
        Timing::new(config.tokens.rotation_age, config.tokens.max_lifetime)?,
    );
    Ok(Arc::new(SigningAdmin::new(
        rotation,
        Arc::clone(&memory.ring),
        Arc::clone(changes),
    )))
}

fn exchange(
    config: &Config,
    world: &World,
    opened: &Opened,
    memory: &Memory,
    changes: &Arc<Changes>,
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
            Arc::clone(&mint),
            Arc::clone(&opened.hot),
        ),
        audiences: Arc::clone(&memory.audiences),
        keys: Arc::clone(&memory.keys),
        policy: Policy::new(Arc::clone(&memory.policies), settings),
        changes: Arc::clone(changes),
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

/// The routers of each face, to be put together as each listener is configured.
struct Faces {
    grpc: axum::Router,
    http: axum::Router,
    both: axum::Router,
}

fn routes(
    config: &Config,
    world: &World,
    exchange: &Arc<Exchange>,
    opened: &Opened,
    memory: &Memory,
    changes: &Arc<Changes>,
    signing: &Arc<SigningAdmin>,
) -> Faces {
    let administrators = Administrators {
        uids: config.admin.uids.iter().copied().collect(),
        spiffe_ids: config.admin.spiffe_ids.iter().cloned().collect(),
    };
    let gate = Gate {
        exchange: Arc::clone(exchange),
        administrators: Arc::new(administrators),
    };
    let drain = world.lifecycle.shutdown().drain.clone();
    let exchanges = TokenExchangeService::new(Arc::clone(exchange), gate.clone(), drain);
    let inventory = InventoryService {
        gate: gate.clone(),
        keys: Arc::new(KeyAdmin::new(
            Arc::clone(&memory.keys),
            Arc::clone(&memory.audiences),
            Arc::clone(changes),
            config.keys.max_key_life,
        )),
        audiences: Arc::new(AudienceAdmin::new(
            Arc::clone(&memory.audiences),
            Arc::clone(changes),
        )),
        signing: Arc::clone(signing),
        maintenance: Arc::new(maintenance::Node {
            store: Arc::clone(&opened.store),
            guard: Arc::clone(&opened.guard),
            log: opened.log.clone(),
        }),
    };
    let policy = PolicyService {
        gate,
        policies: Arc::clone(&memory.policy_admin),
        changes: Arc::clone(changes),
    };
    let size = config.limits.message_bytes;
    let services = |routes: Routes| {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1();
        let routes = routes.add_service(upkeep::health(&world.lifecycle));
        match reflection {
            Ok(reflection) => routes.add_service(reflection),
            Err(error) => {
                tracing::error!(%error, "reflection is not served");
                routes
            }
        }
    };
    let grpc = services(Routes::new(
        TokenExchangeServer::new(exchanges).max_decoding_message_size(size),
    ))
    .add_service(InventoryServer::new(inventory).max_decoding_message_size(size))
    .add_service(PolicyServer::new(policy).max_decoding_message_size(limits::POLICY_DOCUMENT))
    .prepare()
    .into_axum_router();
    let issuer: Arc<str> = config.issuer.as_str().into();
    let http = http::router(&issuer, Arc::clone(&memory.ring)).fallback(http::not_found);
    let both = grpc
        .clone()
        .merge(http::router(&issuer, Arc::clone(&memory.ring)));
    Faces { grpc, http, both }
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

fn serve(
    world: &World,
    bound: Vec<Listener>,
    faces: Faces,
    ops: Ops,
    metrics: Arc<Metrics>,
    readiness: Readiness,
) {
    let shutdown = world.lifecycle.shutdown();
    for listener in bound {
        let served = listener.config().faces;
        let router = match (served.grpc, served.http) {
            (true, false) => faces.grpc.clone(),
            (false, true) => faces.http.clone(),
            (true, true) | (false, false) => faces.both.clone(),
        };
        let (address, stop) = (listener.address().clone(), shutdown.clone());
        tracing::info!(%address, "listening");
        world.lifecycle.spawn("listener", async move {
            listener.run(router, stop).await;
            Ok::<_, anyhow::Error>(())
        });
    }
    let stop = shutdown.clone();
    tracing::info!(address = %ops.address(), "operations listening");
    world.lifecycle.spawn("operations", async move {
        ops.run(metrics, readiness, stop).await;
        Ok::<_, anyhow::Error>(())
    });
}
