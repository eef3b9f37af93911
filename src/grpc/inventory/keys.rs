//! Calls on API keys, behind the service's methods.

use super::{InventoryService, key};
use crate::administration::{Author, Leaked, Precondition, Revocable, Sighting, Writing, Written};
use crate::grpc::page::Page;
use crate::grpc::{convert, precondition};
use crate::id::{Audience, KeyPublicId};
use crate::inventory::{KeyEntry, KeyState, Standing};
use crate::limits;
use crate::proto::{self as pb};
use crate::refusal::Refusal;
use crate::secret::Secret;
use std::time::Duration;
use tonic::Status;

pub(super) fn id(text: &str) -> Result<KeyPublicId, Refusal> {
    KeyPublicId::parse(text).map_err(|error| convert::invalid("id", error))
}

impl InventoryService {
    /// A key's message, with what is left of its uses.
    pub(super) async fn described(&self, entry: &KeyEntry) -> Result<pb::Key, Status> {
        let left = self.keys.uses_left(entry).await?;
        Ok(self.message(entry, left))
    }

    /// A written key and its secret, which is empty when it was delivered before.
    pub(super) async fn delivered(
        &self,
        written: Written,
    ) -> Result<(Option<pb::Key>, String), Status> {
        let secret = written
            .secret
            .map(|secret| secret.expose().to_owned())
            .unwrap_or_default();
        Ok((Some(self.written(&written.key).await), secret))
    }

    /// The message of a key that was written. What is done is done: that its uses cannot be counted at this moment does not
    /// make a failure of it, least of all where the answer holds the only copy of a secret.
    async fn written(&self, entry: &KeyEntry) -> pb::Key {
        let left = self.keys.uses_left(entry).await;
        let left = left.unwrap_or_else(|denial| {
            tracing::warn!(code = denial.code(), "the uses of a key cannot be counted");
            entry.key().spec.uses
        });
        self.message(entry, left)
    }

    fn message(&self, entry: &KeyEntry, left: Option<u32>) -> pb::Key {
        let mut message = key::message(entry, left, self.gate.exchange.guard.wall());
        // What is in force counts, and not what is stored.
        if self.revocations.has_ended(entry) {
            message.state = Standing::Revoked.name().to_owned();
        }
        message
    }

    pub(super) async fn listed(
        &self,
        request: pb::ListKeysRequest,
    ) -> Result<pb::ListKeysResponse, Status> {
        let pb::ListKeysRequest {
            page_size,
            page_token,
            owner,
            audience,
            labels,
        } = request;
        let mut page = Page::new(page_size, &page_token)?;
        let after = page.after.as_deref().map(id).transpose()?;
        let labels = key::label_map(labels)?;
        let audience = Some(audience).filter(|audience| !audience.is_empty());
        let audience = audience.map(|name| Audience::parse(&name)).transpose();
        let audience = audience.map_err(|error| convert::invalid("audience", error))?;
        let mut entries = self.keys.keys().list(after);
        entries.retain(|entry| {
            let spec = &entry.key().spec;
            (owner.is_empty() || spec.owner.as_str() == owner)
                && audience
                    .as_ref()
                    .is_none_or(|audience| spec.audiences.contains(audience))
                && labels
                    .iter()
                    .all(|(name, value)| spec.labels.get(name) == Some(value))
        });
        for entry in entries {
            let message = self.described(&entry).await?;
            if !page.add(entry.key().id.as_str(), message) {
                break;
            }
        }
        let (keys, next_page_token) = page.done();
        Ok(pb::ListKeysResponse {
            keys,
            next_page_token,
        })
    }

    pub(super) async fn rotated(
        &self,
        request: pb::RotateKeyRequest,
        author: &Author,
    ) -> Result<pb::RotateKeyResponse, Status> {
        let pb::RotateKeyRequest {
            id: key,
            overlap,
            expires_at,
            idempotency_key,
            expected_revision,
        } = request;
        let on = precondition(&idempotency_key, expected_revision)?;
        let overlap = match overlap {
            None => Duration::ZERO,
            Some(overlap) => Duration::try_from(overlap)
                .map_err(|_| convert::invalid("overlap", "must not be negative"))?,
        };
        let expires = expires_at
            .map(|at| convert::instant("expires_at", &at))
            .transpose()?;
        let written = self
            .keys
            .rotate(&id(&key)?, overlap, expires, author, &on)
            .await?;
        let (key, secret) = self.delivered(written).await?;
        Ok(pb::RotateKeyResponse {
            key,
            already_delivered: secret.is_empty(),
            secret,
        })
    }

    /// Suspends or resumes a key.
    pub(super) async fn moved(
        &self,
        key: &str,
        state: KeyState,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<pb::Key, Status> {
        convert::reason(reason)?;
        let written = self
            .keys
            .set_state(&id(key)?, state, reason, author, on)
            .await?;
        Ok(self.written(&written.key).await)
    }

    /// Revokes a key.
    pub(super) async fn revoked(
        &self,
        request: pb::RevokeKeyRequest,
        author: &Author,
    ) -> Result<pb::RevokeKeyResponse, Status> {
        let pb::RevokeKeyRequest {
            id: key,
            reason,
            idempotency_key,
            expected_revision,
        } = request;
        let on = precondition(&idempotency_key, expected_revision)?;
        let (id, reason) = (id(&key)?, convert::reason(&reason)?);
        let what = Revocable::ApiKey(id);
        let revoked = self.revocations.revoke(&what, reason, author, &on).await?;
        let entry = self.keys.found(&id)?;
        Ok(pb::RevokeKeyResponse {
            key: Some(self.written(&entry).await),
            durable: revoked.revision.is_some(),
            revision: revoked
                .revision
                .map(|at| at.to_string())
                .unwrap_or_default(),
        })
    }

    /// Revokes a key by its text.
    pub(super) async fn leaked(
        &self,
        request: pb::ReportLeakRequest,
        author: &Author,
    ) -> Result<pb::ReportLeakResponse, Status> {
        let pb::ReportLeakRequest {
            secret,
            url,
            reason,
            idempotency_key,
        } = request;
        let secret = Secret::new(secret);
        let on = precondition(&idempotency_key, 0)?;
        if url.len() > limits::LEAK_PLACE {
            let problem = format!("longer than {} bytes", limits::LEAK_PLACE);
            return Err(convert::invalid("url", problem).into());
        }
        let sighting = Sighting {
            url: convert::open("url", &url)?.to_owned(),
            source: String::new(),
            reason: convert::reason(&reason)?.to_owned(),
        };
        let first = Writing::First;
        let report = self.leaks.report(&secret, &sighting, author, &on, first);
        let told = report.await?;
        let already_revoked = matches!(told, Leaked::Before(_));
        let (entry, revision) = match told {
            Leaked::Revoked(entry, revision) => (entry, revision),
            Leaked::Before(entry) => (entry, None),
            Leaked::WrongSecret => return Err(convert::not_ours(true).into()),
            Leaked::Unknown => return Err(convert::not_ours(false).into()),
        };
        Ok(pb::ReportLeakResponse {
            key: Some(self.written(&entry).await),
            already_revoked,
            durable: already_revoked || revision.is_some(),
            revision: revision.map(|at| at.to_string()).unwrap_or_default(),
        })
    }
}
