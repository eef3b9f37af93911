//! `TokenExchange.Lease`: a token, then its successor before it lapses.
//!
//! Each token runs every stage anew, so a lease ends with the credential, with the right, and at once with
//! the broker's drain. What the broker cannot do at a moment it tries again until the last token has expired.

use super::convert;
use super::exchange;
use super::status;
use crate::authn::Peer;
use crate::exchange::{Exchange, Times};
use crate::limits;
use crate::marker::{Fence, Part, Thing};
use crate::proto::{ExchangeRequest, LeaseRequest, LeaseResponse};
use crate::refusal::{Denial, Fault};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(super) type LeaseStream = ReceiverStream<Result<LeaseResponse, Status>>;

/// Share of a token's lifetime after which its successor is sent, in percent, lowest and highest: drawn
/// anew for each, so that leases taken together do not renew together.
const RENEW_AT: (u64, u64) = (60, 80);
/// Pause after a failure of ours before the next attempt, while the last token is still good;
/// drawn anew for each, in milliseconds, lowest and highest, since all leases fail at once.
const RETRY: (u64, u64) = (500, 1500);

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
    let (items, stream) = mpsc::channel(limits::UNREAD);
    broker
        .tasks
        .clone()
        .spawn(renew(broker, peer, request, first, items, draining));
    Ok(ReceiverStream::new(stream))
}

/// A token of the lease, and what markers can cover of it.
struct Renewal {
    response: LeaseResponse,
    fence: Fence,
}

async fn renewal(
    broker: &Arc<Exchange>,
    peer: &Arc<Peer>,
    request: &ExchangeRequest,
) -> Result<Renewal, Status> {
    let issued =
        exchange::once(broker, Arc::clone(peer), request.clone(), Times::Repeatedly).await?;
    let mut fence = Fence::clone(issued.fence());
    let (issuer, id) = (broker.mint.issuer(), issued.id().to_string());
    fence.push(Part::absolute(Thing::Token(issuer, &id)));
    let token = convert::issued(&issued);
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
    let response = LeaseResponse {
        token: Some(token),
        successor_by: Some(convert::timestamp(successor_by)),
    };
    Ok(Renewal { response, fence })
}

async fn renew(
    broker: Arc<Exchange>,
    peer: Arc<Peer>,
    request: ExchangeRequest,
    first: Renewal,
    items: mpsc::Sender<Result<LeaseResponse, Status>>,
    draining: CancellationToken,
) {
    let mut next = first;
    let mut markers = broker.authn.markers().subscribe();
    loop {
        let Renewal { response, fence } = next;
        let wait = until(&broker, response.successor_by.as_ref());
        let lapse = until(
            &broker,
            response
                .token
                .as_ref()
                .and_then(|token| token.expires_at.as_ref()),
        );
        let lapse = Instant::now().checked_add(lapse);
        tokio::select! {
            sent = items.send(Ok(response)) => match sent {
                Ok(()) => {}
                Err(_gone) => return,
            },
            // A caller that does not read keeps nobody from stopping.
            () = draining.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            part = revoked(&broker, &mut markers, &fence) => return withdraw(&items, &part).await,
            () = items.closed() => return,
            () = draining.cancelled() => return end(&items),
        }
        next = loop {
            match renewal(&broker, &peer, &request).await {
                Ok(response) => break response,
                // Ours to overcome, as long as the caller is there and has a token that is good.
                Err(status) if is_ours(&status) && lapse.is_some_and(|at| Instant::now() < at) => {
                    let pause = Duration::from_millis(broker.between(RETRY.0, RETRY.1));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        part = revoked(&broker, &mut markers, &fence) => {
                            return withdraw(&items, &part).await;
                        }
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

/// Tells the caller what took the right away: its credential may be good all the same.
async fn withdraw(items: &mpsc::Sender<Result<LeaseResponse, Status>>, part: &Part) {
    // Nobody is there to be told where this fails.
    let _ = items.send(Err(status::withdrawn(part.kind))).await;
}

/// Ends when a marker covers any of it.
async fn revoked(broker: &Exchange, markers: &mut watch::Receiver<()>, fence: &Fence) -> Part {
    loop {
        if let Some(part) = broker.authn.markers().covered(fence) {
            return part;
        }
        if markers.changed().await.is_err() {
            // The set is as it will stay.
            std::future::pending::<()>().await;
        }
    }
}

/// Tells the caller to come again elsewhere.
fn end(items: &mpsc::Sender<Result<LeaseResponse, Status>>) {
    let denial = Denial::failed(Fault::Draining, "the broker drains");
    // A caller that is gone, or does not read, needs not be told.
    let _ = items.try_send(Err(denial.into()));
}

/// Whether the broker cannot issue at this moment, or has too much to do: no word on the caller's right.
fn is_ours(status: &Status) -> bool {
    matches!(
        status.code(),
        tonic::Code::Unavailable | tonic::Code::ResourceExhausted
    )
}

fn until(broker: &Exchange, at: Option<&prost_types::Timestamp>) -> Duration {
    let at = at.and_then(|at| convert::instant("at", at).ok());
    let wait = at.map(|by| by.duration_since(broker.guard.wall()));
    wait.and_then(|wait| Duration::try_from(wait).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::{Code, Refusal};

    #[test]
    fn a_lease_outlasts_what_is_no_word_on_the_callers_right() {
        for code in Code::ALL {
            let status = Status::from(Refusal::new(*code, "why"));
            assert_eq!(is_ours(&status), *code == Code::TooBusy, "{code:?}");
        }
        for fault in Fault::ALL {
            let status = Status::from(Denial::failed(*fault, "why"));
            let is_word = matches!(fault, Fault::Internal | Fault::LogChanged);
            assert_eq!(is_ours(&status), !is_word, "{fault:?}");
        }
    }
}
