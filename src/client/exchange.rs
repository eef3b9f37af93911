//! One exchange: a credential and an ask become a token.

use super::{Error, Source, Token};
use crate::id::{Audience, ScopeSet};
use crate::limits;
use crate::proto::token_exchange_client::TokenExchangeClient;
use crate::proto::{self, Binding};
use std::time::Duration;
use tonic::transport::Channel;

/// What the holder of a credential wants.
#[derive(Clone, Debug)]
pub struct Ask {
    audience: Audience,
    scopes: ScopeSet,
    lifetime: Option<Duration>,
    bound: bool,
    actor: Option<Source>,
}

impl Ask {
    /// A token for one audience, with what the credential has there.
    #[must_use]
    pub fn new(audience: Audience) -> Self {
        Self {
            audience,
            scopes: ScopeSet::default(),
            lifetime: None,
            bound: false,
            actor: None,
        }
    }

    /// Only these scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: ScopeSet) -> Self {
        self.scopes = scopes;
        self
    }

    /// At most this long; the broker shortens it to its ceilings.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Bound to the client certificate, or refused.
    #[must_use]
    pub fn bound(mut self) -> Self {
        self.bound = true;
        self
    }

    /// With another party acting for the subject (RFC 8693 section 1.1).
    #[must_use]
    pub fn with_actor(mut self, actor: Source) -> Self {
        self.actor = Some(actor);
        self
    }

    /// The request, with the credentials as they are now.
    pub(super) async fn request(&self, source: &Source) -> Result<proto::ExchangeRequest, Error> {
        let actor = match &self.actor {
            Some(actor) => Some(actor.present().await?),
            None => None,
        };
        let lifetime = self
            .lifetime
            .map(prost_types::Duration::try_from)
            .transpose()
            .map_err(|_| Error::Invalid("the lifetime is out of range".into()))?;
        Ok(proto::ExchangeRequest {
            subject: Some(source.present().await?),
            actor,
            audience: self.audience.to_string(),
            scopes: self.scopes.iter().map(ToString::to_string).collect(),
            lifetime,
            binding: if self.bound {
                Binding::Required.into()
            } else {
                Binding::Unspecified.into()
            },
            may_act: String::new(),
        })
    }
}

/// A client of the service, with the bounds that hold for every call.
pub(super) fn stub(channel: Channel) -> TokenExchangeClient<Channel> {
    TokenExchangeClient::new(channel).max_decoding_message_size(limits::ANSWER)
}

/// Exchanges once.
///
/// # Errors
/// [`Error`]; nothing is tried again.
pub async fn exchange(channel: Channel, source: &Source, ask: &Ask) -> Result<Token, Error> {
    let request = ask.request(source).await?;
    let mut stub = stub(channel);
    let call = stub.exchange(request);
    match tokio::time::timeout(limits::CLIENT_CALL, call).await {
        Ok(answer) => Token::try_from(answer?.into_inner()),
        Err(_) => Err(no_answer()),
    }
}

pub(super) fn no_answer() -> Error {
    let limit = limits::CLIENT_CALL.as_secs();
    Error::Unreachable(format!("no answer within {limit} seconds").into())
}
