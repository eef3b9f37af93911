//! A broker's administrative face, kept in memory, for testing what stands before it.

use cambist::proto::inventory_server::{Inventory, InventoryServer};
use cambist::proto::policy_server::{Policy, PolicyServer};
use cambist::proto::token_exchange_server::{TokenExchange, TokenExchangeServer};
use cambist::proto::*;
use cambist::refusal::Code as Refused;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::net::UnixListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Pages are this small whatever is asked for, so that every list has several.
const PAGE: usize = 2;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) keys: BTreeMap<String, Key>,
    pub(crate) audiences: BTreeMap<String, Audience>,
    pub(crate) documents: BTreeMap<String, PolicyDocument>,
    pub(crate) idempotency_keys: Vec<String>,
    /// What the next write is answered with instead.
    pub(crate) next_write: Option<Status>,
    /// Before the next write, the key's revision moves under the caller's feet.
    pub(crate) race: bool,
    /// Every page names itself as the next one.
    pub(crate) endless: bool,
    /// Creates are answered without their key.
    pub(crate) keyless: bool,
    revision: u64,
}

/// Everything that the fake was told, and is to do.
#[derive(Clone, Default)]
pub(crate) struct Admin(pub(crate) Arc<Mutex<State>>);

pub(crate) const SECRET: &str =
    "cmb_0000000000000001_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA000000";

impl Admin {
    /// Serves on a Unix socket in `directory` until the test ends; its address.
    pub(crate) fn serve(&self, directory: &Path) -> String {
        let path: PathBuf = directory.join("cambist.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (streams, incoming) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = streams.send(Ok::<_, std::io::Error>(stream)).await;
            }
        });
        let router = self.router();
        tokio::spawn(async move {
            router
                .serve_with_incoming(ReceiverStream::new(incoming))
                .await
        });
        format!("unix://{}", path.display())
    }

    pub(crate) fn router(&self) -> tonic::transport::server::Router {
        tonic::transport::Server::builder()
            .add_service(InventoryServer::new(self.clone()))
            .add_service(PolicyServer::new(self.clone()))
            .add_service(TokenExchangeServer::new(self.clone()))
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    fn write(&self, idempotency_key: &str) -> Result<std::sync::MutexGuard<'_, State>, Status> {
        let mut state = self.0.lock().unwrap();
        state.idempotency_keys.push(idempotency_key.to_owned());
        match state.next_write.take() {
            Some(status) => Err(status),
            None => Ok(state),
        }
    }

    fn change(
        &self,
        id: &str,
        idempotency_key: &str,
        expected: u64,
        new: &str,
    ) -> Result<Option<Key>, Status> {
        let mut state = self.write(idempotency_key)?;
        let revision = state.next_revision();
        let race = std::mem::take(&mut state.race);
        let key = state.keys.get_mut(id).ok_or_else(not_found)?;
        if race {
            key.revision = revision;
        }
        if expected != 0 && key.revision != expected {
            return Err(refuse(Code::Aborted, Refused::Conflict));
        }
        key.state = new.to_owned();
        key.revision = revision + 1;
        Ok(Some(key.clone()))
    }
}

impl State {
    fn next_revision(&mut self) -> u64 {
        self.revision += 2;
        self.revision
    }

    fn page<T: Clone>(&self, all: &BTreeMap<String, T>, token: &str) -> (Vec<T>, String) {
        let after = |name: &&String| token.is_empty() || name.as_str() > token;
        let names: Vec<&String> = all.keys().filter(after).take(PAGE + 1).collect();
        let next = match names.get(PAGE) {
            _ if self.endless => "again".to_owned(),
            Some(_) => names[PAGE - 1].clone(),
            None => String::new(),
        };
        (
            names
                .iter()
                .take(PAGE)
                .map(|name| all[*name].clone())
                .collect(),
            next,
        )
    }
}

pub(crate) fn refuse(grpc: Code, code: Refused) -> Status {
    let details = ErrorDetails::with_error_info(code.code(), "cambist", HashMap::new());
    Status::with_error_details(grpc, code.text(), details)
}

fn not_found() -> Status {
    refuse(Code::NotFound, Refused::NotFound)
}

fn key_id(number: usize) -> String {
    format!("{number:016}")
}

#[tonic::async_trait]
impl Inventory for Admin {
    async fn create_key(
        &self,
        request: Request<CreateKeyRequest>,
    ) -> Result<Response<CreateKeyResponse>, Status> {
        let request = request.into_inner();
        let repeat = self.with(|state| state.idempotency_keys.contains(&request.idempotency_key));
        let mut state = self.write(&request.idempotency_key)?;
        if repeat {
            return Ok(Response::new(CreateKeyResponse {
                key: state.keys.values().next().cloned(),
                secret: String::new(),
                already_delivered: true,
            }));
        }
        let key = Key {
            id: key_id(state.keys.len() + 1),
            spec: request.spec,
            state: "active".to_owned(),
            revision: state.next_revision(),
            ..Key::default()
        };
        state.keys.insert(key.id.clone(), key.clone());
        Ok(Response::new(CreateKeyResponse {
            key: Some(key).filter(|_| !state.keyless),
            secret: SECRET.to_owned(),
            already_delivered: false,
        }))
    }

