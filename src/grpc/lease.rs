//! `TokenExchange.Lease`: a token, then its successor before it lapses.
//!
//! Each token runs every stage anew, so a lease ends with the credential, with the right, and at once with
//! the broker's drain.

use super::convert;
use super::exchange;
use crate::authn::Peer;
use crate::exchange::{Exchange, Times};
use crate::proto::{ExchangeRequest, LeaseRequest, LeaseResponse};
use crate::refusal::{Denial, Fault};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(super) type LeaseStream = ReceiverStream<Result<LeaseResponse, Status>>;

/// Share of a token's lifetime after which its successor is sent, in percent, lowest and highest: drawn
/// anew for each, so that leases taken together do not renew together.
const RENEW_AT: (u64, u64) = (60, 80);
/// Pause after a failure of ours before the next attempt, while the last token is still good.
const RETRY: Duration = Duration::from_secs(1);

/// Items that wait for a caller who reads slowly: a token, and the word why there will be none after it.
const UNREAD: usize = 2;

pub(super) async fn open(
    broker: Arc<Exchange>,
    peer: Arc<Peer>,
    request: LeaseRequest,
    draining: CancellationToken,
) -> Result<LeaseStream, Status> {
    let LeaseRequest { exchange: request } = request;
    let missing = || convert::invalid("exchange", "missing");
    let request = request.ok_or_else(missing)?;
    // The first refusal is the call's own answer, not an item of the stream.
    let first = renewal(&broker, &peer, &request).await?;
    let (items, stream) = mpsc::channel(UNREAD);
    broker
        .tasks
        .clone()
        .spawn(renew(broker, peer, request, first, items, draining));
    Ok(ReceiverStream::new(stream))
}

async fn renewal(
    broker: &Arc<Exchange>,
    peer: &Arc<Peer>,
    request: &ExchangeRequest,
) -> Result<LeaseResponse, Status> {
    let token =
        exchange::once(broker, Arc::clone(peer), request.clone(), Times::Repeatedly).await?;
    let lifetime = SignedDuration::from_secs(token.expires_in.into());
    let share = i32::try_from(broker.between(RENEW_AT.0, RENEW_AT.1)).unwrap_or(1);
    let wait = lifetime
        .checked_mul(share)
        .map_or(lifetime, |part| part / 100);
    let successor_by = broker
        .guard
        .wall()
        .saturating_add(wait)
        .unwrap_or(Timestamp::MAX);
    Ok(LeaseResponse {
        token: Some(token),
        successor_by: Some(convert::timestamp(successor_by)),
    })
}

async fn renew(
    broker: Arc<Exchange>,
    peer: Arc<Peer>,
    request: ExchangeRequest,
    first: LeaseResponse,
    items: mpsc::Sender<Result<LeaseResponse, Status>>,
    draining: CancellationToken,
) {
    let mut next = first;
    loop {
        let wait = until(&broker, &next);
        tokio::select! {
            sent = items.send(Ok(next)) => match sent {
                Ok(()) => {}
                Err(_gone) => return,
            },
            // A caller that does not read keeps nobody from stopping.
            () = draining.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = items.closed() => return,
            () = draining.cancelled() => return end(&items),
        }
        next = loop {
            match renewal(&broker, &peer, &request).await {
                Ok(response) => break response,
                // Ours to overcome, as long as the caller is there.
                Err(status) if status.code() == tonic::Code::Unavailable => {
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        () = items.closed() => return,
                        () = draining.cancelled() => return end(&items),
                    }
                }
                Err(status) => {
                    let _ = items.send(Err(status)).await;
                    return;
                }
            }
        };
    }
}

/// Tells the caller to come again elsewhere.
fn end(items: &mpsc::Sender<Result<LeaseResponse, Status>>) {
    let denial = Denial::failed(Fault::Draining, "the broker drains");
    // A caller that is gone, or does not read, needs not be told.
    let _ = items.try_send(Err(denial.into()));
}

fn until(broker: &Exchange, response: &LeaseResponse) -> Duration {
    let by = response
        .successor_by
        .as_ref()
        .and_then(|by| convert::instant("successor_by", by).ok());
    let wait = by.map(|by| by.duration_since(broker.guard.wall()));
    wait.and_then(|wait| Duration::try_from(wait).ok())
        .unwrap_or_default()
}
