//! The life of signing keys: upkeep by age, and administrative acts.

use super::change::{Author, Changes, Note, Precondition};
use crate::audit::{ActKind, SIGNING_KEY_COMPROMISED};
use crate::id::KeyId;
use crate::keys::{Change, KeyRing, Member, Rotation, RotationError, UnknownMember};
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::Revision;
use serde_json::json;
use std::sync::Arc;

/// Rotates signing keys.
#[derive(Debug)]
pub struct SigningAdmin {
    rotation: Rotation,
    ring: Arc<KeyRing>,
    changes: Arc<Changes>,
}

impl SigningAdmin {
    /// Administration of `ring` through `rotation`.
    #[must_use]
    pub fn new(rotation: Rotation, ring: Arc<KeyRing>, changes: Arc<Changes>) -> Self {
        Self {
            rotation,
            ring,
            changes,
        }
    }

    /// The keys and where each is in its life.
    #[must_use]
    pub fn keys(&self) -> Vec<(KeyId, Member)> {
        self.ring
            .ring()
            .members()
            .map(|(id, member)| (id.clone(), *member))
            .collect()
    }

    /// Whether there is a key, as memory has them.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub(super) fn is_there(&self, id: &KeyId) -> Result<(), Denial> {
        match self.ring.ring().members().any(|(one, _)| one == id) {
            true => Ok(()),
            false => Err(denial(UnknownMember.into())),
        }
    }

    /// Does what is due by age. Called regularly.
    ///
    /// # Errors
    /// A failure of ours; it is tried again at the next call.
    pub async fn upkeep(&self) -> Result<(), Denial> {
        let now = self.changes.now()?;
        let record = |changes: &[Change]| self.record(changes, "signing_key.upkeep", "", None);
        let revision = self
            .rotation
            .tick(&self.ring, now, &record)
            .await
            .map_err(denial)?;
        self.in_force(revision).await
    }

    /// Sees at start that there is a key that signs and a spare.
    ///
    /// # Errors
    /// A failure of ours.
    pub async fn ensure(&self) -> Result<(), Denial> {
        let now = self.changes.now()?;
        let record = |changes: &[Change]| self.record(changes, "signing_key.create", "", None);
        let revision = self.rotation.ensure(now, &record).await.map_err(denial)?;
        self.in_force(revision).await
    }

    /// Lets the spare take over; a compromised key is distrusted at once, and one that was before is no error. Whoever calls
    /// it for one goes by [`super::RevocationAdmin::revoke`], so that it is distrusted also where nothing can be written.
    ///
    /// # Errors
    /// A refusal, or a failure of ours.
    pub async fn rotate(
        &self,
        compromised: Option<KeyId>,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<(), Denial> {
        let (action, named, now) = match &compromised {
            // Somebody else may be signing with it by now, whatever the clock says.
            Some(id) => (
                SIGNING_KEY_COMPROMISED,
                id.as_str(),
                self.changes.now_or_latest(),
            ),
            None => ("signing_key.rotate", "", self.changes.now()?),
        };
        let repeated = self.changes.repeated(action, named, author, on);
        if repeated.await?.is_some() {
            return Ok(());
        }
        let remember = self.changes.remembering(action, named, author, on, named)?;
        let record = |changes: &[Change]| self.record(changes, action, reason, Some(author));
        let revision = match &compromised {
            Some(id) => self.rotation.compromise(id, now, &remember, &record).await,
            None => self.rotation.rotate_now(now, &remember, &record).await,
        };
        match revision.map_err(denial)? {
            Some(revision) => self.changes.in_force(revision).await,
            // Whoever did it before may still be waiting for it, and all are answered alike.
            None => self.changes.all_in_force().await.map(drop),
        }
    }

    async fn in_force(&self, revision: Option<Revision>) -> Result<(), Denial> {
        match revision {
            Some(revision) => self.changes.in_force(revision).await,
            None => Ok(()),
        }
    }

    fn record(
        &self,
        changes: &[Change],
        action: &'static str,
        reason: &str,
        author: Option<&Author>,
    ) -> Arc<[u8]> {
        let changed: Vec<_> = changes.iter().map(described).collect();
        let note = Note {
            kind: ActKind::Keys,
            action,
            target: "ring:access-token",
            credential: None,
            owner: None,
            tenant: None,
            change: json!({ "keys": changed, "reason": reason }),
        };
        // Without a record nothing is changed, which is what must happen when none can be made.
        self.changes
            .encoded(&note, author)
            .map(Into::into)
            .unwrap_or_else(|_| Arc::from([]))
    }
}

fn described(change: &Change) -> serde_json::Value {
    match change.member {
        Some(member) => json!({ "kid": change.id, "state": member.life.name() }),
        None => json!({ "kid": change.id, "state": "gone" }),
    }
}

fn denial(error: RotationError) -> Denial {
    match error {
        RotationError::NotYet(early) => Refusal::new(Code::Conflict, early.to_string()).into(),
        RotationError::UnknownKey(unknown) => {
            Refusal::new(Code::NotFound, unknown.to_string()).into()
        }
        RotationError::Key(fault) => Denial::failed(Fault::Internal, fault.to_string()),
        RotationError::Store(_)
        | RotationError::Refused(_)
        | RotationError::Unknown(_)
        | RotationError::Malformed(_) => Denial::failed(Fault::StoreUnavailable, error.to_string()),
    }
}
