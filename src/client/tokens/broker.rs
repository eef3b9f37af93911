//! The broker as the background work sees it.

use super::{Ask, Endpoint, Error, Source, Token};
use crate::client::exchange::{no_answer, stub};
use crate::client::material::Digest;
use crate::client::token::timestamp;
use crate::limits;
use crate::proto;
use std::future::Future;
use std::time::Duration;
use tonic::Streaming;
use tonic::transport::Channel;

/// Gives tokens.
pub(super) trait Broker: Send + Sync + 'static {
    /// A stream of tokens, each before the last one lapses.
    type Lease: Lease;

    /// One token.
    fn exchange(&self) -> impl Future<Output = Result<Token, Error>> + Send;

    /// A token and its successors. A refusal may come here or from the lease.
    fn lease(&self) -> impl Future<Output = Result<Self::Lease, Error>> + Send;
}

/// A stream of tokens.
pub(super) trait Lease: Send {
    /// The next token; none when the broker ends the lease without a word.
    fn next(&mut self) -> impl Future<Output = Result<Option<Delivery>, Error>> + Send;

    /// Whether a new lease would present something else than this one does.
    fn is_outdated(&self) -> impl Future<Output = bool> + Send;
}

/// What a lease delivers.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) token: Token,
    /// The token's age at which the successor will have come, where the broker says so.
    pub(super) successor_age: Option<Duration>,
}

/// The real one. Each attempt is a new connection: the files may have been rotated since the last.
#[derive(Debug)]
pub(super) struct Remote {
    endpoint: Endpoint,
    source: Source,
    ask: Ask,
}

impl Remote {
    pub(super) fn new(endpoint: Endpoint, source: Source, ask: Ask) -> Self {
        Self {
            endpoint,
            source,
            ask,
        }
    }
}

impl Broker for Remote {
    type Lease = RemoteLease;

    async fn exchange(&self) -> Result<Token, Error> {
        let channel: Channel = self.endpoint.connect().await?.channel;
        crate::client::exchange(channel, &self.source, &self.ask).await
    }

    async fn lease(&self) -> Result<RemoteLease, Error> {
        let connected = self.endpoint.connect().await?;
        let request = self.ask.request(&self.source).await?;
        let lease = proto::LeaseRequest {
            exchange: Some(request.clone()),
        };
        let mut stub = stub(connected.channel);
        let opening = stub.lease(lease);
        match tokio::time::timeout(limits::CLIENT_CALL, opening).await {
            Ok(answer) => Ok(RemoteLease {
                stream: answer?.into_inner(),
                digest: connected.digest,
                request,
                endpoint: self.endpoint.clone(),
                source: self.source.clone(),
                ask: self.ask.clone(),
            }),
            Err(_) => Err(no_answer()),
        }
    }
}

/// A lease over the network, and what it was opened with.
pub(super) struct RemoteLease {
    stream: Streaming<proto::LeaseResponse>,
    digest: Option<Digest>,
    request: proto::ExchangeRequest,
    endpoint: Endpoint,
    source: Source,
    ask: Ask,
}

impl Lease for RemoteLease {
    async fn next(&mut self) -> Result<Option<Delivery>, Error> {
        let Some(answer) = self.stream.message().await? else {
            return Ok(None);
        };
        let proto::LeaseResponse {
            token,
            successor_by,
        } = answer;
        let token = token.ok_or_else(|| Error::Protocol("a delivery without a token".into()))?;
        let token = Token::try_from(token)?;
        let successor_age = successor_by
            .map(|time| timestamp(Some(time)))
            .transpose()?
            .and_then(|by| Duration::try_from(token.expires_at().duration_since(by)).ok())
            .and_then(|left| token.lifetime().checked_sub(left));
        Ok(Some(Delivery {
            token,
            successor_age,
        }))
    }

    async fn is_outdated(&self) -> bool {
        // What cannot be read now is no reason to give up a lease that works.
        let rotated = |now: Option<Digest>| now != self.digest;
        self.endpoint.digest().await.is_ok_and(rotated)
            || self
                .ask
                .request(&self.source)
                .await
                .is_ok_and(|request| request != self.request)
    }
}
