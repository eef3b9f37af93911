//! The rules on what a key may be made into.

use crate::administration::change::{Precondition, invalid};
use crate::id::KeyPublicId;
use crate::inventory::{ApiKey, Audiences, KeyEntry, KeySpec, KeyState};
use crate::refusal::{Code, Denial, Refusal};
use jiff::Timestamp;
use std::time::Duration;

/// Every rule on a key's reach, with audiences brought to their registered names. How many of each thing it may have is
/// asked where a request is read.
pub(super) fn checked(
    mut spec: KeySpec,
    audiences: &Audiences,
    max_life: Duration,
    now: Timestamp,
) -> Result<KeySpec, Denial> {
    if spec.audiences.is_empty() {
        return Err(invalid("audiences", "a key needs at least one"));
    }
    if spec.uses == Some(0) {
        return Err(invalid("uses", "a key needs at least one use"));
    }
    let ceiling = now
        .checked_add(max_life)
        .map_err(|_| invalid("expires_at", "out of range"))?;
    if spec.expires <= now || spec.expires > ceiling {
        return Err(invalid(
            "expires_at",
            format!("must be after now and at most {ceiling:.0}"),
        ));
    }
    let mut names = Vec::with_capacity(spec.audiences.len());
    let mut vocabulary = Vec::new();
    for audience in &spec.audiences {
        let entry = audiences.find(audience);
        let entry =
            entry.ok_or_else(|| invalid("audiences", format!("`{audience}` is not registered")))?;
        if let Some(tenant) = &entry.spec.tenant
            && spec.tenant.as_ref() != Some(tenant)
        {
            return Err(invalid(
                "audiences",
                format!("`{audience}` is of tenant `{tenant}`, and the key is not"),
            ));
        }
        vocabulary.push(entry.spec.scopes.clone());
        if !names.contains(&entry.spec.name) {
            names.push(entry.spec.name.clone());
        }
    }
    if let Some(scope) = spec
        .scopes
        .iter()
        .find(|scope| !vocabulary.iter().any(|known| known.contains(scope)))
    {
        return Err(invalid(
            "scopes",
            format!("`{scope}` is in the vocabulary of none of the audiences"),
        ));
    }
    spec.audiences = names;
    Ok(spec)
}

/// A key as it goes out of use for its successor. One of finite use cannot overlap: its uses would be there twice.
pub(super) fn retired(
    old: &KeyEntry,
    successor: KeyPublicId,
    overlap: Duration,
    now: Timestamp,
) -> Result<ApiKey, Denial> {
    let mut key = old.key().clone();
    key.successor = Some(successor);
    if key.spec.uses.is_some() && !overlap.is_zero() {
        return Err(invalid(
            "overlap",
            "a key of finite use goes out of use at once: its uses go over to its successor",
        ));
    }
    if overlap.is_zero() {
        key.state = KeyState::Revoked;
    } else {
        let end = now
            .checked_add(overlap)
            .map_err(|_| invalid("overlap", "too long"))?;
        key.spec.expires = key.spec.expires.min(end);
    }
    Ok(key)
}

/// The caller saw the key as it is now, or does not care.
pub(super) fn check_revision(entry: &KeyEntry, on: &Precondition) -> Result<(), Denial> {
    let (id, is) = (entry.key().id, entry.revision());
    match on.expected_revision {
        Some(expected) if expected != is => {
            let cause = format!("key {id} is at revision {is}, not {expected}");
            Err(Refusal::new(Code::Conflict, cause).into())
        }
        _ => Ok(()),
    }
}
