//! Revoking, and taking a revocation back: each one batch with its record, answered when it is in force.
//!
//! A key and a signing key are revoked where they are governed, and their markers follow from that; of everything else the
//! marker itself is what is stored. Where nothing can be written, the marker is in force here all the same: nothing is
//! issued until it is written, and that is tried again and again.

mod asked;
mod estate;
mod leaked;
mod own;
mod revocable;
mod stored;
mod undurable;

pub use leaked::{Leak, Leaked, Sighting, Writing};
pub use revocable::{InHand, Reach, Revocable};
pub use undurable::Undurable;

use super::change::{Author, Changes, Precondition};
use super::{KeyAdmin, SigningAdmin, Written};
use crate::id::{CredentialId, KeyId, KeyPublicId, Owner, SpiffeId, Tenant};
use crate::inventory::{KeyEntry, KeyState, Keys};
use crate::limits;
use crate::marker::{Cover, Marker, Second, Thing};
use crate::refusal::{Code, Denial};
use crate::revocation::{Feed, HotSet, StoredMarker, Told};
use crate::store::Revision;
use asked::Asked;
use jiff::Timestamp;
use revocable::{certificate, longest};
use std::iter;
use std::sync::Arc;

/// Revokes.
#[derive(Debug)]
pub struct RevocationAdmin {
    issuer: Arc<str>,
    hot: Arc<HotSet>,
    feed: Feed,
    keys: Arc<KeyAdmin>,
    signing: Arc<SigningAdmin>,
    changes: Arc<Changes>,
    undurable: Arc<Undurable>,
    given_up: own::Counts,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The markers that are in force.
    pub markers: Vec<StoredMarker>,
    /// The revision at which they are; none where it is in force here and not written.
    pub revision: Option<Revision>,
}

impl RevocationAdmin {
    /// Revokes tokens of `issuer` and what they are made from. What cannot be written is left to `undurable`.
    #[must_use]
    pub fn new(
        issuer: Arc<str>,
        hot: Arc<HotSet>,
        feed: Feed,
        keys: Arc<KeyAdmin>,
        signing: Arc<SigningAdmin>,
        changes: Arc<Changes>,
        undurable: Arc<Undurable>,
    ) -> Self {
        Self {
            issuer,
            hot,
            feed,
            keys,
            signing,
            changes,
            undurable,
            given_up: own::Counts::default(),
        }
    }

