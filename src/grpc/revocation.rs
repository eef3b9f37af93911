//! `Revocation`: what is no longer good, said, undone, followed and asked.

mod check;
mod list;
mod revoke;
mod watch;
mod wire;

pub use watch::watched;
pub use wire::Wire;

use super::{Gate, convert, precondition};
use crate::administration::RevocationAdmin;
use crate::audit::Reading;
use crate::marker::{MarkerId, Second};
use crate::proto as pb;
use crate::proto::revocation_server::Revocation;
use crate::revocation::{Feed, StoredMarker};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct RevocationService {
    /// Who may.
    pub gate: Gate,
    /// Revokes.
    pub revocations: Arc<RevocationAdmin>,
    /// Says what would be hit.
    pub reading: Reading,
    /// What watchers follow.
    pub feed: Feed,
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Revocation for RevocationService {
    type WatchStream = watch::WatchStream;

    async fn revoke(&self, request: Request<pb::RevokeRequest>) -> Reply<pb::RevokeResponse> {
        self.revoked(request).await.map(Response::new)
    }

    async fn reinstate(
        &self,
        request: Request<pb::ReinstateRequest>,
    ) -> Reply<pb::ReinstateResponse> {
        let author = self.gate.author(&request)?;
        let pb::ReinstateRequest {
            marker_id,
            reason,
            idempotency_key,
        } = request.into_inner();
        let id = MarkerId::parse(convert::open("marker_id", &marker_id)?);
        let id = id.map_err(|error| convert::invalid("marker_id", error))?;
        let on = precondition(&idempotency_key, 0)?;
        let reason = convert::reason(&reason)?;
        let (stored, revision) = self
            .revocations
            .reinstate(&id, reason, &author, &on)
            .await?;
        Ok(Response::new(pb::ReinstateResponse {
            marker: Some(marker(&stored, true)),
            revision: revision.to_string(),
        }))
    }

    async fn list_markers(
        &self,
        request: Request<pb::ListMarkersRequest>,
    ) -> Reply<pb::ListMarkersResponse> {
        self.gate.author(&request)?;
        let request = request.into_inner();
        self.listed(&request).await.map(Response::new)
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
        watch::open(self, &request)
    }

    async fn check(&self, request: Request<pb::CheckRequest>) -> Reply<pb::CheckResponse> {
        self.checked(request).map(Response::new)
    }
}

fn marker(stored: &StoredMarker, is_durable: bool) -> pb::Marker {
    let StoredMarker { marker, told, .. } = stored;
    let cover = marker.cover;
    let before = Some(cover.before).filter(|before| *before != Second::ZERO);
    pb::Marker {
        id: marker.id.to_string(),
        kind: told.kind.clone(),
        thing: told.thing.clone(),
        before: before.and_then(Second::instant).map(convert::timestamp),
        until: cover.until.instant().map(convert::timestamp),
        reason: told.reason.clone(),
        author: told.author.clone(),
        set_at: Some(convert::timestamp(told.at)),
        reinstated: stored.is_reinstated(),
        durable: Some(is_durable),
    }
}
