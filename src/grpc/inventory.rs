//! `cambist.v1.Inventory`.

mod key;
mod keys;
mod signing;

use super::page::Page;
use super::{Gate, audience, convert, precondition};
use crate::administration::{
    AudienceAdmin, KeyAdmin, Maintenance, Revocable, RevocationAdmin, SigningAdmin,
};
use crate::id::Audience;
use crate::inventory::KeyState;
use crate::leak::Desk;
use crate::proto::inventory_server::Inventory;
use crate::proto::{self as pb};
use crate::refusal::Refusal;
use std::path::Path;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves administration.
#[derive(Debug)]
pub struct InventoryService {
    /// Who may.
    pub gate: Gate,
    /// API keys.
    pub keys: Arc<KeyAdmin>,
    /// Ends them.
    pub revocations: Arc<RevocationAdmin>,
    /// Those that leaked.
    pub leaks: Arc<Desk>,
    /// Audiences.
    pub audiences: Arc<AudienceAdmin>,
    /// Signing keys.
    pub signing: Arc<SigningAdmin>,
    /// Backup and the clock.
    pub maintenance: Arc<dyn Maintenance>,
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Inventory for InventoryService {
    async fn create_key(
        &self,
        request: Request<pb::CreateKeyRequest>,
    ) -> Reply<pb::CreateKeyResponse> {
        let author = self.gate.author(&request)?;
        let pb::CreateKeyRequest {
            spec,
            idempotency_key,
        } = request.into_inner();
        let on = precondition(&idempotency_key, 0)?;
        let spec = key::spec(spec)?;
        let written = self.keys.create(spec, &author, &on).await?;
        let (key, secret) = self.delivered(written).await?;
        Ok(Response::new(pb::CreateKeyResponse {
            key,
            already_delivered: secret.is_empty(),
            secret,
        }))
    }

    async fn get_key(&self, request: Request<pb::GetKeyRequest>) -> Reply<pb::GetKeyResponse> {
        self.gate.author(&request)?;
        let pb::GetKeyRequest { id } = request.into_inner();
        let entry = self.keys.found(&keys::id(&id)?)?;
        Ok(Response::new(pb::GetKeyResponse {
            key: Some(self.described(&entry).await?),
        }))
    }

    async fn list_keys(
        &self,
        request: Request<pb::ListKeysRequest>,
    ) -> Reply<pb::ListKeysResponse> {
        self.gate.author(&request)?;
        self.listed(request.into_inner()).await.map(Response::new)
    }

    async fn rotate_key(
        &self,
        request: Request<pb::RotateKeyRequest>,
    ) -> Reply<pb::RotateKeyResponse> {
        let author = self.gate.author(&request)?;
        self.rotated(request.into_inner(), &author)
            .await
            .map(Response::new)
    }

    async fn suspend_key(
        &self,
        request: Request<pb::SuspendKeyRequest>,
    ) -> Reply<pb::SuspendKeyResponse> {
        let author = self.gate.author(&request)?;
        let pb::SuspendKeyRequest {
            id,
            reason,
            idempotency_key,
            expected_revision,
        } = request.into_inner();
        let on = precondition(&idempotency_key, expected_revision)?;
        let key = self
            .moved(&id, KeyState::Suspended, &reason, &author, &on)
            .await?;
        Ok(Response::new(pb::SuspendKeyResponse { key: Some(key) }))
    }

    async fn resume_key(
        &self,
        request: Request<pb::ResumeKeyRequest>,
    ) -> Reply<pb::ResumeKeyResponse> {
        let author = self.gate.author(&request)?;
        let pb::ResumeKeyRequest {
            id,
            reason,
            idempotency_key,
            expected_revision,
        } = request.into_inner();
        let on = precondition(&idempotency_key, expected_revision)?;
        let key = self
            .moved(&id, KeyState::Active, &reason, &author, &on)
            .await?;
        Ok(Response::new(pb::ResumeKeyResponse { key: Some(key) }))
    }

    async fn revoke_key(
        &self,
        request: Request<pb::RevokeKeyRequest>,
    ) -> Reply<pb::RevokeKeyResponse> {
        let author = self.gate.author(&request)?;
        self.revoked(request.into_inner(), &author)
            .await
            .map(Response::new)
    }

    async fn report_leak(
        &self,
        request: Request<pb::ReportLeakRequest>,
    ) -> Reply<pb::ReportLeakResponse> {
        let author = self.gate.author(&request)?;
        self.leaked(request.into_inner(), &author)
            .await
            .map(Response::new)
    }

    async fn put_audience(
        &self,
        request: Request<pb::PutAudienceRequest>,
    ) -> Reply<pb::PutAudienceResponse> {
        let author = self.gate.author(&request)?;
        let pb::PutAudienceRequest {
            audience: message,
            idempotency_key,
            expected_revision,
        } = request.into_inner();
        let on = precondition(&idempotency_key, expected_revision)?;
        let message = message.ok_or_else(|| convert::invalid("audience", "missing"))?;
        let spec = audience::spec(message)?;
        let entry = self.audiences.put(spec, &author, &on).await?;
        Ok(Response::new(pb::PutAudienceResponse {
            audience: Some(audience::message(&entry)),
        }))
    }

    async fn get_audience(
        &self,
        request: Request<pb::GetAudienceRequest>,
    ) -> Reply<pb::GetAudienceResponse> {
        self.gate.author(&request)?;
        let pb::GetAudienceRequest { name } = request.into_inner();
        let entry = self.audiences.found(&audience_name(&name)?)?;
        Ok(Response::new(pb::GetAudienceResponse {
            audience: Some(audience::message(&entry)),
        }))
    }

    async fn list_audiences(
        &self,
        request: Request<pb::ListAudiencesRequest>,
    ) -> Reply<pb::ListAudiencesResponse> {
        self.gate.author(&request)?;
        let pb::ListAudiencesRequest {
            page_size,
            page_token,
        } = request.into_inner();
        let mut page = Page::new(page_size, &page_token)?;
        let after = page.after.as_deref().map(audience_name).transpose()?;
        for entry in self.audiences.audiences().list(after.as_ref()) {
            if !page.add(entry.spec.name.as_str(), audience::message(&entry)) {
                break;
            }
        }
        let (audiences, next_page_token) = page.done();
        Ok(Response::new(pb::ListAudiencesResponse {
            audiences,
            next_page_token,
        }))
    }

    async fn delete_audience(
        &self,
        request: Request<pb::DeleteAudienceRequest>,
    ) -> Reply<pb::DeleteAudienceResponse> {
        let author = self.gate.author(&request)?;
        let pb::DeleteAudienceRequest {
            name,
            idempotency_key,
            expected_revision,
        } = request.into_inner();
        let on = precondition(&idempotency_key, expected_revision)?;
        self.audiences
            .delete(&audience_name(&name)?, &author, &on)
            .await?;
        Ok(Response::new(pb::DeleteAudienceResponse {}))
    }

    async fn list_signing_keys(
        &self,
        request: Request<pb::ListSigningKeysRequest>,
    ) -> Reply<pb::ListSigningKeysResponse> {
        self.gate.author(&request)?;
        // The ring holds a handful of keys; one page holds them all.
        let pb::ListSigningKeysRequest {
            page_size: _,
            page_token: _,
        } = request.into_inner();
        Ok(Response::new(pb::ListSigningKeysResponse {
            keys: self.ring(),
            next_page_token: String::new(),
        }))
    }

    async fn rotate_signing_key(
        &self,
        request: Request<pb::RotateSigningKeyRequest>,
    ) -> Reply<pb::RotateSigningKeyResponse> {
        let author = self.gate.author(&request)?;
        let pb::RotateSigningKeyRequest {
            compromised,
            reason,
            idempotency_key,
        } = request.into_inner();
        let on = precondition(&idempotency_key, 0)?;
        let compromised = signing::compromised(&compromised)?;
        convert::reason(&reason)?;
        let durable = match compromised {
            Some(id) => {
                let what = Revocable::SigningKey(id);
                let revoked = self.revocations.revoke(&what, &reason, &author, &on);
                revoked.await?.revision.is_some()
            }
            None => {
                self.signing.rotate(None, &reason, &author, &on).await?;
                true
            }
        };
        Ok(Response::new(pb::RotateSigningKeyResponse {
            keys: self.ring(),
            durable,
        }))
    }

    async fn backup(&self, request: Request<pb::BackupRequest>) -> Reply<pb::BackupResponse> {
        let author = self.gate.author(&request)?;
        let pb::BackupRequest { path } = request.into_inner();
        let path = Path::new(convert::open("path", &path)?);
        let copied = self.maintenance.backup(path, &author).await?;
        Ok(Response::new(pb::BackupResponse {
            revision: copied.revision.to_string(),
            bytes: copied.bytes,
        }))
    }

    async fn confirm_clock(
        &self,
        request: Request<pb::ConfirmClockRequest>,
    ) -> Reply<pb::ConfirmClockResponse> {
        let author = self.gate.author(&request)?;
        let now = self.maintenance.confirm_clock(&author).await?;
        Ok(Response::new(pb::ConfirmClockResponse {
            now: Some(convert::timestamp(now)),
        }))
    }
}

fn audience_name(text: &str) -> Result<Audience, Refusal> {
    convert::audience("name", text)
}
