//! The background work: the only one that asks the broker, so there is never more than one request.

use super::broker::{Broker, Delivery, Lease};
use super::state::State;
use super::{Error, Token};
use crate::client::renewal::{self, Backoff};
use crate::clock::Random;
use crate::refusal::Code;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// Grace for a lease's successor after the time that the broker named.
const GRACE: Duration = Duration::from_secs(5);

pub(super) struct Task<B> {
    broker: B,
    state: Arc<State>,
    random: Arc<dyn Random>,
    leasing: bool,
    backoff: Backoff,
    /// When the token at hand is due for renewal (monotonic).
    due: Duration,
}

/// How a lease ended.
enum Ended {
    /// It never began, and one exchange may do instead.
    NotOffered,
    /// It delivered, and was given up, closed or broken.
    AfterDelivery(Option<Error>),
    /// It never began.
    Failed(Error),
}

impl<B: Broker> Task<B> {
    pub(super) fn new(broker: B, state: Arc<State>, random: Arc<dyn Random>) -> Self {
        Self {
            broker,
            state,
            random,
            leasing: true,
            backoff: Backoff::default(),
            due: Duration::ZERO,
        }
    }

    /// Renews until it is dropped.
    pub(super) async fn run(mut self) {
        self.state.wanted().await;
        loop {
            match self.attempt().await {
                Ok(()) => self.rest(Duration::ZERO).await,
                Err(error) => {
                    tracing::warn!(%error, "no new token");
                    let draw = renewal::draw(&*self.random);
                    let wait = self.backoff.after(&error, draw);
                    self.state.fail(error);
                    self.rest(wait).await;
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<(), Error> {
        if self.leasing {
            match self.lease().await {
                Ended::AfterDelivery(None) => return Ok(()),
                Ended::AfterDelivery(Some(error)) | Ended::Failed(error) => return Err(error),
                Ended::NotOffered => {
                    self.exchange().await?;
                    self.leasing = false;
                    return Ok(());
                }
            }
        }
        self.exchange().await
    }

    async fn exchange(&mut self) -> Result<(), Error> {
        let asked = self.state.elapsed();
        let token = self.broker.exchange().await?;
        self.accept(token, asked);
        Ok(())
    }

    async fn lease(&mut self) -> Ended {
        let asked = self.state.elapsed();
        let opened = async {
            let mut lease = self.broker.lease().await?;
            let first = tokio::time::timeout(crate::limits::CLIENT_CALL, lease.next())
                .await
                .unwrap_or_else(|_| Err(crate::client::exchange::no_answer()))?;
            let first =
                first.ok_or_else(|| Error::Protocol("a lease that delivers nothing".into()))?;
            Ok((lease, first))
        };
        match opened.await {
            Ok((lease, first)) => Ended::AfterDelivery(self.hold(lease, first, asked).await.err()),
            Err(error) if one_exchange_may_do(&error) => Ended::NotOffered,
            Err(error) => Ended::Failed(error),
        }
    }

    /// Takes what the lease delivers until it ends, breaks, is overdue or outdated.
    async fn hold(
        &mut self,
        mut lease: B::Lease,
        mut delivery: Delivery,
        mut since: Duration,
    ) -> Result<(), Error> {
        loop {
            let lifetime = delivery.token.lifetime();
            let patience = overdue_after(lifetime, delivery.successor_age);
            self.accept(delivery.token, since);
            if lease.is_outdated().await {
                tracing::debug!(
                    "the credential was rotated: the next token comes from a new lease"
                );
                return Ok(());
            }
            let next = tokio::select! {
                next = tokio::time::timeout(patience, lease.next()) => next,
                // The token lapsed while this machine slept.
                () = self.state.wanted() => return Ok(()),
            };
            delivery = match next {
                Ok(Ok(Some(delivery))) => delivery,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => {
                    // So it ends where what it delivered last is revoked; there may be another at once.
                    if error.refusal() == Some(Code::Revoked) {
                        self.discard();
                    }
                    return Err(error);
                }
                Err(_) => return Err(Error::Unreachable("the lease is overdue".into())),
            };
            since = self.state.elapsed();
        }
    }

    fn accept(&mut self, token: Token, since: Duration) {
        tracing::debug!(token = %token.id(), expires_at = %token.expires_at(), "new token");
        let lapses = self.state.accept(token, since);
        let draw = renewal::draw(&*self.random);
        let age = renewal::renewal_age(lapses.saturating_sub(since), draw);
        self.due = since.saturating_add(age);
        self.backoff.reset();
    }

    /// The token at hand is no longer good: another is due.
    fn discard(&mut self) {
        self.state.discard();
        self.due = Duration::ZERO;
    }

    /// Until the token at hand is due, and at least for `wait`; shorter only where it lapses unawares.
    ///
    /// A lease that broke is thus not opened again at once: all that a restarting broker had would be.
    async fn rest(&self, wait: Duration) {
        let wait = wait.max(self.due.saturating_sub(self.state.elapsed()));
        let mut sleep = pin!(tokio::time::sleep(wait));
        if self.state.current().is_none() {
            sleep.await;
            return;
        }
        tokio::select! {
            () = &mut sleep => (),
            () = self.state.wanted() => (),
        }
    }
}

/// A broker without leases, or one that refuses them for what a single exchange is granted for
/// (credentials of finite use). Codes that would refuse the exchange alike are not asked twice.
fn one_exchange_may_do(error: &Error) -> bool {
    match error {
        Error::Unimplemented => true,
        Error::Refused { .. } if error.is_refusal() => match error.refusal() {
            Some(code) => matches!(
                code,
                Code::CombinationNotAllowed | Code::InvalidRequest | Code::PolicyDenied
            ),
            None => true,
        },
        _ => false,
    }
}

/// How long to wait for a lease's successor: what the broker says and some grace, but never so long
/// that nothing would be left for another attempt.
fn overdue_after(lifetime: Duration, successor_age: Option<Duration>) -> Duration {
    let latest = renewal::share(lifetime, renewal::OVERDUE);
    successor_age.map_or(latest, |age| age.saturating_add(GRACE).min(latest))
}
