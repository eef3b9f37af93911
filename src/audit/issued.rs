//! A token whose record is durable: the only one that can be written to a reply.

use crate::id::{Audience, CredentialId, ScopeSet, TokenId};
use crate::marker::Fence;
use crate::mint::Minted;
use crate::secret::Secret;
use jiff::Timestamp;
use std::sync::Arc;

/// Where a record is: the log's origin and the record's index in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The log's origin: issuer and node id.
    pub origin: Arc<str>,
    /// The record's sequence number, from 0.
    pub index: u64,
}

/// An issued token: signed, recorded, durable.
///
/// Only this module's siblings can make one, so an unrecorded token cannot be sent:
///
/// ```compile_fail,E0451
/// let forged = cambist::audit::Issued { token: cambist::secret::Secret::new(String::new()), ..todo!() };
/// ```
#[derive(Debug)]
pub struct Issued {
    pub(super) token: Secret,
    pub(super) id: TokenId,
    pub(super) audience: Audience,
    pub(super) scopes: ScopeSet,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) bound: bool,
    pub(super) credential: CredentialId,
    pub(super) receipt: Receipt,
    pub(super) fence: Arc<Fence>,
}

impl Issued {
    /// Lets the token go: its record is durable at `receipt`.
    pub(super) fn recorded(minted: Minted, receipt: Receipt) -> Self {
        let grant = minted.grant();
        Self {
            id: minted.id(),
            audience: grant.audience().clone(),
            scopes: grant.scopes().clone(),
            issued_at: minted.issued_at(),
            expires_at: minted.expires_at(),
            bound: grant.bound_to().is_some(),
            credential: grant.verified().credential(),
            receipt,
            fence: Arc::clone(minted.fence()),
            token: minted.into_token(),
        }
    }

    /// The token's text.
    #[must_use]
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// `jti`.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// `aud`.
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// `scope`.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// `exp`.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether it is bound to the caller's key.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// The credential at the root of its ancestry.
    #[must_use]
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// What markers can cover of it, but for itself.
    #[must_use]
    pub fn fence(&self) -> &Arc<Fence> {
        &self.fence
    }

    /// Where its record is.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}
