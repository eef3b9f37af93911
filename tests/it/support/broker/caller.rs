//! A caller of the broker, by the generated client, and what is said to it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cambist::clock::{Clock as _, SystemClock};
use cambist::proto::token_exchange_client::TokenExchangeClient;
use cambist::proto::{
    Audience, Credential, ExchangeRequest, ExchangeResponse, KeySpec, PeerCertificate, Token,
    credential,
};
use prost_types::Timestamp;
use serde_json::Value;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) TokenExchangeClient<Channel>);

impl Caller {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(TokenExchangeClient::new(channel))
    }

    pub(crate) async fn exchange(
        &self,
        request: ExchangeRequest,
    ) -> Result<ExchangeResponse, Status> {
        let mut client = self.0.clone();
        client
            .exchange(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// The reply, which must be a token.
    #[track_caller]
    pub(crate) fn yes(&self, request: ExchangeRequest) -> impl Future<Output = ExchangeResponse> {
        let at = std::panic::Location::caller();
        let answer = self.clone();
        async move {
            let answer = answer.exchange(request).await;
            answer.unwrap_or_else(|status| panic!("{at}: {}: {status:?}", refusal(&status)))
        }
    }

    /// The code of the refusal, which it must be.
    #[track_caller]
    pub(crate) fn no(&self, request: ExchangeRequest) -> impl Future<Output = String> {
        let at = std::panic::Location::caller();
        let caller = self.clone();
        async move {
            match caller.exchange(request).await {
                Err(status) => refusal(&status),
                Ok(reply) => panic!("{at}: a token: {}", claims(&reply.access_token)),
            }
        }
    }
}

pub(crate) fn api_key(text: &str) -> Credential {
    Credential {
        kind: Some(credential::Kind::ApiKey(text.into())),
    }
}

pub(crate) fn token(value: &str) -> Credential {
    let token = Token {
        value: value.into(),
        r#type: String::new(),
    };
    Credential {
        kind: Some(credential::Kind::Token(token)),
    }
}

pub(crate) fn peer() -> Credential {
    Credential {
        kind: Some(credential::Kind::PeerCertificate(PeerCertificate {})),
    }
}

pub(crate) fn ask(subject: Credential, audience: &str) -> ExchangeRequest {
    ExchangeRequest {
        subject: Some(subject),
        audience: audience.into(),
        ..ExchangeRequest::default()
    }
}

/// `subject` for `audience`, with somebody who acts.
pub(crate) fn delegated(subject: Credential, actor: Credential, audience: &str) -> ExchangeRequest {
    ExchangeRequest {
        actor: Some(actor),
        ..ask(subject, audience)
    }
}

/// The stable code in a status; empty where there is none.
pub(crate) fn refusal(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.filter(|info| info.domain == "cambist")
        .map(|info| info.reason)
        .unwrap_or_default()
}

/// Everything that a caller gets to see of a refusal.
pub(crate) fn reply(status: &Status) -> (tonic::Code, String, Vec<u8>, Vec<String>) {
    let mut headers: Vec<_> = status
        .metadata()
        .clone()
        .into_headers()
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    let message = status.message().to_owned();
    (status.code(), message, status.details().to_vec(), headers)
}

/// What a token says, unverified: strangers verify it elsewhere.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A key of `team-shop` for a day.
pub(crate) fn spec(audiences: &[&str], scopes: &[&str]) -> KeySpec {
    KeySpec {
        owner: "team-shop".into(),
        purpose: "tests".into(),
        audiences: audiences.iter().copied().map(str::to_owned).collect(),
        scopes: scopes.iter().copied().map(str::to_owned).collect(),
        expires_at: Some(from_now(86_400)),
        ..KeySpec::default()
    }
}

/// An audience that is not in the configuration.
pub(crate) fn audience(name: &str) -> Audience {
    Audience {
        name: name.into(),
        owner: "team-press".into(),
        scopes: vec!["print".into()],
        ..Audience::default()
    }
}

/// An instant some seconds ahead.
pub(crate) fn from_now(seconds: i64) -> Timestamp {
    Timestamp {
        seconds: SystemClock::shared().now().as_second() + seconds,
        nanos: 0,
    }
}
