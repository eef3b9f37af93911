//! How a change is made: one batch with its audit record, committed, applied here, and its record durable in
//! the log, before anybody is told that it happened.

use super::idempotency::idempotency_key;
use crate::audit::{Act, ActKind, Context, Encoder, Record};
use crate::authn::Administrator;
use crate::clock::Random;
use crate::clock::guard::TimeGuard;
use crate::id::{CredentialId, IdempotencyKey, Owner, Reporter, Tenant};
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::{
    Batch, CommitError, Expect, Op, Reply, Revision, Store, StoreFault, Timed, TooLarge,
};
use jiff::Timestamp;
use std::fmt::{self, Debug, Display};
use std::sync::Arc;

/// Waits until a committed revision is applied on this node and its record is durable in the log.
pub trait Settled: Debug + Send + Sync {
    /// Whether what is committed now can be expected to be in force soon.
    ///
    /// # Errors
    /// What stands in its way.
    fn settles(&self) -> Result<(), Denial>;
    /// Ends when `revision` is in force.
    fn settled(&self, revision: Revision) -> Reply<'_, Result<(), Denial>>;
    /// The revision that is applied here, if all up to it is in force and on the record. Asks nobody.
    fn reached(&self) -> Option<Revision>;
}

/// Who makes a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Somebody who may administer.
    Administrator(Administrator),
    /// Somebody who showed what they take away from themselves, by its subject.
    Holder(Arc<str>),
    /// The broker, which goes on with what somebody began.
    Resumed(Arc<str>),
    /// Somebody whose reports of leaked keys are believed, and who signed this one.
    Reporter(Reporter),
}

impl From<Administrator> for Who {
    fn from(administrator: Administrator) -> Self {
        Self::Administrator(administrator)
    }
}

impl Display for Who {
    /// The name in records: an [`Administrator`]'s, also where the broker goes on with what they began; `holder:<sub>`, or
    /// `reporter:<name>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Administrator(administrator) => Display::fmt(administrator, f),
            Self::Holder(sub) => write!(f, "holder:{sub}"),
            Self::Resumed(name) => f.write_str(name),
            Self::Reporter(name) => write!(f, "reporter:{name}"),
        }
    }
}

/// Who makes a change, and from where.
#[derive(Clone, Debug)]
pub struct Author {
    /// The administrator, or whoever else may.
    pub who: Who,
    /// The call.
    pub context: Context,
}

/// What is done, for the record.
#[derive(Debug)]
pub struct Note<'a> {
    /// The kind of act.
    pub kind: ActKind,
    /// What is done, as `noun.verb`.
    pub action: &'static str,
    /// The thing it is done to.
    pub target: &'a str,
    /// The credential it is about.
    pub credential: Option<CredentialId>,
    /// The owner of the thing.
    pub owner: Option<&'a Owner>,
    /// The tenant of the thing.
    pub tenant: Option<&'a Tenant>,
    /// What changes; holds no secret.
    pub change: serde_json::Value,
}

impl Note<'_> {
    /// The record of it. No author means the broker itself.
    pub(super) fn encoded(
        &self,
        encoder: &Encoder,
        author: Option<&Author>,
    ) -> Result<Record, Denial> {
        let who = author.map(|author| author.who.to_string());
        let change = self.change.to_string();
        let act = Act {
            context: author.map(|author| &author.context),
            sub: who.as_deref(),
            credential: self.credential,
            owner: self.owner,
            tenant: self.tenant,
            target: Some(self.target),
            change: Some(&change),
            ..Act::new(self.kind, self.action)
        };
        encoder
            .act(&act)
            .map_err(|error| Denial::failed(Fault::Internal, error.to_string()))
    }
}

/// Which write this is, by its caller's count, and on what it is based.
#[derive(Clone, Debug, Default)]
pub struct Precondition {
    /// A repeat with the same key is answered like the first.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The revision of the thing that the caller saw.
    pub expected_revision: Option<u64>,
}

/// Makes changes.
#[derive(Debug)]
pub struct Changes {
    store: Arc<dyn Store>,
    settled: Arc<dyn Settled>,
    guard: Arc<TimeGuard>,
    random: Arc<dyn Random>,
    encoder: Encoder,
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// By this call.
    Now(Revision),
    /// By an earlier call with the same idempotency key, which made this thing.
    Before(String),
    /// Not: something that it is based on changed meanwhile.
    Raced,
}

/// The answer to a write that is not tried again.
pub(super) fn raced() -> Denial {
    Refusal::new(Code::Conflict, "it was changed meanwhile").into()
}

