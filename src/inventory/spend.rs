//! Spending a use of a finite-use key: a compare-and-set in the store (DESIGN.md section 3, stage 3).

use super::change::{self, Changes, Note};
use crate::audit::ActKind;
use crate::id::{CredentialId, KeyPublicId};
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::{Batch, CommitError, Entry, Expect, Key, Store, Value};

/// Store prefix of the counters of uses left.
pub(super) const PREFIX: &str = "uses/";

/// Attempts before a contended counter is given up; each failed one means that another caller succeeded.
const ATTEMPTS: usize = 16;

/// A counter of uses as it is stored.
pub(super) struct Counter {
    pub(super) key: Key,
    /// Uses left; a key that was never used has all of them.
    pub(super) left: u32,
    /// What must still hold of it when something is decided by it.
    pub(super) expect: Expect,
}

impl Counter {
    pub(super) async fn read(
        store: &dyn Store,
        id: &KeyPublicId,
        limit: u32,
    ) -> Result<Self, Denial> {
        let key = Key::new(&format!("{PREFIX}{id}")).map_err(change::too_large)?;
        let (left, expect) = match store.read(&key).await.map_err(change::unread)? {
            None => (limit, Expect::Absent),
            Some(entry) => (parse(&entry)?, Expect::Unmodified(entry.modified)),
        };
        Ok(Self { key, left, expect })
    }
}

fn parse(entry: &Entry) -> Result<u32, Denial> {
    let corrupt = |error| {
        Denial::failed(
            Fault::StoreUnavailable,
            format!("a counter of uses is corrupt: {error}"),
        )
    };
    serde_json::from_slice(entry.value.as_bytes()).map_err(corrupt)
}

/// Spends one use. A crash after it loses the use and never makes a second token; an unknown outcome
/// counts as spent.
///
/// # Errors
/// [`Code::CredentialSpent`] when none is left; [`Fault::StoreUnavailable`] when the store does not commit.
pub async fn spend(changes: &Changes, id: KeyPublicId, limit: u32) -> Result<(), Denial> {
    for _ in 0..ATTEMPTS {
        let counter = Counter::read(changes.store(), &id, limit).await?;
        let Some(rest) = counter.left.checked_sub(1) else {
            return Err(Refusal::new(Code::CredentialSpent, "the key has no uses left").into());
        };
        let batch = batch(changes, &counter, id, rest)?;
        match changes.store().commit(batch).await {
            Ok(_) => return Ok(()),
            Err(CommitError::Conflict) => {}
            Err(CommitError::Refused(cause) | CommitError::Unknown(cause)) => {
                return Err(Denial::failed(Fault::StoreUnavailable, cause));
            }
        }
    }
    Err(Refusal::new(Code::TooBusy, "the key's counter is contended").into())
}

fn batch(
    changes: &Changes,
    counter: &Counter,
    id: KeyPublicId,
    rest: u32,
) -> Result<Batch, Denial> {
    let put = || {
        let value = Value::new(rest.to_string().into_bytes())?;
        Batch::new()
            .expect(counter.key.clone(), counter.expect)?
            .put_lasting(counter.key.clone(), value)
    };
    let note = Note {
        kind: ActKind::Spend,
        action: "key.spend",
        target: &format!("key:{id}"),
        credential: Some(CredentialId::ApiKey(id)),
        owner: None,
        tenant: None,
        change: serde_json::json!({ "uses_left": rest }),
    };
    changes.record(put().map_err(change::too_large)?, &note, None)
}
