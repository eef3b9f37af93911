//! Clients that keep a broker busy, and keep note of everything they were told.

use crate::support::process::Reach;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::clock::{Clock as _, SystemClock};
use cambist::proto::credential::Kind;
use cambist::proto::inventory_client::InventoryClient;
use cambist::proto::token_exchange_client::TokenExchangeClient;
use cambist::proto::{
    CreateKeyRequest, Credential, ExchangeRequest, ExchangeResponse, GetKeyRequest, Key, KeySpec,
    PeerCertificate, RevokeKeyRequest, SuspendKeyRequest, Token,
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

pub(crate) fn exchanges(channel: Channel) -> TokenExchangeClient<Channel> {
    TokenExchangeClient::new(channel)
}

pub(crate) fn inventory(broker: &Reach) -> InventoryClient<Channel> {
    InventoryClient::new(broker.socket())
}

/// An exchange of `kind` for the shop.
pub(crate) fn ask(kind: Kind) -> ExchangeRequest {
    ExchangeRequest {
        subject: Some(Credential { kind: Some(kind) }),
        audience: "shop".to_owned(),
        scopes: vec!["orders:read".to_owned()],
        ..ExchangeRequest::default()
    }
}

pub(crate) fn by_key(secret: &str) -> ExchangeRequest {
    ask(Kind::ApiKey(secret.to_owned()))
}

pub(crate) fn by_certificate() -> ExchangeRequest {
    ask(Kind::PeerCertificate(PeerCertificate {}))
}

pub(crate) fn by_token(token: &str) -> ExchangeRequest {
    ask(Kind::Token(Token {
        value: token.to_owned(),
        r#type: "urn:ietf:params:oauth:token-type:access_token".to_owned(),
    }))
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

/// The stable code of a refusal or a fault.
pub(crate) fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default()
}

/// Exchanges until the broker is gone; tokens go to the ledger. Anything but a token must be in `allowed`.
pub(crate) async fn keep_asking(
    channel: Channel,
    request: ExchangeRequest,
    ledger: Ledger,
    allowed: &'static [&'static str],
) {
    let mut client = exchanges(channel);
    loop {
        match client.exchange(request.clone()).await {
            Ok(answer) => ledger.lock().unwrap().push(received(answer.get_ref())),
            Err(status) if is_gone(&status) => return,
            Err(status) => {
                let reason = reason(&status);
                assert!(allowed.contains(&reason.as_str()), "{reason}: {status:?}");
                // Refused for good: asking on would only measure refusals.
                if reason != "too_busy" {
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
    let expires = now.as_second() + 24 * 60 * 60;
    let spec = KeySpec {
        owner: "team-shop".to_owned(),
        purpose: "load".to_owned(),
        audiences: vec!["shop".to_owned()],
        scopes: vec!["orders:read".to_owned()],
        expires_at: Some(prost_types::Timestamp {
            seconds: expires,
            nanos: 0,
        }),
        uses,
        ..KeySpec::default()
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
