//! Clients that keep a broker busy, and keep note of everything they were told.

use crate::support::broker::{Caller, api_key, ask, peer, refusal, spec, token};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::clock::{Clock as _, SystemClock};
use cambist::proto::inventory_client::InventoryClient;
use cambist::proto::{
    CreateKeyRequest, ExchangeRequest, ExchangeResponse, GetKeyRequest, Key, KeySpec,
    RevokeKeyRequest, SuspendKeyRequest,
};
use jiff::Timestamp;
use std::sync::{Arc, Mutex};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A token as its receiver knows it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) jti: String,
    pub(crate) sha256: String,
    pub(crate) credential: String,
    pub(crate) index: u64,
}

/// Everything that any client received.
pub(crate) type Ledger = Arc<Mutex<Vec<Received>>>;

pub(crate) fn by_key(secret: &str) -> ExchangeRequest {
    ask(api_key(secret), "shop")
}

pub(crate) fn by_certificate() -> ExchangeRequest {
    ask(peer(), "shop")
}

pub(crate) fn by_token(value: &str) -> ExchangeRequest {
    ask(token(value), "shop")
}

pub(crate) fn received(answer: &ExchangeResponse) -> Received {
    let hash = digest(&SHA256, answer.access_token.as_bytes());
    Received {
        jti: answer.token_id.clone(),
        sha256: URL_SAFE_NO_PAD.encode(hash),
        credential: answer.credential_id.clone(),
        index: answer.receipt.as_ref().unwrap().index,
    }
}

/// Exchanges until the broker is gone; tokens go to the ledger. Anything but a token must be in `allowed`.
pub(crate) async fn keep_asking(
    caller: Caller,
    request: ExchangeRequest,
    ledger: Ledger,
    allowed: &'static [&'static str],
) {
    loop {
        match caller.exchange(request.clone()).await {
            Ok(answer) => ledger.lock().unwrap().push(received(&answer)),
            Err(status) if is_gone(&status) => return,
            Err(status) => {
                let code = refusal(&status);
                assert!(allowed.contains(&code.as_str()), "{code}: {status:?}");
                // Refused for good: asking on would only measure refusals.
                if code != "too_busy" {
                    return;
                }
            }
        }
    }
}

/// Whether the connection broke, and not the broker said no.
pub(crate) fn is_gone(status: &Status) -> bool {
    status.get_details_error_info().is_none()
        && matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
        )
}

/// A key for the shop: its public id and its secret.
pub(crate) async fn create(
    client: &mut InventoryClient<Channel>,
    uses: u32,
) -> Result<(String, String), Status> {
    create_at(client, uses, SystemClock::shared().now()).await
}

/// The same for a broker whose clock says `now`.
pub(crate) async fn create_at(
    client: &mut InventoryClient<Channel>,
    uses: u32,
    now: Timestamp,
) -> Result<(String, String), Status> {
    let spec = KeySpec {
        expires_at: Some(prost_types::Timestamp {
            seconds: now.as_second() + 24 * 60 * 60,
            nanos: 0,
        }),
        uses,
        ..spec(&["shop"], &["orders:read"])
    };
    let request = CreateKeyRequest {
        spec: Some(spec),
        idempotency_key: String::new(),
    };
    let made = client.create_key(request).await?.into_inner();
    Ok((made.key.unwrap().id, made.secret))
}

pub(crate) async fn revoke(client: &mut InventoryClient<Channel>, id: &str) -> Result<(), Status> {
    let request = RevokeKeyRequest {
        id: id.to_owned(),
        reason: "leaked".to_owned(),
        ..RevokeKeyRequest::default()
    };
    client.revoke_key(request).await.map(drop)
}

pub(crate) async fn suspend(client: &mut InventoryClient<Channel>, id: &str) -> Result<(), Status> {
    let request = SuspendKeyRequest {
        id: id.to_owned(),
        reason: "odd".to_owned(),
        ..SuspendKeyRequest::default()
    };
    client.suspend_key(request).await.map(drop)
}

pub(crate) async fn key(client: &mut InventoryClient<Channel>, id: &str) -> Result<Key, Status> {
    let request = GetKeyRequest { id: id.to_owned() };
    Ok(client.get_key(request).await?.into_inner().key.unwrap())
}
