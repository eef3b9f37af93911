//! Administrative acts on audiences.

use super::change::{Author, Changes, Committed, Note, Precondition, invalid, raced, too_large};
use super::former;
use crate::audit::ActKind;
use crate::id::Audience;
use crate::inventory::{AUDIENCE_PREFIX, AudienceEntry, AudienceSpec, Audiences};
use crate::limits;
use crate::refusal::{Code, Denial, Refusal};
use crate::store::{Batch, Expect, Key, TooLarge, Value};
use serde_json::json;
use std::sync::Arc;

/// What no two audiences share, a name or an alias, is a rule on all of them.
const COLLECTION: &str = "audience";
const PUT: &str = "audience.put";

/// Registers, changes and removes audiences.
#[derive(Debug)]
pub struct AudienceAdmin {
    audiences: Arc<Audiences>,
    changes: Arc<Changes>,
}

impl AudienceAdmin {
    /// Administration of `audiences`.
    #[must_use]
    pub fn new(audiences: Arc<Audiences>, changes: Arc<Changes>) -> Self {
        Self { audiences, changes }
    }

    /// The audiences in memory.
    #[must_use]
    pub fn audiences(&self) -> &Audiences {
        &self.audiences
    }

    /// Registers an audience, or changes one at the revision that the caller saw. A tenant it may lose, and not get: tokens
    /// of others may be alive for it, and who serves it would no longer be told of their revocation. Neither may one that
    /// takes the name of another, until a day and five minutes after that was removed.
    ///
    /// # Errors
    /// A refusal, or a failure of ours.
    pub async fn put(
        &self,
        spec: AudienceSpec,
        author: &Author,
        on: &Precondition,
    ) -> Result<Arc<AudienceEntry>, Denial> {
        let (action, name) = (PUT, spec.name.as_str());
        let repeated = self.changes.repeated(action, name, author, on);
        if repeated.await?.is_some() {
            return self.found(&spec.name);
        }
        for _ in 0..limits::WRITE_ATTEMPTS {
            if self.put_once(&spec, author, on).await?.is_some() {
                return self.found(&spec.name);
            }
        }
        Err(raced())
    }

    /// Nothing where somebody else changed the collection meanwhile.
    async fn put_once(
        &self,
        spec: &AudienceSpec,
        author: &Author,
        on: &Precondition,
    ) -> Result<Option<()>, Denial> {
        let (action, name) = (PUT, spec.name.as_str());
        let head = self.changes.head(COLLECTION).await?;
        let is = self.stored_revision(&spec.name)?;
        if is.is_none() {
            // What was removed is in memory no longer, so it is stored what it was.
            former::check(self.changes.store(), spec, self.changes.now_or_latest()).await?;
        }
        let old = is.and_then(|_| self.audiences.find(&spec.name));
        if let (Some(old), Some(tenant)) = (old, &spec.tenant)
            && old.spec.tenant.as_ref() != Some(tenant)
        {
            let cause = "an audience may become one that all share, and not one of a tenant or of another: register one of \
                         another name";
            return Err(invalid("tenant", cause));
        }
        self.audiences
            .check(spec)
            .map_err(|error| invalid("audience", error))?;
        let expect = match (is, on.expected_revision) {
            (None, None) => Expect::Absent,
            (Some(is), Some(expected)) if is == expected => Expect::Unmodified(is),
            (None, Some(_)) => return Err(missing(&spec.name)),
            (Some(is), _) => {
                let cause = format!("audience `{}` exists, at revision {is}", spec.name);
                return Err(Refusal::new(Code::Conflict, cause).into());
            }
        };
        let batch = || {
            let value = Value::new(serde_json::to_vec(spec).map_err(|_| TooLarge)?)?;
            Batch::new()
                .expect(store_key(&spec.name)?, expect)?
                .put(store_key(&spec.name)?, value)
                .and_then(|batch| head.unmoved(batch))
        };
        let batch = batch().map_err(too_large)?;
        let target = format!("audience:{}", spec.name);
        let note = note(action, &target, spec, json!({ "spec": spec }));
        let committed = self.changes.commit(batch, &note, author, on, name, name);
        Ok((committed.await? != Committed::Raced).then_some(()))
    }

    /// Removes an audience: nothing can be asked for it from now on. Tokens already issued go on.
    ///
    /// # Errors
    /// A refusal, or a failure of ours.
    pub async fn delete(
        &self,
        name: &Audience,
        author: &Author,
        on: &Precondition,
    ) -> Result<(), Denial> {
        let action = "audience.delete";
        let repeated = self.changes.repeated(action, name.as_str(), author, on);
        if repeated.await?.is_some() {
            return Ok(());
        }
        let is = self.stored_revision(name)?.ok_or_else(|| missing(name))?;
        if let Some(expected) = on.expected_revision.filter(|expected| *expected != is) {
            let cause = format!("audience `{name}` is at revision {is}, not {expected}");
            return Err(Refusal::new(Code::Conflict, cause).into());
        }
        let spec = self.found(name)?;
        let batch = || {
            // What it was first: whoever serves it is told no less in between.
            former::removed(Batch::new(), &spec.spec, self.changes.now_or_latest())?
                .expect(store_key(name)?, Expect::Unmodified(is))?
                .delete(store_key(name)?)
        };
        let batch = batch().map_err(too_large)?;
        let target = format!("audience:{name}");
        let note = note(action, &target, &spec.spec, json!({}));
        let committed = self
            .changes
            .commit(batch, &note, author, on, name.as_str(), name.as_str());
        match committed.await? {
            Committed::Now(_) | Committed::Before(_) => Ok(()),
            Committed::Raced => Err(raced()),
        }
    }

    /// An audience by name or alias.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub fn found(&self, name: &Audience) -> Result<Arc<AudienceEntry>, Denial> {
        self.audiences.find(name).ok_or_else(|| missing(name))
    }

    /// The revision of a stored audience. One from configuration is changed there, not here.
    fn stored_revision(&self, name: &Audience) -> Result<Option<u64>, Denial> {
        match self
            .audiences
            .find(name)
            .filter(|entry| entry.spec.name == *name)
        {
            None => Ok(None),
            Some(entry) => match entry.revision {
                Some(revision) => Ok(Some(revision)),
                None => {
                    let cause =
                        format!("audience `{name}` comes from configuration and is changed there");
                    Err(Refusal::new(Code::Conflict, cause).into())
                }
            },
        }
    }
}

fn missing(name: &Audience) -> Denial {
    Refusal::new(Code::NotFound, format!("no audience `{name}`")).into()
}

fn note<'a>(
    action: &'static str,
    target: &'a str,
    spec: &'a AudienceSpec,
    change: serde_json::Value,
) -> Note<'a> {
    Note {
        kind: ActKind::Admin,
        action,
        target,
        credential: None,
        owner: Some(&spec.owner),
        tenant: spec.tenant.as_ref(),
        change,
    }
}

/// Names are bounded so that they fit into a store key.
fn store_key(name: &Audience) -> Result<Key, TooLarge> {
    Key::new(&format!("{}{name}", AUDIENCE_PREFIX))
}
