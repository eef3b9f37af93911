//! `Revocation`, of which only `Watch` answers: what stand-ins of the broker have in common.

use cambist::proto::revocation_server::Revocation;
use cambist::proto::{
    CheckRequest, CheckResponse, ListMarkersRequest, ListMarkersResponse, ReinstateRequest,
    ReinstateResponse, RevokeRequest, RevokeResponse, WatchRequest, WatchResponse,
};
use std::pin::Pin;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// What is told to one who watches.
pub(crate) type Told = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

/// Tells those who watch.
pub(crate) trait Tells: Send + Sync + 'static {
    /// Somebody wants to watch.
    fn watched(&self, request: WatchRequest) -> Result<Told, Status>;
}

/// The service.
#[derive(Clone)]
pub(crate) struct OnlyWatched<T>(pub(crate) T);

fn unanswered<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this can only be watched"))
}

#[tonic::async_trait]
impl<T: Tells> Revocation for OnlyWatched<T> {
    type WatchStream = Told;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Told>, Status> {
        self.0.watched(request.into_inner()).map(Response::new)
    }

    async fn revoke(&self, _: Request<RevokeRequest>) -> Result<Response<RevokeResponse>, Status> {
        unanswered()
    }

    async fn reinstate(
        &self,
        _: Request<ReinstateRequest>,
    ) -> Result<Response<ReinstateResponse>, Status> {
        unanswered()
    }

    async fn list_markers(
        &self,
        _: Request<ListMarkersRequest>,
    ) -> Result<Response<ListMarkersResponse>, Status> {
        unanswered()
    }

    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        unanswered()
    }
}
