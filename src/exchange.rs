//! The exchange: the one place that sees all stages.

mod explain;
mod spend;

pub use explain::Hypothesis;

use crate::administration::{Changes, Undurable};
use crate::audit::{Context, Issued, Log, Refused};
use crate::authn::{Authn, Credential, Presented, Rejected, Uses};
use crate::clock::guard::TimeGuard;
use crate::clock::{Random, random};
use crate::id::KeyPublicId;
use crate::inventory::{AudienceEntry, Audiences, Keys};
use crate::mint::{Draft, Mint};
use crate::policy::{Ask, Grant, Policy};
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::replica::Replica;
use jiff::Timestamp;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Is told of every answer. Called on the hot path: counts, and nothing else.
pub trait Observer: Debug + Send + Sync {
    /// An exchange was answered: with a token where there is no denial.
    fn answered(&self, subject: &Credential, denial: Option<&Denial>, took: Duration);
    /// A call was refused that was no exchange.
    fn refused(&self, code: Code);
}

/// How often a token will be asked for with one presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Now.
    Once,
    /// Now, and again before each token lapses.
    Repeatedly,
}

impl Times {
    fn suit(self, uses: Uses) -> Result<(), Refusal> {
        match (self, uses) {
            (Self::Once, _) | (Self::Repeatedly, Uses::Unlimited) => Ok(()),
            (Self::Repeatedly, Uses::Limited { .. }) => Err(Refusal::new(
                Code::InvalidRequest,
                "a credential of finite use cannot be leased",
            )),
        }
    }
}

/// Credential and ask in, issued token out.
#[derive(Debug)]
pub struct Exchange {
    /// Makes `Verified`.
    pub authn: Authn,
    /// Finds the audience that is asked for.
    pub audiences: Arc<Audiences>,
    /// Finds the key that an explanation is asked about.
    pub keys: Arc<Keys>,
    /// Makes `Grant`.
    pub policy: Policy,
    /// Spends uses of finite-use keys.
    pub changes: Arc<Changes>,
    /// Revocations that are in force and not written: a crash would forget them, so that nothing is issued.
    pub undurable: Arc<Undurable>,
    /// Makes `Minted`.
    pub mint: Arc<Mint>,
    /// Makes `Issued`.
    pub log: Log,
    /// Gives the time, or refuses to.
    pub guard: Arc<TimeGuard>,
    /// Randomness for jitter.
    pub random: Arc<dyn Random>,
    /// Says how old the state is that decisions are made from.
    pub replica: Replica,
    /// How old it may be.
    pub staleness: Duration,
    /// Work that must end before the process does.
    pub tasks: TaskTracker,
    /// Counts what is answered.
    pub observer: Arc<dyn Observer>,
}

impl Exchange {
    /// Runs one request through all stages. `context` holds the ask. What is asked for again and again cannot be had
    /// for a credential of finite use.
    ///
    /// # Errors
    /// [`Denial`]: a refusal, which is on its way to the record, or a failure of ours.
    pub async fn run(
        self: &Arc<Self>,
        presented: &Presented,
        ask: &Ask,
        context: &Context,
        times: Times,
    ) -> Result<Issued, Denial> {
        let start = self.guard.clock().monotonic();
        let answer = self.answer(presented, ask, context, times).await;
        let took = self.guard.clock().monotonic().saturating_sub(start);
        self.observer
            .answered(&presented.subject, answer.as_ref().err(), took);
        answer
    }

    async fn answer(
        self: &Arc<Self>,
        presented: &Presented,
        ask: &Ask,
        context: &Context,
        times: Times,
    ) -> Result<Issued, Denial> {
        let now = self.time()?;
        let verified = self
            .authn
            .verify(presented, now)
            .map_err(|rejected| self.reject(rejected, context))?;
        let uses = verified.uses();
        // Only who proved the credential may learn that its uses are counted.
        let audience = times.suit(uses).and_then(|()| self.audience(ask));
        let audience = match audience {
            Ok(audience) => audience,
            Err(refusal) => {
                self.log.refuse(
                    &Refused {
                        verified: Some(&verified),
                        ..Refused::new(&refusal)
                    },
                    context,
                );
                return Err(refusal.into());
            }
        };
        let decided = self
            .policy
            .decide(verified, ask, &audience.spec, presented.peer.address);
        let grant = decided.map_err(|refused| {
            let known = Refused {
                verified: Some(&refused.verified),
                rules: &refused.rules,
                input: Some(&refused.input),
                ..Refused::new(&refused.refusal)
            };
            self.log.refuse(&known, context);
            refused.refusal
        })?;
        let draft = self
            .mint
            .draft(grant, now)
            .map_err(|unminted| self.turned_down(&unminted.grant, unminted.denial, context))?;
        match uses {
            Uses::Unlimited => self.issue(draft, context).await,
            Uses::Limited { key, limit } => {
                self.spend_and_issue(key, limit, draft, context.clone())
                    .await
            }
        }
    }

