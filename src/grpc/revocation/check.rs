//! `Revocation.Check`: whether a token is good now.

use super::RevocationService;
use crate::authn::OwnClaims;
use crate::grpc::convert::{invalid, timestamp};
use crate::grpc::peer;
use crate::proto as pb;
use crate::secret::Secret;
use subtle::ConstantTimeEq as _;
use tonic::{Request, Status};

impl RevocationService {
    pub(super) fn checked(
        &self,
        request: Request<pb::CheckRequest>,
    ) -> Result<pb::CheckResponse, Status> {
        let peer = peer(&request)?;
        let exchange = &self.gate.exchange;
        let now = exchange.guard.reached();
        let pb::CheckRequest {
            token,
            presenter_certificate_sha256: presenter,
        } = request.into_inner();
        let presenter = match presenter.as_slice() {
            [] => None,
            bytes => Some(
                <[u8; 32]>::try_from(bytes)
                    .map_err(|_| invalid("presenter_certificate_sha256", "not 32 bytes"))?,
            ),
        };
        let administers = self.gate.administrator(&peer);
        // Before anything is verified for it.
        self.gate.watcher(&peer)?;
        let inactive = Ok(pb::CheckResponse::default());
        // Before it is decided: what comes meanwhile is not promised.
        let (revision, as_of) = (exchange.replica.revision(), exchange.replica.as_of());
        let Ok(token) = exchange.authn.introspect(&Secret::new(token), now) else {
            return inactive;
        };
        let claims = token.claims();
        // RFC 7662 section 2.2: of a token that is not the asker's business nothing is told.
        let serves = exchange.authn.serves(&peer, &claims.audience, now);
        if administers.is_err() && serves.is_err() {
            return inactive;
        }
        let is_held = presenter.is_none_or(|presenter| {
            claims
                .bound_to
                .is_none_or(|bound| bound.ct_eq(&presenter).into())
        });
        if !is_held {
            return inactive;
        }
        let mut answer = active(claims);
        answer.revision = revision.to_string();
        answer.as_of = as_of.map(timestamp);
        Ok(answer)
    }
}

fn active(claims: &OwnClaims) -> pb::CheckResponse {
    let actors = std::iter::successors(claims.actor.as_deref(), |actor| actor.previous.as_deref());
    pb::CheckResponse {
        active: true,
        issuer: claims.issuer.to_string(),
        subject: claims.sub.to_string(),
        audience: claims.audience.to_string(),
        client_id: claims.client_id.to_string(),
        scopes: claims.scopes.iter().map(ToString::to_string).collect(),
        token_id: claims.id.to_string(),
        issued_at: Some(timestamp(claims.issued_at)),
        expires_at: Some(timestamp(claims.expires_at)),
        bound_to: claims.bound_to.map(Vec::from).unwrap_or_default(),
        actors: actors.map(|actor| actor.sub.to_string()).collect(),
        revision: String::new(),
        as_of: None,
    }
}
