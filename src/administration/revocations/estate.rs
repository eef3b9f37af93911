//! An owner's whole estate: a key after the other, gone on with after a crash.

use super::{RevocationAdmin, Revoked};
use crate::administration::change::{Author, Note, Who, too_large, unread};
use crate::audit::{ActKind, Context};
use crate::authn::{Face, Peer};
use crate::id::Owner;
use crate::inventory::KeyState;
use crate::limits;
use crate::refusal::{Denial, Fault};
use crate::store::{Batch, CommitError, Key, TooLarge, Value, load_all};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Store prefix of estates that are being revoked.
const PREFIX: &str = "job/estate/";

/// What is under way.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    version: u8,
    owner: Owner,
    reason: String,
    author: String,
}

impl RevocationAdmin {
    /// Revokes every key of an owner that there is when it begins. What was begun is stored first, so that
    /// [`RevocationAdmin::resume`] ends what a crash broke off.
    pub(super) async fn revoke_estate(
        &self,
        owner: &Owner,
        reason: &str,
        author: &Author,
    ) -> Result<Revoked, Denial> {
        let keys = self.estate(owner);
        let job = key(owner)?;
        let value = Job {
            version: 1,
            owner: owner.clone(),
            reason: reason.to_owned(),
            author: author.who.to_string(),
        };
        let value = serde_json::to_vec(&value).map_err(|_| TooLarge);
        let value = value.and_then(Value::new).map_err(too_large)?;
        let batch = Batch::new().put(job.clone(), value).map_err(too_large)?;
        let target = format!("owner:{owner}");
        let note = Note {
            kind: ActKind::Admin,
            action: "estate.revoke",
            target: &target,
            credential: None,
            owner: Some(owner),
            tenant: None,
            change: json!({ "keys": keys.len(), "reason": reason }),
        };
        let batch = self.changes.record(batch, &note, Some(author))?;
        committed(self.changes.store().commit(batch.reserved()).await)?;
        let mut markers = Vec::new();
        for entry in keys {
            let id = entry.key().id;
            let on = Default::default();
            let state = self
                .keys
                .set_state(&id, KeyState::Revoked, reason, author, &on);
            state.await?;
            if markers.len() < limits::PAGE {
                markers.extend(self.told(&super::Revocable::ApiKey(id), reason, author)?);
            }
        }
        let batch = Batch::new().delete(job).map_err(too_large)?;
        committed(self.changes.store().commit(batch.reserved()).await)?;
        self.all(markers).await
    }

    /// Goes on with what a crash broke off.
    ///
    /// # Errors
    /// When the store does not answer; it is tried again.
    pub async fn resume(&self) -> Result<(), Denial> {
        let jobs = load_all(self.changes.store(), PREFIX)
            .await
            .map_err(unread)?;
        for entry in jobs {
            let Ok(job) = serde_json::from_slice::<Job>(entry.value.as_bytes()) else {
                tracing::error!(key = %entry.key, "a job cannot be read and is left");
                continue;
            };
            let author = Author {
                who: Who::Resumed(job.author.into()),
                context: Context {
                    face: Face::Grpc,
                    peer: Arc::<Peer>::default(),
                    ask: None,
                    request: None,
                },
            };
            self.revoke_estate(&job.owner, &job.reason, &author).await?;
        }
        Ok(())
    }
}

/// An owner's name may be longer than a key's part, and of any letters.
fn key(owner: &Owner) -> Result<Key, Denial> {
    let name = URL_SAFE_NO_PAD.encode(owner.as_str());
    Key::new(&format!("{PREFIX}{name}")).map_err(too_large)
}

fn committed<T>(outcome: Result<T, CommitError>) -> Result<T, Denial> {
    outcome.map_err(|error| Denial::failed(Fault::StoreUnavailable, error.to_string()))
}