impl Changes {
    /// Changes to `store`, which is waited for as [`Timed`] does, acknowledged when `settled` says so.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        settled: Arc<dyn Settled>,
        guard: Arc<TimeGuard>,
        random: Arc<dyn Random>,
    ) -> Self {
        let encoder = Encoder::new(Arc::clone(guard.clock()), Arc::clone(&random));
        Self {
            store: Arc::new(Timed::new(store)),
            settled,
            guard,
            random,
            encoder,
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Randomness for new things.
    #[must_use]
    pub fn random(&self) -> &dyn Random {
        &*self.random
    }

    /// Time for a change.
    ///
    /// # Errors
    /// [`Fault::ClockUnsteady`].
    pub fn now(&self) -> Result<Timestamp, Denial> {
        self.guard
            .now()
            .map_err(|error| Denial::failed(Fault::ClockUnsteady, error.to_string()))
    }

    /// Time for a change that cannot wait until the clock is steady.
    pub(super) fn now_or_latest(&self) -> Timestamp {
        self.guard.now().unwrap_or_else(|_| self.guard.latest())
    }

    /// The latest instant that may have been given out: for a revocation of what there is, also of what was made by a clock
    /// that was ahead.
    pub(super) fn latest(&self) -> Timestamp {
        self.guard.latest()
    }

    /// The wall clock, for what lapses by itself.
    pub(super) fn wall(&self) -> Timestamp {
        self.guard.wall()
    }

    /// Adds the record of what a batch does to it. No author means the broker itself.
    ///
    /// # Errors
    /// [`Denial::Failed`] when it cannot be encoded or is too large.
    pub fn record(
        &self,
        batch: Batch,
        note: &Note<'_>,
        author: Option<&Author>,
    ) -> Result<Batch, Denial> {
        batch.record(self.encoded(note, author)?).map_err(too_large)
    }

    /// The record alone.
    ///
    /// # Errors
    /// As [`Changes::record`].
    pub fn encoded(&self, note: &Note<'_>, author: Option<&Author>) -> Result<Record, Denial> {
        note.encoded(&self.encoder, author)
    }

    /// Refuses what would be lost if it were committed and not acknowledged: a secret that is told once. Whoever takes a
    /// right away does not ask.
    ///
    /// # Errors
    /// What would keep a change from being in force.
    pub fn settles(&self) -> Result<(), Denial> {
        self.settled.settles()
    }

    /// Waits until a committed revision is in force and on the record.
    ///
    /// # Errors
    /// What keeps it back.
    pub async fn in_force(&self, revision: Revision) -> Result<(), Denial> {
        self.settled.settled(revision).await
    }

    /// The revision that memory is at, if all up to it is in force and on the record: known also where the store does not
    /// answer.
    #[must_use]
    pub fn reached(&self) -> Option<Revision> {
        self.settled.reached()
    }

    /// Waits until everything that was committed so far is in force and on the record.
    ///
    /// # Errors
    /// What keeps it back.
    pub async fn all_in_force(&self) -> Result<Revision, Denial> {
        let revision = self.store.revision().await.map_err(unread)?;
        self.in_force(revision).await?;
        Ok(revision)
    }

    /// Commits a batch with its record, and answers when it is in force and on the record. `named` is what the call
    /// changes, empty where it makes something new; `thing` is what a repeat of it is answered with, also one that races
    /// with it.
    ///
    /// # Errors
    /// [`Fault::StoreUnavailable`] when the outcome is not known or the store cannot write.
    pub async fn commit(
        &self,
        batch: Batch,
        note: &Note<'_>,
        author: &Author,
        on: &Precondition,
        named: &str,
        thing: &str,
    ) -> Result<Committed, Denial> {
        let mut batch = self.record(batch, note, Some(author))?;
        if let Some(name) = &on.idempotency_key {
            // An entry that is there has lapsed by now, or is one that came in between.
            let key = idempotency_key(author, name).map_err(too_large)?;
            let old = self.lapsed(&key).await?;
            let expect = old.map_or(Expect::Absent, Expect::Unmodified);
            batch = batch.expect(key, expect).map_err(too_large)?;
        }
        for op in self.remembering(note.action, named, author, on, thing)? {
            batch = match op {
                Op::Put(key, value) => batch.put(key, value),
                Op::Delete(key) => batch.delete(key),
            }
            .map_err(too_large)?;
        }
        match self.store.commit(batch).await {
            Ok(revision) => {
                self.in_force(revision).await?;
                Ok(Committed::Now(revision))
            }
            Err(CommitError::Conflict) => {
                let earlier = self.repeated(note.action, named, author, on).await?;
                Ok(earlier.map_or(Committed::Raced, Committed::Before))
            }
            Err(CommitError::Refused(cause) | CommitError::Unknown(cause)) => {
                Err(Denial::failed(Fault::StoreUnavailable, cause))
            }
        }
    }
}

/// A refusal that says which field is wrong and how.
pub(super) fn invalid(field: &str, problem: impl Display) -> Denial {
    Refusal::new(Code::InvalidRequest, format!("{field}: {problem}")).into()
}

pub(super) fn too_large(error: TooLarge) -> Denial {
    Denial::failed(Fault::Internal, error.to_string())
}

pub(super) fn unread(error: StoreFault) -> Denial {
    Denial::failed(Fault::StoreUnavailable, error.to_string())
}
