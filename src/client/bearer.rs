//! Puts the token on calls.

use super::{Error, Tokens};
use http::header::AUTHORIZATION;
use http::{Request, Response};
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::{Code, Status};
use tower::{Layer, Service};

/// Puts `authorization: Bearer <token>` on each call of a channel, in place of any that is there. The
/// first call waits for the first token; a call without a token is not made.
#[derive(Clone, Debug)]
pub struct BearerLayer(Tokens);

impl BearerLayer {
    /// A layer for a channel to the audience that `tokens` are for.
    #[must_use]
    pub fn new(tokens: Tokens) -> Self {
        Self(tokens)
    }
}

impl<S> Layer<S> for BearerLayer {
    type Service = Bearer<S>;

    fn layer(&self, inner: S) -> Bearer<S> {
        Bearer {
            inner,
            tokens: self.0.clone(),
        }
    }
}

/// The service that [`BearerLayer`] makes.
#[derive(Clone, Debug)]
pub struct Bearer<S> {
    inner: S,
    tokens: Tokens,
}

impl<S, B, R> Service<Request<B>> for Bearer<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<R>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was polled ready makes the call; its clone waits for the next.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let tokens = self.tokens.clone();
        Box::pin(async move {
            let token = tokens.token().await.map_err(status)?;
            request
                .headers_mut()
                .insert(AUTHORIZATION, token.header().clone());
            ready.call(request).await.map_err(Into::into)
        })
    }
}

/// What the call's maker sees: that no credential could be had, and why.
fn status(error: Error) -> Box<dyn StdError + Send + Sync> {
    let code = match &error {
        Error::Unreachable(_)
        | Error::Lost(_)
        | Error::Certificate(_)
        | Error::Tls(_)
        | Error::Fault { .. }
        | Error::Protocol(_) => Code::Unavailable,
        Error::Refused { .. } if error.is_transient() => Code::Unavailable,
        Error::Refused { .. } => Code::Unauthenticated,
        Error::Invalid(_) | Error::File { .. } | Error::Unimplemented => Code::FailedPrecondition,
        Error::Closed => Code::Cancelled,
    };
    let mut status = Status::new(code, format!("no token for this call: {error}"));
    status.set_source(Arc::new(error));
    Box::new(status)
}
