//! `Revocation`: what is no longer good, said, undone, followed and asked.

mod watch;
mod wire;

pub use watch::watched;
pub use wire::Wire;

use super::Gate;
use crate::proto as pb;
use crate::proto::revocation_server::Revocation;
use crate::revocation::Feed;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct RevocationService {
    /// Who may.
    pub gate: Gate,
    /// What watchers follow.
    pub feed: Feed,
}

#[tonic::async_trait]
impl Revocation for RevocationService {
    type WatchStream = watch::WatchStream;

    async fn revoke(
        &self,
        _request: Request<pb::RevokeRequest>,
    ) -> Result<Response<pb::RevokeResponse>, Status> {
        Err(Status::unimplemented("to come in this branch"))
    }

    async fn reinstate(
        &self,
        _request: Request<pb::ReinstateRequest>,
    ) -> Result<Response<pb::ReinstateResponse>, Status> {
        Err(Status::unimplemented("to come in this branch"))
    }

    async fn list_markers(
        &self,
        _request: Request<pb::ListMarkersRequest>,
    ) -> Result<Response<pb::ListMarkersResponse>, Status> {
        Err(Status::unimplemented("to come in this branch"))
    }

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        watch::open(self, &request)
    }

    async fn check(
        &self,
        _request: Request<pb::CheckRequest>,
    ) -> Result<Response<pb::CheckResponse>, Status> {
        Err(Status::unimplemented("to come in this branch"))
    }
}
