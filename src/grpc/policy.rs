//! `cambist.v1.Policy`.

use super::page::Page;
use super::{Gate, convert, precondition};
use crate::administration::{Changes, PolicyAdmin};
use crate::id::Label;
use crate::policy::{self, Diagnostic, Origin};
use crate::proto::policy_server::Policy;
use crate::proto::{self as pb};
use crate::refusal::{Denial, Fault, Refusal};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves policy administration.
#[derive(Debug)]
pub struct PolicyService {
    /// Who may.
    pub gate: Gate,
    /// The documents.
    pub policies: Arc<PolicyAdmin>,
    /// How changes are made.
    pub changes: Arc<Changes>,
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Policy for PolicyService {
    async fn check_policies(
        &self,
        request: Request<pb::CheckPoliciesRequest>,
    ) -> Reply<pb::CheckPoliciesResponse> {
        self.gate.author(&request)?;
        let pb::CheckPoliciesRequest { text } = request.into_inner();
        // A long text takes its time: not the time of those whose tokens are exchanged on this thread.
        let check = move || convert::open("text", &text).map(policy::check);
        let checked = tokio::task::spawn_blocking(check)
            .await
            .map_err(|error| Denial::failed(Fault::Internal, error.to_string()))??;
        Ok(Response::new(pb::CheckPoliciesResponse {
            valid: checked.is_valid(),
            policies: checked.policies.try_into().unwrap_or(u32::MAX),
            diagnostics: checked.findings.into_iter().map(Into::into).collect(),
        }))
    }

    async fn put_policies(
        &self,
        request: Request<pb::PutPoliciesRequest>,
    ) -> Reply<pb::PutPoliciesResponse> {
        let author = self.gate.author(&request)?;
        let pb::PutPoliciesRequest {
            name,
            text,
            idempotency_key,
            expected_revision,
        } = request.into_inner();
        let on = precondition(&idempotency_key, expected_revision)?;
        let label = document_name(&name)?;
        convert::open("text", &text)?;
        let loaded = self
            .policies
            .put(&self.changes, &label, &text, &author, &on)
            .await?;
        let revision = self.policies.revision(&name).unwrap_or_default();
        Ok(Response::new(pb::PutPoliciesResponse {
            document: Some(pb::PolicyDocument {
                name,
                text,
                from_configuration: false,
                revision,
            }),
            policy_revision: self.policies.policies().revision().to_string(),
            warnings: loaded.warnings.into_iter().map(Into::into).collect(),
        }))
    }

    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Reply<pb::ListPoliciesResponse> {
        self.gate.author(&request)?;
        let pb::ListPoliciesRequest {
            page_size,
            page_token,
        } = request.into_inner();
        let mut page = Page::new(page_size, &page_token)?;
        let mut documents = self.policies.policies().documents();
        documents.sort_by(|a, b| a.name.cmp(&b.name));
        let after = page.after.clone().unwrap_or_default();
        documents.retain(|document| *document.name > *after);
        for document in documents {
            let message = pb::PolicyDocument {
                revision: self.policies.revision(&document.name).unwrap_or_default(),
                from_configuration: document.origin == Origin::Configuration,
                name: document.name.to_string(),
                text: document.text.to_string(),
            };
            if !page.add(&document.name, message) {
                break;
            }
        }
        let (documents, next_page_token) = page.done();
        Ok(Response::new(pb::ListPoliciesResponse {
            documents,
            next_page_token,
            policy_revision: self.policies.policies().revision().to_string(),
        }))
    }

    async fn delete_policies(
        &self,
        request: Request<pb::DeletePoliciesRequest>,
    ) -> Reply<pb::DeletePoliciesResponse> {
        let author = self.gate.author(&request)?;
        let pb::DeletePoliciesRequest {
            name,
            idempotency_key,
            expected_revision,
        } = request.into_inner();
        let on = precondition(&idempotency_key, expected_revision)?;
        let label = document_name(&name)?;
        self.policies
            .delete(&self.changes, &label, &author, &on)
            .await?;
        let policy_revision = self.policies.policies().revision().to_string();
        Ok(Response::new(pb::DeletePoliciesResponse {
            policy_revision,
        }))
    }
}

fn document_name(text: &str) -> Result<Label, Refusal> {
    let name = convert::open("name", text)?;
    Label::parse(name).map_err(|error| convert::invalid("name", error))
}

impl From<Diagnostic> for pb::PolicyDiagnostic {
    fn from(found: Diagnostic) -> Self {
        let Diagnostic {
            document: _,
            policy,
            line,
            column,
            message,
            help,
            warning,
        } = found;
        Self {
            policy,
            line,
            column,
            message,
            help,
            warning,
        }
    }
}
