//! `Revocation`: what is no longer good, said, undone, followed and asked.

mod check;
mod revoke;
mod watch;
mod wire;

pub use watch::watched;
pub use wire::Wire;

use super::page::Page;
use super::{Gate, convert, precondition};
use crate::administration::RevocationAdmin;
use crate::audit::Reading;
use crate::marker::{MarkerId, Second};
use crate::proto as pb;
use crate::proto::revocation_server::Revocation;
use crate::revocation::{Feed, StoredMarker};
use crate::store::Key;
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
            marker: Some(marker(&stored)),
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

impl RevocationService {
    async fn listed(
        &self,
        request: &pb::ListMarkersRequest,
    ) -> Result<pb::ListMarkersResponse, Status> {
        let mut page = Page::new(request.page_size, &request.page_token)?;
        let now = Second::of(self.gate.exchange.guard.wall());
        let malformed = |_| convert::invalid("page_token", "not one that this call gave out");
        let after = page.after.as_deref().map(Key::new).transpose();
        let mut after = after.map_err(malformed)?;
        let mut more = true;
        while more {
            let (entries, is_more) = self.revocations.stored(after).await?;
            after = entries.last().map(|last| last.key.clone());
            more = is_more && after.is_some();
            for entry in entries {
                let stored = match StoredMarker::read(&entry) {
                    Ok(stored) => stored,
                    Err(error) => {
                        tracing::error!(%error, "a marker is not listed");
                        continue;
                    }
                };
                let is_in_force = !stored.is_reinstated() && stored.marker.cover.until >= now;
                let is_wanted = request.all || is_in_force;
                if is_wanted && !page.add(entry.key.as_str(), marker(&stored)) {
                    more = false;
                    break;
                }
            }
        }
        let (markers, next_page_token) = page.done();
        Ok(pb::ListMarkersResponse {
            markers,
            next_page_token,
        })
    }
}

fn marker(stored: &StoredMarker) -> pb::Marker {
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
    }
}
