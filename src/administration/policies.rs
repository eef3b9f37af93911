//! Administrative acts on policy documents, and the documents in the store.

use super::change::{
    Author, Changes, Committed, Note, Precondition, invalid, raced, too_large, unread,
};
use crate::audit::ActKind;
use crate::id::Label;
use crate::limits;
use crate::policy::{Diagnostic, Document, Loaded, Origin, Policies};
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::{Batch, Entry, Expect, Key, Op, TooLarge, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Store prefix of policy documents.
pub const PREFIX: &str = "policy/";

/// Names of policies and their number are rules on all documents.
const COLLECTION: &str = "policy";

/// Writes policy documents, and follows those in the store.
#[derive(Debug)]
pub struct PolicyAdmin {
    policies: Arc<Policies>,
    revisions: Mutex<BTreeMap<String, u64>>,
}

impl PolicyAdmin {
    /// Administration of `policies`.
    #[must_use]
    pub fn new(policies: Arc<Policies>) -> Self {
        Self {
            policies,
            revisions: Mutex::default(),
        }
    }

    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Counter of the revision that wrote a stored document.
    #[must_use]
    pub fn revision(&self, name: &str) -> Option<u64> {
        self.revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied()
    }

    /// Writes a document. One that cannot be valid beside the others is refused.
    ///
    /// # Errors
    /// A refusal that holds the first diagnostic, or a failure of ours.
    pub async fn put(
        &self,
        changes: &Changes,
        name: &Label,
        text: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Loaded, Denial> {
        if text.len() > limits::STORE_VALUE {
            return Err(invalid(
                "text",
                format!("longer than {} bytes: split it", limits::STORE_VALUE),
            ));
        }
        let repeated = changes.repeated("policy.put", name.as_str(), author, on);
        if repeated.await?.is_some() {
            return Ok(self.policies.loaded());
        }
        for _ in 0..limits::WRITE_ATTEMPTS {
            if let Some(loaded) = self.put_once(changes, name, text, author, on).await? {
                return Ok(loaded);
            }
        }
        Err(raced())
    }

    /// Nothing where somebody else changed the collection meanwhile.
    async fn put_once(
        &self,
        changes: &Changes,
        name: &Label,
        text: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Option<Loaded>, Denial> {
        let head = changes.head(COLLECTION).await?;
        let loaded = self.checked(name, text).await?;
        let expect = match (stored(changes, name).await?, on.expected_revision) {
            (None, None) => Expect::Absent,
            (Some(is), Some(expected)) if is == expected => Expect::Unmodified(is),
            (None, Some(_)) => return Err(missing(name)),
            (Some(is), _) => {
                let cause = format!("policy document `{name}` exists, at revision {is}");
                return Err(Refusal::new(Code::Conflict, cause).into());
            }
        };
        let batch = || {
            let key = store_key(name)?;
            Batch::new()
                .expect(key.clone(), expect)?
                .put(key, Value::new(text.as_bytes())?)
                .and_then(|batch| head.unmoved(batch))
        };
        let batch = batch().map_err(too_large)?;
        let target = format!("policy:{name}");
        let note = note(
            "policy.put",
            &target,
            json!({ "policies": loaded.policies, "set": &*loaded.revision }),
        );
        let committed = changes
            .commit(batch, &note, author, on, name.as_str(), name.as_str())
            .await?;
        Ok((committed != Committed::Raced).then_some(loaded))
    }

    /// Reading takes its time: not the time of those whose tokens are exchanged on this thread.
    async fn checked(&self, name: &Label, text: &str) -> Result<Loaded, Denial> {
        let (policies, name, text) = (Arc::clone(&self.policies), name.clone(), text.to_owned());
        tokio::task::spawn_blocking(move || policies.check(name.as_str(), &text))
            .await
            .map_err(|error| Denial::failed(Fault::Internal, error.to_string()))?
            .map_err(|found| refused(&found))
    }

    /// Removes a stored document.
    ///
    /// # Errors
    /// A refusal, or a failure of ours.
    pub async fn delete(
        &self,
        changes: &Changes,
        name: &Label,
        author: &Author,
        on: &Precondition,
    ) -> Result<(), Denial> {
        let repeated = changes.repeated("policy.delete", name.as_str(), author, on);
        if repeated.await?.is_some() {
            return Ok(());
        }
        let is = stored(changes, name).await?.ok_or_else(|| missing(name))?;
        if let Some(expected) = on.expected_revision.filter(|expected| *expected != is) {
            let cause = format!("policy document `{name}` is at revision {is}, not {expected}");
            return Err(Refusal::new(Code::Conflict, cause).into());
        }
        let batch = || {
            let key = store_key(name)?;
            Batch::new()
                .expect(key.clone(), Expect::Unmodified(is))?
                .delete(key)
        };
        let batch = batch().map_err(too_large)?;
        let target = format!("policy:{name}");
        let note = note("policy.delete", &target, json!({}));
        let committed = changes.commit(batch, &note, author, on, name.as_str(), name.as_str());
        match committed.await? {
            Committed::Now(_) | Committed::Before(_) => Ok(()),
            Committed::Raced => Err(raced()),
        }
    }

    /// Takes over the whole stored set.
    ///
    /// # Errors
    /// What is wrong; the old policies stay.
    pub fn reset(&self, entries: &[Entry]) -> Result<(), String> {
        let mut documents = Vec::with_capacity(entries.len());
        let mut revisions = BTreeMap::new();
        for entry in entries {
            let name = entry.key.as_str().strip_prefix(PREFIX).unwrap_or_default();
            let text = text(&entry.value)?.to_owned();
            documents.push(Document {
                name: name.to_owned(),
                text,
                origin: Origin::Store,
            });
            revisions.insert(name.to_owned(), entry.modified);
        }
        self.policies
            .set_stored(documents)
            .map_err(|found| first(&found))?;
        *self
            .revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = revisions;
        Ok(())
    }

    /// Takes over one change.
    ///
    /// # Errors
    /// What is wrong; the old policies stay.
    pub fn apply(&self, op: &Op, revision: u64) -> Result<(), String> {
        let name = op.key().as_str().strip_prefix(PREFIX).unwrap_or_default();
        let applied = match op {
            Op::Put(_, value) => self.policies.put_document(name, text(value)?),
            Op::Delete(_) => self.policies.remove_document(name),
        };
        applied.map_err(|found| first(&found))?;
        let mut revisions = self
            .revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match op {
            Op::Put(..) => revisions.insert(name.to_owned(), revision),
            Op::Delete(_) => revisions.remove(name),
        };
        Ok(())
    }
}

/// The revision that wrote a stored document, one that cannot be used included: it can still be removed.
async fn stored(changes: &Changes, name: &Label) -> Result<Option<u64>, Denial> {
    let key = store_key(name).map_err(too_large)?;
    let entry = changes.store().read(&key).await.map_err(unread)?;
    Ok(entry.map(|entry| entry.modified))
}

fn text(value: &Value) -> Result<&str, String> {
    std::str::from_utf8(value.as_bytes()).map_err(|error| error.to_string())
}

fn first(found: &[Diagnostic]) -> String {
    found.first().map(ToString::to_string).unwrap_or_default()
}

fn refused(found: &[Diagnostic]) -> Denial {
    invalid("text", first(found))
}

fn missing(name: &Label) -> Denial {
    Refusal::new(Code::NotFound, format!("no policy document `{name}`")).into()
}

fn note<'a>(action: &'static str, target: &'a str, change: serde_json::Value) -> Note<'a> {
    Note {
        kind: ActKind::Admin,
        action,
        target,
        credential: None,
        owner: None,
        tenant: None,
        change,
    }
}

fn store_key(name: &Label) -> Result<Key, TooLarge> {
    Key::new(&format!("{PREFIX}{name}"))
}