    /// Puts it on the record when what policy granted is refused all the same.
    fn turned_down(&self, grant: &Grant, denial: Denial, context: &Context) -> Denial {
        if let Denial::Refused(refusal) = &denial {
            let known = Refused {
                verified: Some(grant.verified()),
                rules: grant.rules(),
                input: Some(grant.input()),
                ..Refused::new(refusal)
            };
            self.log.refuse(&known, context);
        }
        denial
    }

    /// Puts a refusal on the record that never got as far as a stage.
    pub fn refused(&self, refusal: &Refusal, context: &Context) {
        self.observer.refused(refusal.code());
        self.log.refuse(&Refused::new(refusal), context);
    }

    /// Counts a refusal for the record that was made because there is too much of something.
    pub fn turned_away(&self, code: Code, context: &Context) {
        self.observer.refused(code);
        self.log.turned_away(code, context.peer.address);
    }

    /// Puts a rejection on the record of what was presented for another end than an exchange.
    pub fn rejected(&self, rejected: Rejected, context: &Context) -> Denial {
        self.observer.refused(rejected.refusal.code());
        self.reject(rejected, context)
    }

    /// A random number from `low` to `high`, for jitter; `low` when there is no randomness.
    #[must_use]
    pub fn between(&self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1);
        let drawn = random::<8>(&*self.random)
            .map(u64::from_le_bytes)
            .unwrap_or_default();
        low.saturating_add(drawn.checked_rem(span).unwrap_or_default())
    }

    /// Time for this request, if the node may issue at all.
    fn time(&self) -> Result<Timestamp, Denial> {
        let now = self
            .guard
            .now()
            .map_err(|error| Denial::failed(Fault::ClockUnsteady, error.to_string()))?;
        if !self.replica.is_fresh(self.guard.wall(), self.staleness) {
            return Err(Denial::failed(
                Fault::Stale,
                "the store has not confirmed the state for too long, or a part of it was refused",
            ));
        }
        if self.undurable.any() {
            return Err(Denial::failed(
                Fault::StoreUnavailable,
                "a revocation is in force and not written yet",
            ));
        }
        Ok(now)
    }

    fn audience(&self, ask: &Ask) -> Result<Arc<AudienceEntry>, Refusal> {
        let unknown = || Refusal::new(Code::AudienceUnknown, "no audience of this name or alias");
        self.audiences.find(&ask.audience).ok_or_else(unknown)
    }

    fn reject(&self, rejected: Rejected, context: &Context) -> Denial {
        let refusal = rejected.refusal.clone();
        self.log.reject(rejected, context);
        refusal.into()
    }

    /// Signs and records. Everything up to the record's place in the log's queue happens before the first
    /// await, so a caller that goes away leaves either nothing or a whole record.
    async fn issue(&self, draft: Draft, context: &Context) -> Result<Issued, Denial> {
        self.log.issue(draft.sign()?, context).await
    }

    /// Spends a use, then issues, in a task of its own: a caller that goes away cannot stop between the two.
    async fn spend_and_issue(
        self: &Arc<Self>,
        key: KeyPublicId,
        limit: u32,
        draft: Draft,
        context: Context,
    ) -> Result<Issued, Denial> {
        let this = Arc::clone(self);
        let work = async move {
            spend::spend(&this.changes, key, limit, draft.grant().verified().owner())
                .await
                .map_err(|denial| this.turned_down(draft.grant(), denial, &context))?;
            this.time()?;
            this.issue(draft, &context).await
        };
        let lost =
            |error| Denial::failed(Fault::Internal, format!("the issuing task ended: {error}"));
        self.tasks.spawn(work).await.map_err(lost)?
    }
}
