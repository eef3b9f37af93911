//! Administrative acts on policy documents, and the documents in the store.

use super::change::{Author, Changes, Note, Precondition, invalid, too_large};
use crate::audit::ActKind;
use crate::id::Label;
use crate::limits;
use crate::policy::{Diagnostic, Document, Loaded, Origin, Policies};
use crate::refusal::{Code, Denial, Refusal};
use crate::store::{Batch, Entry, Expect, Key, Op, TooLarge, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Store prefix of policy documents.
pub const PREFIX: &str = "policy/";

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
        let loaded = self
            .policies
            .check(name.as_str(), text)
            .map_err(|found| refused(&found))?;
        const ACTION: &str = "policy.put";
        let target = format!("policy:{name}");
        let repeated = changes.repeated(author, on, ACTION, Some(&target));
        if repeated.await?.is_some() {
            return Ok(loaded);
        }
        let expect = match (self.revision(name.as_str()), on.expected_revision) {
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
        };
        let batch = batch().map_err(too_large)?;
        let note = note(
            ACTION,
            &target,
            json!({ "policies": loaded.policies, "set": &*loaded.revision }),
        );
        changes
            .commit(batch, &note, author, on, name.as_str())
            .await?;
        Ok(loaded)
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
        const ACTION: &str = "policy.delete";
        let target = format!("policy:{name}");
        let repeated = changes.repeated(author, on, ACTION, Some(&target));
        if repeated.await?.is_some() {
            return Ok(());
        }
        let is = self.revision(name.as_str()).ok_or_else(|| missing(name))?;
        on.check(format_args!("policy document `{name}`"), is)?;
        let batch = || {
            let key = store_key(name)?;
            Batch::new()
                .expect(key.clone(), Expect::Unmodified(is))?
                .delete(key)
        };
        let batch = batch().map_err(too_large)?;
        changes
            .commit(
                batch,
                &note(ACTION, &target, json!({})),
                author,
                on,
                name.as_str(),
            )
            .await
            .map(drop)
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
        let mut revisions = self
            .revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match op {
            Op::Put(_, value) => {
                self.policies
                    .put_document(name, text(value)?)
                    .map_err(|found| first(&found))?;
                revisions.insert(name.to_owned(), revision);
            }
            Op::Delete(_) => {
                self.policies
                    .remove_document(name)
                    .map_err(|found| first(&found))?;
                revisions.remove(name);
            }
        }
        Ok(())
    }
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