    /// The keys that are revoked here.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        self.keys.keys()
    }

    /// Whether there is a signing key, to be revoked.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub fn knows_signing(&self, id: &KeyId) -> Result<(), Denial> {
        self.signing.is_there(id)
    }

    /// Revokes a thing. What is revoked already, as far, is no error.
    ///
    /// # Errors
    /// A refusal. That nothing can be written is none: see [`Revoked::revision`].
    pub async fn revoke(
        &self,
        what: &Revocable,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Revoked, Denial> {
        let asked = self.asked(what, reason, author);
        match self.revoke_durably(&asked, on).await {
            Err(Denial::Failed { cause, .. }) => {
                tracing::error!(%cause, "a revocation cannot be written");
                self.revoke_unwritten(&asked, on)
            }
            answered => answered,
        }
    }

    /// What is asked for now.
    fn asked(&self, what: &Revocable, reason: &str, author: &Author) -> Asked {
        Asked {
            what: what.clone(),
            reason: reason.to_owned(),
            author: author.clone(),
            at: self.changes.latest(),
        }
    }

    /// Puts a revocation in force that is yet to be written: [`RevocationAdmin::settle`] does that. One that was written
    /// before is answered as ever, though the store cannot be asked.
    fn revoke_unwritten(&self, asked: &Asked, on: &Precondition) -> Result<Revoked, Denial> {
        if let Some(id) = asked.what.key() {
            self.keys.is_as_expected(id, on)?;
        }
        if let Revocable::SigningKey(id) = &asked.what {
            self.signing.is_there(id)?;
        }
        let markers = self.markers(asked)?;
        if let Some(revision) = self.stored_at(asked, &markers) {
            let revision = Some(revision);
            return Ok(Revoked { markers, revision });
        }
        tracing::error!("a revocation is in force and not written");
        // Nothing is issued from here on, and `settle` lets go of what is pinned only once nothing waits.
        let noted = self.undurable.push(asked, || {
            for stored in &markers {
                self.hot.pin(stored.marker, stored.tenant.as_ref());
            }
        });
        self.feed.nudge();
        noted?;
        Ok(Revoked {
            markers,
            revision: None,
        })
    }

    /// The revision at which all of it is in force as the store has it, where memory tells.
    fn stored_at(&self, asked: &Asked, markers: &[StoredMarker]) -> Option<Revision> {
        let is_stored = match (&asked.what, asked.what.key()) {
            // One that is suspended is marked alike.
            (_, Some(id)) => {
                let found = self.keys.keys().find(id);
                found.is_some_and(|entry| entry.key().state == KeyState::Revoked)
            }
            // These are of the keys that are left.
            (Revocable::Owner(_), None) => markers.is_empty(),
            _ => markers
                .iter()
                .all(|stored| self.hot.is_stored(&stored.marker, stored.tenant.as_ref())),
        };
        // Asked last: what was seen of the store is part of it.
        is_stored.then(|| self.changes.reached()).flatten()
    }

    async fn revoke_durably(&self, asked: &Asked, on: &Precondition) -> Result<Revoked, Denial> {
        let Asked {
            what,
            reason,
            author,
            ..
        } = asked;
        match what {
            Revocable::ApiKey(id) => {
                let revoked = KeyState::Revoked;
                let set = self.keys.set_state(id, revoked, reason, author, on);
                self.key_revoked(asked, &set.await?)
            }
            Revocable::LeakedKey(id, leak) => {
                let written = self.set_leaked(id, leak, reason, author, on).await?;
                self.key_revoked(asked, &written)
            }
            Revocable::SigningKey(id) => {
                let compromised = Some(id.clone());
                self.signing.rotate(compromised, reason, author, on).await?;
                self.all(self.told(asked)?).await
            }
            Revocable::Owner(owner) => self.revoke_estate(owner, asked, on).await,
            _ => {
                let mut set = Vec::new();
                for marker in self.told(asked)? {
                    set.push(self.set(marker, author, on).await?);
                }
                self.all(set).await
            }
        }
    }

    /// Everything that was committed so far is in force, these markers among it.
    async fn all(&self, markers: Vec<StoredMarker>) -> Result<Revoked, Denial> {
        let revision = self.changes.all_in_force().await?;
        Ok(Revoked {
            markers,
            revision: Some(revision),
        })
    }

    fn key_revoked(&self, asked: &Asked, written: &Written) -> Result<Revoked, Denial> {
        Ok(Revoked {
            markers: self.told(asked)?,
            revision: Some(written.revision),
        })
    }

    /// All markers of a thing, also of one that has none of its own.
    fn markers(&self, asked: &Asked) -> Result<Vec<StoredMarker>, Denial> {
        let Revocable::Owner(owner) = &asked.what else {
            return self.told(asked);
        };
        let keys = self.estate(owner, asked.at);
        let keys = keys
            .iter()
            .map(|entry| self.told(&asked.of(Revocable::ApiKey(entry.key().id))));
        Ok(keys.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Whether a marker ended a key, itself or with its subject, whatever is stored of the key.
    #[must_use]
    pub fn has_ended(&self, entry: &KeyEntry) -> bool {
        let [itself, subject] = entry.parts();
        let covers = |part| self.hot.markers().covers(part);
        let key = entry.key();
        covers(subject)
            || match key.state {
                // It is marked alike.
                KeyState::Suspended => self.is_undurable(&key.id),
                KeyState::Active | KeyState::Revoked => covers(itself),
            }
    }

    /// Whether a key is revoked here, and that is not written: what is stored of it says otherwise.
    fn is_undurable(&self, id: &KeyPublicId) -> bool {
        self.is_pinned(Thing::Credential(CredentialId::ApiKey(*id)))
    }

    /// The same of a signing key.
    #[must_use]
    pub fn is_undurable_signing(&self, id: &KeyId) -> bool {
        self.is_pinned(Thing::SigningKey(id))
    }

    fn is_pinned(&self, thing: Thing<'_>) -> bool {
        self.undurable.any() && self.hot.is_pinned(&thing.id())
    }

    /// How many revocations are in force and wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.undurable.len()
    }

    /// The markers of a thing that has any of its own, with what is told of them.
    fn told(&self, asked: &Asked) -> Result<Vec<StoredMarker>, Denial> {
        let (what, at) = (&asked.what, asked.at);
        let token: String;
        let (tenant, owner) = (self.tenant(what), self.owner(what));
        let of = |thing: Thing<'_>, before: Second, until: Second| {
            let (id, cover) = (thing.id(), Cover { before, until });
            vec![StoredMarker {
                marker: Marker { id, cover },
                tenant,
                told: Told {
                    kind: thing.kind().name().to_owned(),
                    thing: thing.name().into_owned(),
                    reason: asked.reason.clone(),
                    author: asked.author.who.to_string(),
                    at,
                    owner,
                },
            }]
        };
        Ok(match what {
            Revocable::Token(id, known) => {
                token = id.to_string();
                let end = known.map_or_else(|| longest(at), |known| known.end);
                of(
                    Thing::Token(&self.issuer, &token),
                    Second::NEVER,
                    Second::end_of(end),
                )
            }
            Revocable::Certificate(digest, end) => {
                // A token that is bound to it may live longer than itself.
                let end = end.map(|end| Second::end_of(end.max(longest(at))));
                of(
                    certificate(digest),
                    Second::NEVER,
                    end.unwrap_or(Second::NEVER),
                )
            }
            Revocable::TokensOf(credential, before) => {
                let (before, end) = (Second::of(*before), longest(*before));
                of(Thing::TokensOf(*credential), before, Second::end_of(end))
            }
            Revocable::Subject(sub, reach) => {
                let thing = Thing::Subject(&self.issuer, sub);
                of(thing, (*reach).into(), self.end_of_subject(sub, *reach))
            }
            Revocable::Issuer(before) => {
                let thing = Thing::Issuer(&self.issuer);
                of(thing, Second::of(*before), Second::end_of(longest(*before)))
            }
            Revocable::TrustDomain(domain, reach) => {
                let thing = Thing::TrustDomain(domain.as_str());
                of(thing, (*reach).into(), Second::NEVER)
            }
            Revocable::ApiKey(id) | Revocable::LeakedKey(id, _) => {
                let end = self.keys.found(id)?.key().end_of_tokens();
                let thing = Thing::Credential(CredentialId::ApiKey(*id));
                of(thing, Second::NEVER, Second::end_of(end))
            }
            Revocable::SigningKey(id) => of(Thing::SigningKey(id), Second::NEVER, Second::NEVER),
            Revocable::Owner(_) => Vec::new(),
        })
    }

    /// When nothing can be alive of a subject that is revoked up to an instant, where that is certain. A workload's
    /// certificates live as long as whoever issues them says.
    fn end_of_subject(&self, sub: &str, reach: Reach) -> Second {
        let Reach::Before(before) = reach else {
            return Second::NEVER;
        };
        if SpiffeId::parse(sub).is_ok() {
            return Second::NEVER;
        }
        let key = self.keys.keys().of_sub(sub);
        // One that is not known may be all the same: it lives no longer than any may.
        let end = key.map_or_else(
            || before.saturating_add(limits::LONGEST_KEY_LIFE),
            |entry| Ok(entry.key().spec.expires),
        );
        let end = end.map_or(Timestamp::MAX, |end| end.max(longest(before)));
        Second::end_of(end)
    }

    /// Whose a thing is, where it is certain that nobody else could be shown what it covers: see [`crate::revocation::Partition`].
    fn tenant(&self, what: &Revocable) -> Option<Tenant> {
        self.key_of(what)?.key().spec.tenant.clone()
    }

    /// Whose key a thing is, or is of, where that is known: they are told of it.
    fn owner(&self, what: &Revocable) -> Option<Owner> {
        let entry = match what {
            Revocable::Subject(sub, _) => self.keys.keys().of_sub(sub),
            _ => self.key_of(what),
        };
        Some(entry?.key().spec.owner.clone())
    }

    /// The key that a thing is, or is made from.
    fn key_of(&self, what: &Revocable) -> Option<Arc<KeyEntry>> {
        let id = match what {
            Revocable::ApiKey(id)
            | Revocable::LeakedKey(id, _)
            | Revocable::TokensOf(CredentialId::ApiKey(id), _) => id,
            Revocable::Token(_, Some(known)) => match &known.root {
                Some(CredentialId::ApiKey(id)) => id,
                Some(CredentialId::Certificate(_)) | None => return None,
            },
            _ => return None,
        };
        self.keys.keys().find(id)
    }

    /// Writes what could not be written. Called regularly. What is refused keeps no other one waiting; where the store fails,
    /// the others wait for the next call.
    ///
    /// # Errors
    /// What still stands in the way.
    pub async fn settle(&self) -> Result<(), Denial> {
        if !self.undurable.any() {
            return Ok(());
        }
        let mut refused: usize = 0;
        while let Some(asked) = self.undurable.first() {
            match self.revoke_durably(&asked, &Precondition::default()).await {
                Ok(_) => {}
                Err(Denial::Refused(refusal)) if refusal.code() == Code::NotFound => {
                    tracing::warn!(
                        detail = refusal.detail(),
                        "what was revoked is no longer there"
                    );
                }
                Err(denial) => {
                    self.undurable.postpone();
                    refused = refused.saturating_add(1);
                    let is_refused = matches!(denial, Denial::Refused(_));
                    if is_refused && refused < self.undurable.len() {
                        continue;
                    }
                    return Err(denial);
                }
            }
            self.undurable.written(&asked);
        }
        tracing::info!("every revocation that waited is written");
        // Another one may wait by now. What is pinned waits in the same moment: nothing is let go of that is not written.
        self.undurable.if_empty(|| self.hot.unpin());
        Ok(())
    }

    /// The keys of an owner that were made up to an instant, and what took their places since, that are not revoked.
    fn estate(&self, owner: &Owner, at: Timestamp) -> Vec<Arc<KeyEntry>> {
        let keys = self.keys.keys();
        let mut made = keys.list(None);
        made.retain(|entry| entry.key().spec.owner == *owner && entry.key().created <= at);
        // A key has one predecessor at most, and what was made in time is there already: nothing comes twice.
        let successor = |entry: &Arc<KeyEntry>| {
            let successor = keys.find(&entry.key().successor?)?;
            (successor.key().created > at).then_some(successor)
        };
        let all = made
            .into_iter()
            .flat_map(|entry| iter::successors(Some(entry), successor));
        all.filter(|entry| entry.key().state != KeyState::Revoked)
            .collect()
    }
}

#[cfg(test)]
mod tests;