    async fn get_key(
        &self,
        request: Request<GetKeyRequest>,
    ) -> Result<Response<GetKeyResponse>, Status> {
        let key = self.with(|state| state.keys.get(&request.into_inner().id).cloned());
        let key = Some(key.ok_or_else(not_found)?);
        Ok(Response::new(GetKeyResponse { key }))
    }

    async fn list_keys(
        &self,
        request: Request<ListKeysRequest>,
    ) -> Result<Response<ListKeysResponse>, Status> {
        let (keys, next_page_token) =
            self.with(|state| state.page(&state.keys, &request.into_inner().page_token));
        Ok(Response::new(ListKeysResponse {
            keys,
            next_page_token,
        }))
    }

    async fn rotate_key(
        &self,
        request: Request<RotateKeyRequest>,
    ) -> Result<Response<RotateKeyResponse>, Status> {
        let request = request.into_inner();
        let old = self.change(
            &request.id,
            &request.idempotency_key,
            request.expected_revision,
            "active",
        )?;
        let mut state = self.0.lock().unwrap();
        let key = Key {
            id: key_id(state.keys.len() + 1),
            ..old.unwrap()
        };
        state.keys.insert(key.id.clone(), key.clone());
        Ok(Response::new(RotateKeyResponse {
            key: Some(key),
            secret: SECRET.to_owned(),
            already_delivered: false,
        }))
    }

    async fn suspend_key(
        &self,
        request: Request<SuspendKeyRequest>,
    ) -> Result<Response<SuspendKeyResponse>, Status> {
        let r = request.into_inner();
        let key = self.change(&r.id, &r.idempotency_key, r.expected_revision, "suspended")?;
        Ok(Response::new(SuspendKeyResponse { key }))
    }

    async fn resume_key(
        &self,
        request: Request<ResumeKeyRequest>,
    ) -> Result<Response<ResumeKeyResponse>, Status> {
        let r = request.into_inner();
        let key = self.change(&r.id, &r.idempotency_key, r.expected_revision, "active")?;
        Ok(Response::new(ResumeKeyResponse { key }))
    }

    async fn revoke_key(
        &self,
        request: Request<RevokeKeyRequest>,
    ) -> Result<Response<RevokeKeyResponse>, Status> {
        let r = request.into_inner();
        let key = self.change(&r.id, &r.idempotency_key, r.expected_revision, "revoked")?;
        let revision = "r-17".to_owned();
        Ok(Response::new(RevokeKeyResponse {
            key,
            revision,
            durable: true,
        }))
    }

    async fn report_leak(
        &self,
        request: Request<ReportLeakRequest>,
    ) -> Result<Response<ReportLeakResponse>, Status> {
        let r = request.into_inner();
        let id = r.secret.get(4..20).unwrap_or_default();
        let key = self.change(id, &r.idempotency_key, 0, "revoked")?;
        Ok(Response::new(ReportLeakResponse {
            key,
            revision: "r-17".to_owned(),
            already_revoked: false,
            durable: true,
        }))
    }

    async fn put_audience(
        &self,
        request: Request<PutAudienceRequest>,
    ) -> Result<Response<PutAudienceResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.write(&request.idempotency_key)?;
        let mut audience = request.audience.unwrap();
        let at = state
            .audiences
            .get(&audience.name)
            .map_or(0, |audience| audience.revision);
        if at != request.expected_revision {
            return Err(refuse(Code::AlreadyExists, Refused::Conflict));
        }
        audience.revision = state.next_revision();
        state
            .audiences
            .insert(audience.name.clone(), audience.clone());
        Ok(Response::new(PutAudienceResponse {
            audience: Some(audience),
        }))
    }

    async fn get_audience(
        &self,
        request: Request<GetAudienceRequest>,
    ) -> Result<Response<GetAudienceResponse>, Status> {
        let audience = self.with(|state| state.audiences.get(&request.into_inner().name).cloned());
        let audience = Some(audience.ok_or_else(not_found)?);
        Ok(Response::new(GetAudienceResponse { audience }))
    }

    async fn list_audiences(
        &self,
        request: Request<ListAudiencesRequest>,
    ) -> Result<Response<ListAudiencesResponse>, Status> {
        let (audiences, next_page_token) =
            self.with(|state| state.page(&state.audiences, &request.into_inner().page_token));
        Ok(Response::new(ListAudiencesResponse {
            audiences,
            next_page_token,
        }))
    }

    async fn delete_audience(
        &self,
        request: Request<DeleteAudienceRequest>,
    ) -> Result<Response<DeleteAudienceResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.write(&request.idempotency_key)?;
        state
            .audiences
            .remove(&request.name)
            .ok_or_else(not_found)?;
        Ok(Response::new(DeleteAudienceResponse {}))
    }

    async fn list_signing_keys(
        &self,
        request: Request<ListSigningKeysRequest>,
    ) -> Result<Response<ListSigningKeysResponse>, Status> {
        let first = request.into_inner().page_token.is_empty();
        let (kid, next_page_token) = if first { ("kid-1", "2") } else { ("kid-2", "") };
        let key = SigningKey {
            kid: kid.to_owned(),
            algorithm: "ES256".to_owned(),
            state: "active".to_owned(),
            ..SigningKey::default()
        };
        Ok(Response::new(ListSigningKeysResponse {
            keys: vec![key],
            next_page_token: next_page_token.to_owned(),
        }))
    }

    async fn rotate_signing_key(
        &self,
        request: Request<RotateSigningKeyRequest>,
    ) -> Result<Response<RotateSigningKeyResponse>, Status> {
        let request = request.into_inner();
        drop(self.write(&request.idempotency_key)?);
        let key = SigningKey {
            kid: request.compromised,
            state: "compromised".to_owned(),
            ..SigningKey::default()
        };
        Ok(Response::new(RotateSigningKeyResponse {
            keys: vec![key],
            durable: true,
        }))
    }

    async fn backup(&self, _: Request<BackupRequest>) -> Result<Response<BackupResponse>, Status> {
        Ok(Response::new(BackupResponse {
            revision: "r-9".to_owned(),
            bytes: 4096,
        }))
    }

    async fn confirm_clock(
        &self,
        _: Request<ConfirmClockRequest>,
    ) -> Result<Response<ConfirmClockResponse>, Status> {
        let now = Some(prost_types::Timestamp {
            seconds: 1_000_000_000,
            nanos: 0,
        });
        Ok(Response::new(ConfirmClockResponse { now }))
    }
}

