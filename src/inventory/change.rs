//! How a change is made: one batch with its audit record, committed, applied here, and its record durable in
//! the log, before anybody is told that it happened.

use crate::audit::{Act, ActKind, Context, Encoder, Record};
use crate::authn::Administrator;
use crate::clock::Random;
use crate::clock::guard::TimeGuard;
use crate::id::{CredentialId, IdempotencyKey, Owner, Tenant};
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::{
    Batch, CommitError, Expect, Key, Op, Reply, Revision, Store, StoreFault, TooLarge, Value,
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt::{Debug, Display};
use std::sync::Arc;

/// Store prefix of idempotency entries.
pub(super) const IDEMPOTENCY_PREFIX: &str = "idempotency/";
/// How long a repeat is recognised.
const IDEMPOTENCY_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// Waits until a committed revision is applied on this node and its record is durable in the log.
pub trait Settled: Debug + Send + Sync {
    /// Ends when `revision` is in force.
    fn settled(&self, revision: Revision) -> Reply<'_, Result<(), Denial>>;
}

/// Who makes a change, and from where.
#[derive(Clone, Debug)]
pub struct Author {
    /// The administrator.
    pub who: Administrator,
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

/// Which write this is, by its caller's count, and on what it is based.
#[derive(Clone, Debug, Default)]
pub struct Precondition {
    /// A repeat with the same key is answered like the first.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The revision of the thing that the caller saw.
    pub expected_revision: Option<u64>,
}

impl Precondition {
    /// Refuses a write to `thing`, which is at revision `is`, if its caller saw another one.
    ///
    /// # Errors
    /// [`Code::Conflict`].
    pub fn check(&self, thing: impl Display, is: u64) -> Result<(), Denial> {
        match self.expected_revision {
            Some(expected) if expected != is => {
                let cause = format!("{thing} is at revision {is}, not {expected}");
                Err(Refusal::new(Code::Conflict, cause).into())
            }
            _ => Ok(()),
        }
    }
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

/// What an idempotency entry holds: what the first call did to what, which thing it made, and until when that is
/// remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    version: u8,
    action: String,
    target: String,
    thing: String,
    until: Timestamp,
}

impl Changes {
    /// Changes to `store`, acknowledged when `settled` says so.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        settled: Arc<dyn Settled>,
        guard: Arc<TimeGuard>,
        random: Arc<dyn Random>,
    ) -> Self {
        let encoder = Encoder::new(Arc::clone(guard.clock()), Arc::clone(&random));
        Self {
            store,
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
        let who = author.map(|author| author.who.to_string());
        let change = note.change.to_string();
        let act = Act {
            context: author.map(|author| &author.context),
            sub: who.as_deref(),
            credential: note.credential,
            owner: note.owner,
            tenant: note.tenant,
            target: Some(note.target),
            change: Some(&change),
            ..Act::new(note.kind, note.action)
        };
        self.encoder
            .act(&act)
            .map_err(|error| Denial::failed(Fault::Internal, error.to_string()))
    }

    /// Waits until a committed revision is in force and on the record.
    ///
    /// # Errors
    /// What keeps it back.
    pub async fn in_force(&self, revision: Revision) -> Result<(), Denial> {
        self.settled.settled(revision).await
    }

    /// Commits a batch with its record, and answers when it is in force and on the record. `thing` is what a
    /// repeat of the call is answered with.
    ///
    /// # Errors
    /// [`Code::Conflict`] when something changed meanwhile; [`Fault::StoreUnavailable`] when the outcome is
    /// not known or the store cannot write.
    pub async fn commit(
        &self,
        batch: Batch,
        note: &Note<'_>,
        author: &Author,
        on: &Precondition,
        thing: &str,
    ) -> Result<Revision, Denial> {
        let mut batch = self.record(batch, note, Some(author))?;
        if let Some(name) = &on.idempotency_key {
            batch = self.remember(batch, author, name, note, thing).await?;
        }
        let revision = self
            .store
            .commit(batch)
            .await
            .map_err(|error| match error {
                CommitError::Conflict => {
                    Denial::from(Refusal::new(Code::Conflict, "it was changed meanwhile"))
                }
                CommitError::Refused(cause) | CommitError::Unknown(cause) => {
                    Denial::failed(Fault::StoreUnavailable, cause)
                }
            })?;
        self.in_force(revision).await?;
        Ok(revision)
    }

    /// What an earlier call of this author with the same idempotency key made. `target` is what the call is about,
    /// where that is known before it is made.
    ///
    /// # Errors
    /// [`Code::Conflict`] when the earlier call was another one: to answer it like the first would say that
    /// something was done that was not. Otherwise when the store does not answer.
    pub async fn repeated(
        &self,
        author: &Author,
        on: &Precondition,
        action: &str,
        target: Option<&str>,
    ) -> Result<Option<String>, Denial> {
        let Some(name) = &on.idempotency_key else {
            return Ok(None);
        };
        let key = idempotency_key(author, name).map_err(too_large)?;
        let Some(entry) = self.store.read(&key).await.map_err(unread)? else {
            return Ok(None);
        };
        let remembered: Option<Remembered> = serde_json::from_slice(entry.value.as_bytes()).ok();
        let now = self.guard.wall();
        let Some(earlier) = remembered.filter(|remembered| remembered.until > now) else {
            return Ok(None);
        };
        if earlier.action != action || target.is_some_and(|target| earlier.target != target) {
            let Remembered { action, target, .. } = earlier;
            let cause = format!("the idempotency key was used for {action} of {target}");
            return Err(Refusal::new(Code::Conflict, cause).into());
        }
        Ok(Some(earlier.thing))
    }

    /// What makes a repeat known that is committed with the change itself.
    ///
    /// # Errors
    /// [`Denial::Failed`] when it does not fit into the store.
    pub fn remembrance(
        &self,
        author: &Author,
        name: &IdempotencyKey,
        note: &Note<'_>,
        thing: &str,
    ) -> Result<Op, Denial> {
        let until = self
            .guard
            .wall()
            .saturating_add(IDEMPOTENCY_LIFE)
            .unwrap_or(Timestamp::MAX);
        let remembered = Remembered {
            version: 1,
            action: note.action.to_owned(),
            target: note.target.to_owned(),
            thing: thing.to_owned(),
            until,
        };
        let value = serde_json::to_vec(&remembered).map_err(|_| too_large(TooLarge))?;
        let key = idempotency_key(author, name).map_err(too_large)?;
        Ok(Op::Put(key, Value::new(value).map_err(too_large)?))
    }

    async fn remember(
        &self,
        batch: Batch,
        author: &Author,
        name: &IdempotencyKey,
        note: &Note<'_>,
        thing: &str,
    ) -> Result<Batch, Denial> {
        let key = idempotency_key(author, name).map_err(too_large)?;
        // An entry that is there has lapsed, or the call would have been answered with it.
        let old = self.store.read(&key).await.map_err(unread)?;
        let expect = old.map_or(Expect::Absent, |entry| Expect::Unmodified(entry.modified));
        let batch = batch.expect(key, expect);
        match self.remembrance(author, name, note, thing)? {
            Op::Put(key, value) => batch.and_then(|batch| batch.put(key, value)),
            Op::Delete(key) => batch.and_then(|batch| batch.delete(key)),
        }
        .map_err(too_large)
    }
}

/// Per author, so that nobody learns of another's calls; hashed, so that any name fits.
fn idempotency_key(author: &Author, name: &IdempotencyKey) -> Result<Key, TooLarge> {
    let text = format!("{}\n{name}", author.who);
    let hash = digest(&SHA256, text.as_bytes());
    Key::new(&format!(
        "{IDEMPOTENCY_PREFIX}{}",
        URL_SAFE_NO_PAD.encode(hash)
    ))
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
