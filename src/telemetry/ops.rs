//! The operations listener: `/metrics`, `/healthz`, `/readyz`. Plain HTTP, on loopback unless configured.

use super::{Metrics, NotReady, Readiness};
use crate::listener::{Shutdown, serve_plain};
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// `OpenMetrics` 1.0, section "Overall structure".
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A bound operations listener.
#[derive(Debug)]
pub struct Ops {
    listener: TcpListener,
    address: SocketAddr,
}

#[derive(Clone)]
struct Shown {
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

#[derive(Serialize)]
struct Answer {
    ready: bool,
    reasons: Vec<NotReady>,
}

impl Ops {
    /// Binds at once.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens in fact.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown.drain`.
    pub async fn run(self, metrics: Arc<Metrics>, readiness: Readiness, shutdown: Shutdown) {
        serve_plain(self.listener, router(metrics, readiness), shutdown).await;
    }
}

fn router(metrics: Arc<Metrics>, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(show_readiness))
        .with_state(Shown { metrics, readiness })
}

async fn show_metrics(State(shown): State<Shown>) -> impl IntoResponse {
    match shown.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn show_readiness(State(shown): State<Shown>) -> impl IntoResponse {
    let reasons = shown.readiness.reasons();
    let ready = reasons.is_empty();
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Answer { ready, reasons }))
}
