//! An owner's whole estate: a key after the other, gone on with after a crash.

use super::{Revocable, RevocationAdmin, Revoked};
use crate::administration::change::{
    Author, Committed, Note, Precondition, Who, raced, too_large, unread,
};
use crate::audit::{ActKind, Context};
use crate::authn::{Face, Peer};
use crate::id::Owner;
use crate::inventory::KeyState;
use crate::limits;
use crate::refusal::{Denial, Fault};
use crate::revocation::StoredMarker;
use crate::store::{Batch, CommitError, Key, TooLarge, Value, load_all};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
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
    /// Keys that are made after this are none of it.
    at: Timestamp,
}

/// What is done, for records and repeats.
const ACTION: &str = "estate.revoke";

impl RevocationAdmin {
    /// Revokes every key of an owner that there is when it begins. What was begun is stored first, so that
    /// [`RevocationAdmin::resume`] ends what a crash broke off.
    pub(super) async fn revoke_estate(
        &self,
        owner: &Owner,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Revoked, Denial> {
        let named = owner.as_str();
        let repeated = self.changes.repeated(ACTION, named, author, on);
        if repeated.await?.is_some() {
            return self.all(Vec::new()).await;
        }
        let job = Job {
            version: 1,
            owner: owner.clone(),
            reason: reason.to_owned(),
            author: author.who.to_string(),
            at: self.changes.now_or_latest(),
        };
        let keys = self.estate(owner, job.at);
        let value = serde_json::to_vec(&job).map_err(|_| TooLarge);
        let value = value.and_then(Value::new).map_err(too_large)?;
        let batch = Batch::new().put(key(owner)?, value).map_err(too_large)?;
        let target = format!("owner:{owner}");
        let note = Note {
            kind: ActKind::Admin,
            action: ACTION,
            target: &target,
            credential: None,
            owner: Some(owner),
            tenant: None,
            change: json!({ "keys": keys.len(), "reason": reason }),
        };
        let batch = batch.reserved();
        let begun = self.changes.commit(batch, &note, author, on, named, named);
        if let Committed::Raced = begun.await? {
            return Err(raced());
        }
        let markers = self.end_estate(&job, author).await?;
        self.all(markers).await
    }

    /// Revokes what is left of an estate. A key that cannot be revoked keeps no other one.
    async fn end_estate(&self, job: &Job, author: &Author) -> Result<Vec<StoredMarker>, Denial> {
        let mut markers = Vec::new();
        let mut refused = None;
        for entry in self.estate(&job.owner, job.at) {
            let (id, on) = (entry.key().id, Precondition::default());
            let state = self
                .keys
                .set_state(&id, KeyState::Revoked, &job.reason, author, &on);
            match state.await {
                Ok(_) if markers.len() < limits::PAGE => {
                    markers.extend(self.told(&Revocable::ApiKey(id), &job.reason, author)?);
                }
                Ok(_) => {}
                Err(denial @ Denial::Refused(_)) => refused = Some(denial),
                Err(failed) => return Err(failed),
            }
        }
        match refused {
            Some(denial) => Err(denial),
            None => {
                let batch = Batch::new().delete(key(&job.owner)?).map_err(too_large)?;
                committed(self.changes.store().commit(batch.reserved()).await)?;
                Ok(markers)
            }
        }
    }

    /// Goes on with what a crash broke off.
    ///
    /// # Errors
    /// When the store does not answer, or a key cannot be revoked; it is tried again.
    pub async fn resume(&self) -> Result<(), Denial> {
        let jobs = load_all(self.changes.store(), PREFIX)
            .await
            .map_err(unread)?;
        let mut ended = Ok(());
        for entry in jobs {
            let Ok(job) = serde_json::from_slice::<Job>(entry.value.as_bytes()) else {
                tracing::error!(key = %entry.key, "a job cannot be read and is left");
                continue;
            };
            let author = Author {
                who: Who::Resumed(job.author.as_str().into()),
                context: Context {
                    face: Face::Grpc,
                    peer: Arc::<Peer>::default(),
                    ask: None,
                    request: None,
                },
            };
            if let Err(denial) = self.end_estate(&job, &author).await {
                ended = Err(denial);
            }
        }
        ended
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

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in super::super) const JOBS: &str = PREFIX;

    /// An estate that is being revoked, as it is stored.
    pub(in super::super) fn job(owner: &str, at: Timestamp) -> (Key, Value) {
        let owner = Owner::parse(owner).unwrap();
        let name = key(&owner).unwrap();
        let job = Job {
            version: 1,
            owner,
            reason: "gone".to_owned(),
            author: "uid:7".to_owned(),
            at,
        };
        let value = serde_json::to_vec(&job).unwrap();
        (name, Value::new(value).unwrap())
    }
}
