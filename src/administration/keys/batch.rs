//! Keys as they go into a batch, and what the record says of it.

use crate::administration::change::{Note, too_large};
use crate::audit::{ActKind, Encoder};
use crate::id::{CredentialId, KeyPublicId};
use crate::inventory::{ApiKey, KEY_PREFIX, KeyState};
use crate::refusal::Denial;
use crate::store::{Batch, Entry, Expect, Key, TooLarge, Value};
use serde_json::json;

/// Batches that suspend every active key of finite use, for an operator who accepts that uses may have been
/// forgotten.
///
/// # Errors
/// [`Denial::Failed`] when a record cannot be made. Values that cannot be read are left as they are.
pub fn suspend_limited(entries: &[Entry], encoder: &Encoder) -> Result<Vec<Batch>, Denial> {
    let limited = entries.iter().filter_map(|entry| {
        let mut key: ApiKey = serde_json::from_slice(entry.value.as_bytes()).ok()?;
        (key.spec.uses.is_some() && key.state == KeyState::Active).then(|| {
            key.state = KeyState::Suspended;
            (key, entry.modified)
        })
    });
    limited
        .map(|(key, revision)| {
            let target = format!("key:{}", key.id);
            let reason = "uses may have been forgotten: a rollback was accepted";
            let change = json!({ "state": key.state, "reason": reason });
            let note = Note {
                kind: ActKind::Recovery,
                ..note("key.suspend", &target, &key, change)
            };
            let record = note.encoded(encoder, None)?;
            put_stricter(Batch::new(), &key, revision)
                .and_then(|batch| batch.record(record))
                .map_err(too_large)
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
    match key.state {
        KeyState::Active => batch
            .expect(store_key(&key.id)?, Expect::Unmodified(revision))?
            .put(store_key(&key.id)?, value(key)?),
        KeyState::Suspended | KeyState::Revoked => put_stricter(batch, key, revision),
    }
}

/// For a change that only takes away: it must survive even an old backup that is put back.
pub(super) fn put_stricter(batch: Batch, key: &ApiKey, revision: u64) -> Result<Batch, TooLarge> {
    batch
        .expect(store_key(&key.id)?, Expect::Unmodified(revision))?
        .put_lasting(store_key(&key.id)?, value(key)?)
}
