//! An owner's whole estate: a key after the other, gone on with after a crash.

use super::asked::Asked;
use super::{Revocable, RevocationAdmin, Revoked};
use crate::administration::change::{Author, Note, Precondition, Who, raced, too_large, unread};
use crate::audit::{ActKind, Context};
use crate::authn::{Face, Peer};
use crate::id::{KeyPublicId, Owner};
use crate::inventory::{KeyEntry, KeyState};
use crate::limits;
use crate::marker::Second;
use crate::refusal::{Denial, Fault};
use crate::revocation::StoredMarker;
use crate::store::{Batch, CommitError, Entry, Expect, Key, TooLarge, Value, load_all};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
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
    /// Keys that are made after this are none of it, but for those that take the place of one that is.
    at: Timestamp,
}

/// One that was begun, and the revision that last wrote it.
struct Begun {
    job: Job,
    modified: u64,
}

impl Begun {
    fn read(entry: &Entry) -> Option<Self> {
        let job = serde_json::from_slice(entry.value.as_bytes()).ok()?;
        let modified = entry.modified;
        Some(Self { job, modified })
    }
}

/// What is done, for records and repeats.
const ACTION: &str = "estate.revoke";

impl RevocationAdmin {
    /// The API keys that revoking a thing would end now, for a dry run. Of an owner it looks at every key that there is.
    #[must_use]
    pub fn keys_that_end(&self, what: &Revocable) -> BTreeSet<KeyPublicId> {
        let keys = self.keys.keys();
        let one = |found: Option<Arc<KeyEntry>>| {
            let living = found.filter(|entry| !self.has_ended(entry));
            living.into_iter().collect()
        };
        let ending: Vec<_> = match what {
            Revocable::Owner(owner) => self.estate(owner, self.changes.latest()),
            Revocable::ApiKey(id) | Revocable::LeakedKey(id, _) => one(keys.find(id)),
            Revocable::Subject(sub, reach) => {
                let began = |entry: &Arc<KeyEntry>| Second::of(entry.key().created);
                let found = keys.of_sub(sub);
                one(found.filter(|entry| began(entry) <= Second::from(*reach)))
            }
            Revocable::Token(..)
            | Revocable::Certificate(..)
            | Revocable::TokensOf(..)
            | Revocable::Issuer(_)
            | Revocable::TrustDomain(..)
            | Revocable::SigningKey(_) => Vec::new(),
        };
        ending.iter().map(|entry| entry.key().id).collect()
    }

    /// Revokes every key of an owner that there was when it was asked for. What was begun is stored first, once, so that
    /// [`RevocationAdmin::resume`] ends what a crash broke off; what is asked again while it is under way goes on with it,
    /// and where no key is left there is nothing to begin.
    pub(super) async fn revoke_estate(
        &self,
        owner: &Owner,
        asked: &Asked,
        on: &Precondition,
    ) -> Result<Revoked, Denial> {
        let (named, author) = (owner.as_str(), &asked.author);
        let key = key(owner)?;
        for _ in 0..limits::WRITE_ATTEMPTS {
            let repeated = self.changes.repeated(ACTION, named, author, on);
            let is_repeated = repeated.await?.is_some();
            let stored = self.changes.store().read(&key).await.map_err(unread)?;
            let markers = match stored.as_ref().and_then(Begun::read) {
                Some(begun) if is_repeated || begun.job.at >= asked.at => {
                    self.end_estate(&begun, author).await?
                }
                _ if is_repeated || self.estate(owner, asked.at).is_empty() => Vec::new(),
                _ => {
                    self.begin_estate(owner, asked, stored.as_ref(), on).await?;
                    continue;
                }
            };
            return self.all(markers).await;
        }
        Err(raced())
    }

    /// Stores what is to be done, in place of what is there. Whether this did, or somebody else changed it meanwhile, is
    /// seen by what is stored then.
    async fn begin_estate(
        &self,
        owner: &Owner,
        asked: &Asked,
        stored: Option<&Entry>,
        on: &Precondition,
    ) -> Result<(), Denial> {
        let job = Job {
            version: 1,
            owner: owner.clone(),
            reason: asked.reason.clone(),
            author: asked.author.who.to_string(),
            at: asked.at,
        };
        let key = key(owner)?;
        let value = serde_json::to_vec(&job).map_err(|_| TooLarge);
        let value = value.and_then(Value::new).map_err(too_large)?;
        let expect = stored.map_or(Expect::Absent, |entry| Expect::Unmodified(entry.modified));
        let batch = Batch::new()
            .expect(key.clone(), expect)
            // Must survive even an old backup that is put back, in which its keys live. Its removal need not: one that is done
            // again finds only keys that are revoked for good.
            .and_then(|batch| batch.put_lasting(key, value))
            .map_err(too_large)?;
        let (target, named) = (format!("owner:{owner}"), owner.as_str());
        let keys = self.estate(owner, job.at).len();
        let note = Note {
            kind: ActKind::Admin,
            action: ACTION,
            target: &target,
            credential: None,
            owner: Some(owner),
            tenant: None,
            change: json!({ "keys": keys, "reason": job.reason }),
        };
        let (batch, author) = (batch.reserved(), &asked.author);
        let begun = self.changes.commit(batch, &note, author, on, named, named);
        begun.await.map(drop)
    }

    /// Revokes what is left of an estate. A key that cannot be revoked keeps no other one.
    async fn end_estate(
        &self,
        begun: &Begun,
        author: &Author,
    ) -> Result<Vec<StoredMarker>, Denial> {
        let job = &begun.job;
        let (mut markers, mut refused) = (Vec::new(), None);
        loop {
            let left = self.estate(&job.owner, job.at);
            if left.is_empty() {
                break;
            }
            for entry in left {
                let (id, on) = (entry.key().id, Precondition::default());
                let state = self
                    .keys
                    .set_state(&id, KeyState::Revoked, &job.reason, author, &on);
                match state.await {
                    Ok(_) if markers.len() < limits::PAGE => {
                        markers.extend(self.told(&Asked {
                            what: Revocable::ApiKey(id),
                            reason: job.reason.clone(),
                            author: author.clone(),
                            at: job.at,
                        })?);
                    }
                    Ok(_) => {}
                    Err(denial @ Denial::Refused(_)) => refused = Some(denial),
                    Err(failed) => return Err(failed),
                }
            }
            if let Some(denial) = refused {
                return Err(denial);
            }
            // A key may have been rotated before its turn came, and its successor is there by now.
        }
        let key = key(&job.owner)?;
        let batch = Batch::new()
            .expect(key.clone(), Expect::Unmodified(begun.modified))
            .and_then(|batch| batch.delete(key))
            .map_err(too_large)?;
        match self.changes.store().commit(batch.reserved()).await {
            // Somebody else ended it, or it was begun anew and reaches further.
            Ok(_) | Err(CommitError::Conflict) => Ok(markers),
            Err(error) => Err(Denial::failed(Fault::StoreUnavailable, error.to_string())),
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
            let Some(begun) = Begun::read(&entry) else {
                tracing::error!(key = %entry.key, "a job cannot be read and is left");
                continue;
            };
            let author = Author {
                who: Who::Resumed(begun.job.author.as_str().into()),
                context: Context {
                    face: Face::Grpc,
                    peer: Arc::<Peer>::default(),
                    ask: None,
                    request: None,
                },
            };
            match self.end_estate(&begun, &author).await {
                Ok(_) => {}
                Err(denial @ Denial::Refused(_)) => ended = Err(denial),
                // The store keeps the others from it as well, and each would wait for it.
                Err(failed) => return Err(failed),
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
