//! The services of each face, and the listeners that serve them.

use super::open::{Memory, Opened};
use super::{Acts, World, leaks, maintenance, upkeep};
use crate::administration::AudienceAdmin;
use crate::audit::Reading;
use crate::authn::Administrators;
use crate::config::Config;
use crate::exchange::Exchange;
use crate::grpc::{
    AuditService, Gate, InventoryService, OnRecord, PolicyService, RevocationService,
    TokenExchangeService, watched,
};
use crate::leak::Desk;
use crate::listener::{Listener, until_drain};
use crate::proto::audit_server::AuditServer;
use crate::proto::inventory_server::InventoryServer;
use crate::proto::policy_server::PolicyServer;
use crate::proto::revocation_server::RevocationServer;
use crate::proto::token_exchange_server::TokenExchangeServer;
use crate::telemetry::ops::Ops;
use crate::telemetry::{Metrics, Readiness};
use crate::{http, limits, proto};
use std::sync::Arc;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{LayerExt as _, Routes};
use tower::util::{MapRequestLayer, MapResponseLayer};

/// The routers of each face, to be put together as each listener is configured.
pub(super) struct Faces {
    pub(super) grpc: axum::Router,
    pub(super) http: axum::Router,
    pub(super) both: axum::Router,
}

pub(super) fn routes(
    config: &Config,
    world: &World,
    exchange: &Arc<Exchange>,
    opened: &Opened,
    memory: &Memory,
    acts: &Acts,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Faces> {
    let administrators = Administrators {
        uids: config.admin.uids.iter().copied().collect(),
        spiffe_ids: config.admin.spiffe_ids.iter().cloned().collect(),
        explain: config.admin.explain.iter().cloned().collect(),
        readers: config
            .log
            .readers
            .iter()
            .map(|reader| (reader.spiffe_id.clone(), reader.sight.clone()))
            .collect(),
    };
    let administrators = Arc::new(administrators);
    let gate = Gate {
        exchange: Arc::clone(exchange),
        administrators: Arc::clone(&administrators),
    };
    let drain = world.lifecycle.shutdown().drain.clone();
    let exchanges = TokenExchangeService::new(Arc::clone(exchange), gate.clone(), drain);
    let desk = Arc::new(Desk::new(
        Arc::clone(&acts.revocations),
        Arc::clone(metrics) as _,
    ));
    let inventory = InventoryService {
        gate: gate.clone(),
        keys: Arc::clone(&acts.keys),
        revocations: Arc::clone(&acts.revocations),
        leaks: Arc::clone(&desk),
        audiences: Arc::new(AudienceAdmin::new(
            Arc::clone(&memory.audiences),
            Arc::clone(&acts.changes),
        )),
        signing: Arc::clone(&acts.signing),
        maintenance: Arc::new(maintenance::Node {
            data: config.data.clone(),
            store: Arc::clone(&opened.store),
            guard: Arc::clone(&opened.guard),
            log: opened.log.clone(),
        }),
    };
    let audit = AuditService {
        gate: gate.clone(),
        reading: Reading::new(
            opened.log.clone(),
            Arc::clone(&opened.disk) as _,
            Arc::clone(&opened.publisher),
        ),
        draining: world.lifecycle.shutdown().drain.clone(),
    };
    let revocation = RevocationService {
        gate: gate.clone(),
        revocations: Arc::clone(&acts.revocations),
        reading: audit.reading.clone(),
        feed: memory.feed.clone(),
    };
    let doorkeeper = gate.doorkeeper();
    let told = OnRecord::new(Arc::clone(exchange));
    let policy = PolicyService {
        gate,
        policies: Arc::clone(&memory.policy_admin),
        changes: Arc::clone(&acts.changes),
    };
    let size = config.limits.message_bytes;
    let drain = world.lifecycle.shutdown().drain.clone();
    let conversations = MapRequestLayer::new(move |request| until_drain(request, &drain));
    let services = |routes: Routes| {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map(|service| service.max_decoding_message_size(limits::STANDARD_MESSAGE));
        let routes = routes.add_service(upkeep::health(&world.lifecycle));
        match reflection {
            Ok(reflection) => routes.add_service(conversations.named_layer(reflection)),
            Err(error) => {
                tracing::error!(%error, "reflection is not served");
                routes
            }
        }
    };
    let grpc = services(Routes::new(
        TokenExchangeServer::new(exchanges).max_decoding_message_size(size),
    ))
    .add_service(told.named_layer(AuditServer::new(audit).max_decoding_message_size(size)))
    .add_service(MapResponseLayer::new(watched).named_layer(
        told.named_layer(RevocationServer::new(revocation).max_decoding_message_size(size)),
    ))
    .add_service(told.named_layer(InterceptedService::new(
        InventoryServer::new(inventory).max_decoding_message_size(size),
        doorkeeper.clone(),
    )))
    .add_service(told.named_layer(InterceptedService::new(
        PolicyServer::new(policy).max_decoding_message_size(limits::POLICY_DOCUMENT),
        doorkeeper,
    )))
    .prepare()
    .into_axum_router()
    // As the routes of the issuer, which are merged into these, have it.
    .without_v07_checks();
    let issuer: Arc<str> = config.issuer.as_str().into();
    let log = http::LogFace::new(
        Arc::clone(exchange),
        administrators,
        Arc::clone(&opened.publisher),
        config.log.public,
    );
    let mut published = http::router(&issuer, Arc::clone(&memory.ring)).merge(log.router(&issuer));
    if let Some(reporters) = leaks::reporters(&config.leak, &world.clock)? {
        let reports = http::LeakFace::new(Arc::clone(exchange), desk, reporters);
        published = published.merge(reports.router(&issuer));
    }
    let http = published.clone().fallback(http::not_found);
    let both = grpc
        .clone()
        .merge(published)
        // gRPC's own answer would tell browsers and probes 200. Its clients read 404 as "unimplemented".
        .fallback(http::not_found);
    Ok(Faces { grpc, http, both })
}

pub(super) fn serve(
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
