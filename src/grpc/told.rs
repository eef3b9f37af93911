//! What is refused by the methods of administration, of reading and of watching is on the record, whichever refuses it.
//!
//! An administrator who is told that there is no such key, or that somebody else was first, may have mistyped; somebody who has
//! an administrator's certificate and goes looking for what there is reads the same from outside. So each is recorded: who,
//! from where, by which method, and the code. What was asked for is not, since it may be anything that somebody pasted.

use super::{context, status};
use crate::authn::Peer;
use crate::exchange::Exchange;
use crate::refusal::{Code, Refusal};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::codegen::{Service, http};
use tower::Layer;

/// Puts what a service refuses on the record.
#[derive(Clone, Debug)]
pub struct OnRecord {
    exchange: Arc<Exchange>,
}

impl OnRecord {
    /// On the record of this exchange.
    #[must_use]
    pub fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange }
    }
}

impl<S> Layer<S> for OnRecord {
    type Service = Told<S>;

    fn layer(&self, inner: S) -> Told<S> {
        let exchange = Arc::clone(&self.exchange);
        Told { inner, exchange }
    }
}

/// A service whose refusals are recorded.
#[derive(Clone, Debug)]
pub struct Told<S> {
    inner: S,
    exchange: Arc<Exchange>,
}

impl<S, B, R> Service<http::Request<B>> for Told<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Arc<Peer>>().cloned();
        let method = request.uri().path().to_owned();
        let exchange = Arc::clone(&self.exchange);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            let status = response.extensions().get::<Status>();
            if let (Some(peer), Some(refusal)) = (peer, status.and_then(status::untold)) {
                record(&exchange, peer, refusal.code(), method);
            }
            Ok(response)
        })
    }
}

/// The path is one of ours: no other has a method that refuses anything.
pub(super) fn record(exchange: &Exchange, peer: Arc<Peer>, code: Code, method: String) {
    let context = context(peer, None);
    match code {
        // A record of each would be more of what there is too much of.
        Code::TooBusy => exchange.turned_away(code, &context),
        _ => exchange.refused(&Refusal::new(code, method), &context),
    }
}
