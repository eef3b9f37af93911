//! Spending a use of a finite-use key: a compare-and-set in the store (DESIGN.md section 3, stage 3).

use crate::administration::{Changes, Note};
use crate::audit::ActKind;
use crate::id::{CredentialId, KeyPublicId, Owner};
use crate::inventory::Uses;
use crate::limits;
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::{Batch, CommitError};

/// Spends one use. A crash after it loses the use and never makes a second token; an unknown outcome
/// counts as spent. Its record is in the log before the token's can be, so that no token is known of whose use an old
/// backup, put back right after a crash, could give again.
///
/// # Errors
/// [`Code::CredentialSpent`] when none is left; [`Fault::StoreUnavailable`] when the store does not commit; what keeps
/// the record of it out of the log, and then the use is spent.
pub(super) async fn spend(
    changes: &Changes,
    id: KeyPublicId,
    limit: u32,
    owner: Option<&Owner>,
) -> Result<(), Denial> {
    for _ in 0..limits::SPEND_ATTEMPTS {
        let uses = Uses::read(changes.store(), &id, limit).await?;
        let Some(rest) = uses.left().checked_sub(1) else {
            return Err(none_left().into());
        };
        let batch = batch(changes, &uses, id, rest, owner)?;
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

/// How many uses are left, as the store knows it now.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn left(changes: &Changes, id: KeyPublicId, limit: u32) -> Result<u32, Denial> {
    Ok(Uses::read(changes.store(), &id, limit).await?.left())
}

/// The refusal of a key that is spent.
pub(super) fn none_left() -> Refusal {
    Refusal::new(Code::CredentialSpent, "the key has no uses left")
}

fn batch(
    changes: &Changes,
    uses: &Uses,
    id: KeyPublicId,
    rest: u32,
    owner: Option<&Owner>,
) -> Result<Batch, Denial> {
    let batch = uses.fall_to(rest, Batch::new());
    let batch = batch.map_err(|error| Denial::failed(Fault::Internal, error.to_string()))?;
    let note = Note {
        kind: ActKind::Spend,
        action: "key.spend",
        target: &format!("key:{id}"),
        credential: Some(CredentialId::ApiKey(id)),
        owner,
        tenant: None,
        change: serde_json::json!({ "uses_left": rest }),
    };
    changes.record(batch, &note, None)
}