#[tonic::async_trait]
impl Policy for Admin {
    async fn check_policies(
        &self,
        request: Request<CheckPoliciesRequest>,
    ) -> Result<Response<CheckPoliciesResponse>, Status> {
        let valid = !request.into_inner().text.contains("wrong");
        let diagnostic = PolicyDiagnostic {
            line: 3,
            column: 7,
            message: "no such attribute".to_owned(),
            help: "did you mean `owner`?".to_owned(),
            ..PolicyDiagnostic::default()
        };
        Ok(Response::new(CheckPoliciesResponse {
            valid,
            diagnostics: if valid { vec![] } else { vec![diagnostic] },
            policies: 1,
        }))
    }

    async fn put_policies(
        &self,
        request: Request<PutPoliciesRequest>,
    ) -> Result<Response<PutPoliciesResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.write(&request.idempotency_key)?;
        let at = state
            .documents
            .get(&request.name)
            .map_or(0, |document| document.revision);
        if at != request.expected_revision {
            return Err(refuse(Code::AlreadyExists, Refused::Conflict));
        }
        let document = PolicyDocument {
            name: request.name.clone(),
            text: request.text,
            from_configuration: false,
            revision: state.next_revision(),
        };
        state.documents.insert(request.name, document.clone());
        Ok(Response::new(PutPoliciesResponse {
            document: Some(document),
            policy_revision: "p-1".to_owned(),
            warnings: vec![],
        }))
    }

    async fn list_policies(
        &self,
        request: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesResponse>, Status> {
        let (documents, next_page_token) =
            self.with(|state| state.page(&state.documents, &request.into_inner().page_token));
        Ok(Response::new(ListPoliciesResponse {
            documents,
            next_page_token,
            policy_revision: "p-1".to_owned(),
        }))
    }

    async fn delete_policies(
        &self,
        request: Request<DeletePoliciesRequest>,
    ) -> Result<Response<DeletePoliciesResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.write(&request.idempotency_key)?;
        state
            .documents
            .remove(&request.name)
            .ok_or_else(not_found)?;
        Ok(Response::new(DeletePoliciesResponse {
            policy_revision: "p-2".to_owned(),
        }))
    }
}

#[tonic::async_trait]
impl TokenExchange for Admin {
    async fn exchange(
        &self,
        _: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        Err(Status::unimplemented("administration only"))
    }

    type LeaseStream = tokio_stream::Empty<Result<LeaseResponse, Status>>;

    async fn lease(&self, _: Request<LeaseRequest>) -> Result<Response<Self::LeaseStream>, Status> {
        Err(Status::unimplemented("administration only"))
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let request = request.into_inner();
        let allowed = request.audience == "shop";
        let failed = FailedCondition {
            rule: "shop-only".to_owned(),
            condition: "context.audience == \"shop\"".to_owned(),
        };
        Ok(Response::new(ExplainResponse {
            allowed,
            code: if allowed {
                String::new()
            } else {
                Refused::PolicyDenied.code().to_owned()
            },
            rules: vec!["shop-only".to_owned()],
            failed: if allowed { vec![] } else { vec![failed] },
            lifetime: Some(prost_types::Duration {
                seconds: 900,
                nanos: 0,
            }),
            policy_revision: "p-1".to_owned(),
            ..ExplainResponse::default()
        }))
    }
}
