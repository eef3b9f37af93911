//! Keys as they go into a batch, and what the record says of it.

use crate::administration::change::Note;
use crate::audit::ActKind;
use crate::id::{CredentialId, KeyPublicId};
use crate::inventory::{ApiKey, KEY_PREFIX, KeyState};
use crate::store::{Batch, Entry, Expect, Key, TooLarge, Value};

/// Batches that suspend every active key of finite use, for an operator who accepts that uses may have been
/// forgotten.
///
/// # Errors
/// [`TooLarge`] never: each value was stored before. Values that cannot be read are left as they are.
pub fn suspend_limited(entries: &[Entry]) -> Result<Vec<Batch>, TooLarge> {
    let limited = entries.iter().filter_map(|entry| {
        let mut key: ApiKey = serde_json::from_slice(entry.value.as_bytes()).ok()?;
        (key.spec.uses.is_some() && key.state == KeyState::Active).then(|| {
            key.state = KeyState::Suspended;
            (key, entry.modified)
        })
    });
    limited
        .map(|(key, revision)| {
            let at = store_key(&key.id)?;
            Batch::new()
                .expect(at.clone(), Expect::Unmodified(revision))?
                .put(at, value(&key)?)
        })
        .collect()
}

pub(super) fn note<'a>(
    action: &'static str,
    target: &'a str,
    key: &'a ApiKey,
    change: serde_json::Value,
) -> Note<'a> {
    Note {
        kind: ActKind::Admin,
        action,
        target,
        credential: Some(CredentialId::ApiKey(key.id)),
        owner: Some(&key.spec.owner),
        tenant: key.spec.tenant.as_ref(),
        change,
    }
}

fn store_key(id: &KeyPublicId) -> Result<Key, TooLarge> {
    Key::new(&format!("{}{id}", KEY_PREFIX))
}

fn value(key: &ApiKey) -> Result<Value, TooLarge> {
    Value::new(serde_json::to_vec(key).map_err(|_| TooLarge)?)
}

pub(super) fn put_new(batch: Batch, key: &ApiKey) -> Result<Batch, TooLarge> {
    batch
        .expect(store_key(&key.id)?, Expect::Absent)?
        .put(store_key(&key.id)?, value(key)?)
}

pub(super) fn put_again(batch: Batch, key: &ApiKey, revision: u64) -> Result<Batch, TooLarge> {
    let batch = batch.expect(store_key(&key.id)?, Expect::Unmodified(revision))?;
    match key.state {
        KeyState::Active if key.successor.is_none() => batch.put(store_key(&key.id)?, value(key)?),
        // Must survive even an old backup that is put back; so must the earlier end of a key that has a successor.
        KeyState::Active | KeyState::Suspended | KeyState::Revoked => {
            batch.put_lasting(store_key(&key.id)?, value(key)?)
        }
    }
}
