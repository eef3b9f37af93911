//! Spending a use of a finite-use key: a compare-and-set in the store (DESIGN.md section 3, stage 3).

use super::change::{self, Changes, Note};
use crate::audit::ActKind;
use crate::id::{CredentialId, KeyPublicId};
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::{Batch, CommitError, Entry, Expect, Key, TooLarge, Value};

/// Store prefix of the counters of uses left.
pub(super) const PREFIX: &str = "uses/";

/// Attempts before a contended counter is given up; each failed one means that another caller succeeded.
const ATTEMPTS: usize = 16;

/// The store key of a key's counter.
pub(super) fn counter(id: &KeyPublicId) -> Result<Key, TooLarge> {
    Key::new(&format!("{PREFIX}{id}"))
}

/// Uses left by the stored counter; a key that was never used has all of them.
pub(super) fn left(entry: Option<&Entry>, limit: u32) -> Result<u32, Denial> {
    let Some(entry) = entry else { return Ok(limit) };
    let parsed = serde_json::from_slice(entry.value.as_bytes());
    parsed.map_err(|error| {
        Denial::failed(
            Fault::StoreUnavailable,
            format!("a counter of uses is corrupt: {error}"),
        )
    })
}

/// Spends one use. A crash after it loses the use and never makes a second token; an unknown outcome
/// counts as spent. Its record is in the log before the token's can be, so that no token is known of whose use an old
/// backup, put back right after a crash, could give again.
///
/// # Errors
/// [`Code::CredentialSpent`] when none is left; [`Fault::StoreUnavailable`] when the store does not commit.
pub async fn spend(changes: &Changes, id: KeyPublicId, limit: u32) -> Result<(), Denial> {
    let key = counter(&id).map_err(change::too_large)?;
    for _ in 0..ATTEMPTS {
        let entry = changes.store().read(&key).await.map_err(change::unread)?;
        let left = left(entry.as_ref(), limit)?;
        let Some(rest) = left.checked_sub(1) else {
            return Err(Refusal::new(Code::CredentialSpent, "the key has no uses left").into());
        };
        let expect = entry.map_or(Expect::Absent, |entry| Expect::Unmodified(entry.modified));
        let batch = batch(changes, &key, expect, id, rest)?;
        match changes.store().commit(batch).await {
            Ok(revision) => return changes.in_force(revision).await,
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
    key: &Key,
    expect: Expect,
    id: KeyPublicId,
    rest: u32,
) -> Result<Batch, Denial> {
    let put = || {
        let value = Value::new(rest.to_string().into_bytes())?;
        Batch::new()
            .expect(key.clone(), expect)?
            .put_lasting(key.clone(), value)
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
