//! A layer for servers: no request passes without a good token.

mod answer;
mod caller;
mod credentials;
#[cfg(test)]
mod tests;

pub use caller::{Caller, PeerCertificate};

use super::access_token::AccessToken;
use super::dpop::Spent;
use super::guard::Guard;
use super::staleness::Staleness;
use super::verifier::Presenter;
use crate::id::ScopeSet;
use answer::Refusal;
use caller::Find;
use credentials::Scheme;
use http::request::Parts;
use http::{Extensions, Request, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::server::NamedService;
use tower::Service;

/// Lets requests through that bring a good token, `Authorization: Bearer …` (RFC 6750 section 2.1), and puts its claims,
/// [`Arc<AccessToken>`], into their extensions. For servers of gRPC (tonic) and of HTTP (axum, tower).
///
/// Others are answered here, with `WWW-Authenticate` where a token would help (RFC 6750 section 3):
///
/// | HTTP | gRPC | when |
/// |---|---|---|
/// | 400, `invalid_request` | `UNAUTHENTICATED` | it is not one token: two headers, two tokens in one, or none after the scheme |
/// | 401, `invalid_token` | `UNAUTHENTICATED` | the token is not accepted |
/// | 401 | `UNAUTHENTICATED` | there is no token, of any scheme that is taken here |
/// | 403, `insufficient_scope` | `PERMISSION_DENIED` | the token is good and lacks a scope: [`Layer::scopes`] |
/// | 503, and `Retry-After` | `UNAVAILABLE` | it cannot be known at the moment whether the token is good |
///
/// A token that is bound to a certificate (RFC 8705) passes from the connection that proved it. On a tonic server that ends
/// TLS itself it is found; elsewhere the server puts [`PeerCertificate`] into the extensions of its requests, or
/// [`Layer::caller`] finds it.
///
/// Where the guard has [`super::Proofs`], a token that is bound to a key passes with a proof of it: `Authorization: DPoP …` and
/// `DPoP: …` (RFC 9449 section 7.1), the proof for the URL of the request, for gRPC that of the method by POST. As a bearer
/// token it is refused (section 7.2), and so is with a proof what is not bound to its key. Answers say
/// `WWW-Authenticate: DPoP …` then, with `error="invalid_dpop_proof"` if it is the proof that is refused, and the algorithms.
/// Scopes are looked at last: a request that lacks one has spent its proof.
///
/// A request is checked once, when it comes: a stream that is open goes on after its token has expired or was revoked. Who
/// serves long ones checks the token again from time to time, with [`Guard::check_now`], and ends the stream when it is
/// refused.
///
/// A layer may be within another, as `Router::route_layer` of axum puts it with more scopes: each checks all of it, and with
/// one guard, or one [`super::Proofs`], the proof of a request is spent once.
#[derive(Clone, Debug)]
pub struct Layer(Arc<Settings>);

#[derive(Clone, Debug)]
struct Settings {
    guard: Guard,
    staleness: Staleness,
    scopes: ScopeSet,
    caller: Find,
}

impl Layer {
    /// A layer that asks `guard`, whose knowledge of revocations must be as fresh as this.
    #[must_use]
    pub fn new(guard: Guard, staleness: Staleness) -> Self {
        Self(Arc::new(Settings {
            guard,
            staleness,
            scopes: ScopeSet::default(),
            caller: Find::default(),
        }))
    }

    /// Lets only tokens with all of these scopes through.
    #[must_use]
    pub fn scopes(self, scopes: ScopeSet) -> Self {
        self.with(|settings| settings.scopes = scopes)
    }

    /// Finds what the caller proved in another way, from the extensions of its request.
    #[must_use]
    pub fn caller(self, find: impl Fn(&Extensions) -> Caller + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.caller = Find::by(find))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl Settings {
    async fn check(&self, request: &Parts) -> Result<(Arc<AccessToken>, Option<Spent>), Refusal> {
        let known = Scheme::known(self.guard.proofs().is_some());
        let (scheme, token) = credentials::token(&request.headers, known)?;
        let caller = self.caller.find(&request.extensions);
        let presenter = match scheme {
            Scheme::Bearer => caller.presenter(),
            // Without proofs there is no such scheme here.
            Scheme::Dpop => {
                let proofs = self.guard.proofs().ok_or(Refusal::Nothing)?;
                Presenter::Proof(proofs.shown(request))
            }
        };
        let passed = self.guard.pass(token, presenter, self.staleness).await;
        let (token, spent) = passed.map_err(|error| Refusal::Token(scheme, error))?;
        if self.scopes.is_subset(&token.scopes) {
            Ok((token, spent))
        } else {
            Err(Refusal::Scope(scheme))
        }
    }
}

impl<S> tower::Layer<S> for Layer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            settings: Arc::clone(&self.0),
        }
    }
}

/// The service that [`Layer`] makes.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    settings: Arc<Settings>,
}

/// It is known by the same name as what it guards.
impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled ready makes the call; its clone waits for the next.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            // Whatever stands there came from before the check.
            parts.extensions.remove::<Arc<AccessToken>>();
            match settings.check(&parts).await {
                Ok((token, spent)) => {
                    parts.extensions.insert(token);
                    // For a layer further in, which checks the same request.
                    if let Some(spent) = spent {
                        parts.extensions.insert(spent);
                    }
                    ready.call(Request::from_parts(parts, body)).await
                }
                Err(refusal) => Ok(refusal.answer(&parts.headers, &settings)),
            }
        })
    }
}
