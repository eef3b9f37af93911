//! The proof that a request's credentials were verified.

use crate::id::{
    Audience, CredentialId, KeyId, KeyPublicId, Label, Owner, ScopeSet, Tenant, TokenId,
};
use crate::limits;
use crate::marker::{Fence, MarkerId, Thing};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A verified caller: who it is, how far its credentials reach, and what its tokens descend from.
///
/// Only this module's siblings can make one:
///
/// ```compile_fail,E0451
/// let forged = cambist::authn::Verified { sub: "spiffe://example.org/admin".into(), ..todo!() };
/// ```
#[derive(Clone, Debug)]
pub struct Verified {
    pub(super) kind: CredentialKind,
    pub(super) sub: Arc<str>,
    pub(super) client_id: Arc<str>,
    pub(super) credential: CredentialId,
    pub(super) owner: Option<Owner>,
    pub(super) tenant: Option<Tenant>,
    pub(super) labels: Arc<BTreeMap<Label, Label>>,
    pub(super) ceiling: Ceiling,
    pub(super) confirmation: Option<[u8; 32]>,
    pub(super) must_bind: bool,
    pub(super) uses: Uses,
    pub(super) lineage: Lineage,
    pub(super) may_act: Option<Arc<str>>,
    pub(super) actor: Option<Arc<Actor>>,
    pub(super) made_from: MadeFrom,
    pub(super) began: Began,
    pub(super) fence: Fence,
}

/// What kind of credential the subject presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// A bootstrap API key.
    ApiKey,
    /// A workload certificate (X.509-SVID).
    Certificate,
    /// A token that this broker issued.
    OwnToken,
}

impl CredentialKind {
    /// The name in policies, records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Certificate => "certificate",
            Self::OwnToken => "own_token",
        }
    }
}

/// What a credential reaches at most. A grant never exceeds it.
#[derive(Clone, Debug)]
pub struct Ceiling {
    /// Audiences, by registered name.
    pub audiences: Reach<Arc<[Audience]>>,
    /// Scopes.
    pub scopes: Reach<ScopeSet>,
    /// When the credential itself ends; no token made from it lives longer.
    pub not_after: Timestamp,
}

/// Up to a list, or up to what policy says alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach<T> {
    /// Nothing outside the list, which may be empty.
    Listed(T),
    /// The credential itself sets no bound (certificates); policy must.
    Policy,
}

/// Whether the credential can be used a finite number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uses {
    /// Without limit.
    Unlimited,
    /// A finite-use key: each exchange spends one of `limit` in the store.
    Limited {
        /// The key whose uses are counted.
        key: KeyPublicId,
        /// Uses in all.
        limit: u32,
    },
}

/// What a token made from this caller descends from: the `cmb` claim (DESIGN.md section 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// `c`: every credential in the ancestry, actors included, and every certificate that an ancestor is bound to; at most [`limits::LINEAGE`].
    pub credentials: Vec<CredentialId>,
    /// `l`: the markers that all subject and actor ancestor tokens would have, the keys that signed those, where they are not
    /// the one that signs the token itself, and the twins of the certificates
    /// ([`crate::trust::WorkloadCertificate::twin`]); at most [`limits::ANCESTORS`].
    pub ancestors: Vec<MarkerId>,
    /// `x`: audiences that tokens made from this one may be for; only ever shrinks.
    pub exchange: Reach<Arc<[Audience]>>,
}

/// The tokens of ours that were presented: what a token is made from, where it is made from any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MadeFrom {
    /// The subject token.
    pub subject: Option<TokenId>,
    /// The actor token.
    pub actor: Option<TokenId>,
}

/// When what was presented began: what the record keeps of a fence, so that cut-offs can be held against it later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Began {
    /// The subject credential.
    pub subject: Beginning,
    /// The credential of whoever presents an own token.
    pub actor: Option<Beginning>,
}

/// When one credential began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// A certificate's `notBefore`, the making of an API key, a token's `iat`.
    pub at: Timestamp,
    /// The key that signed it, where it is a token of ours.
    pub key: Option<KeyId>,
}

impl Began {
    /// One credential, and nobody else's beside it.
    pub(super) fn alone(at: Timestamp) -> Self {
        Self {
            subject: Beginning { at, key: None },
            actor: None,
        }
    }
}

impl Lineage {
    /// Whether both lists fit into a token.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.credentials.len() <= limits::LINEAGE && self.ancestors.len() <= limits::ANCESTORS
    }

    /// Adds something that the token falls with.
    pub(super) fn descend_from(&mut self, marker: MarkerId) {
        if !self.ancestors.contains(&marker) {
            self.ancestors.push(marker);
        }
    }
}

/// One actor and, nested, those before it (RFC 8693 section 4.1); at most [`limits::ACTORS`] deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The actor's `sub`.
    pub sub: Arc<str>,
    /// Whom it followed.
    pub previous: Option<Arc<Actor>>,
}

impl Actor {
    /// How many actors the chain names.
    #[must_use]
    pub fn depth(&self) -> usize {
        std::iter::successors(Some(self), |actor| actor.previous.as_deref()).count()
    }
}

impl Verified {
    /// The kind of the subject's credential.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// Who the token stands for: a SPIFFE ID, or a URI under our issuer.
    #[must_use]
    pub fn sub(&self) -> &Arc<str> {
        &self.sub
    }

    /// The party that the token is issued to (RFC 9068 section 2.2): the actor under delegation.
    #[must_use]
    pub fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    /// The credential presented as subject; for an own token, the credential at the root of its ancestry.
    #[must_use]
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// The team that answers for the credential, where one is registered.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// The tenant, where the credential has one.
    #[must_use]
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// The credential's labels.
    #[must_use]
    pub fn labels(&self) -> &Arc<BTreeMap<Label, Label>> {
        &self.labels
    }

    /// What the credential reaches at most.
    #[must_use]
    pub fn ceiling(&self) -> &Ceiling {
        &self.ceiling
    }

    /// SHA-256 of the certificate whose key the caller proved: what a token can be bound to.
    #[must_use]
    pub fn confirmation(&self) -> Option<&[u8; 32]> {
        self.confirmation.as_ref()
    }

    /// Whether the token must be bound because the one it is made from was.
    #[must_use]
    pub fn must_bind(&self) -> bool {
        self.must_bind
    }

    /// Whether uses are counted.
    #[must_use]
    pub fn uses(&self) -> Uses {
        self.uses
    }

    /// What the token will descend from.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The only principal that may act for the subject, as the presented token says.
    #[must_use]
    pub fn may_act(&self) -> Option<&Arc<str>> {
        self.may_act.as_ref()
    }

    /// The actor chain, if someone acts for the subject.
    #[must_use]
    pub fn actor(&self) -> Option<&Arc<Actor>> {
        self.actor.as_ref()
    }

    /// The tokens that were presented.
    #[must_use]
    pub fn made_from(&self) -> MadeFrom {
        self.made_from
    }

    /// When what was presented began.
    #[must_use]
    pub fn began(&self) -> &Began {
        &self.began
    }

    /// Adds the keys that signed the presented tokens to what the token descends from, but for `key`, which will sign it and
    /// takes it along anyway: whoever stole a key could otherwise exchange what they forged under the next one, and keep that.
    pub(crate) fn descend_from_keys_but(&mut self, key: &KeyId) {
        let presented = [Some(&self.began.subject), self.began.actor.as_ref()];
        let keys = presented.into_iter().flatten();
        for other in keys.filter_map(|one| one.key.as_ref().filter(|its| *its != key)) {
            self.lineage.descend_from(Thing::SigningKey(other).id());
        }
    }

    /// What markers are checked against.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }
}

#[cfg(test)]
use crate::marker::Part;

#[cfg(test)]
impl Verified {
    /// A verified certificate without a certificate.
    pub(crate) fn descended_for_test(
        sub: &str,
        lineage: Lineage,
        actor: Option<Arc<Actor>>,
        not_after: Timestamp,
    ) -> Self {
        Self {
            kind: CredentialKind::Certificate,
            sub: sub.into(),
            client_id: sub.into(),
            credential: CredentialId::Certificate([7; 32]),
            owner: None,
            tenant: None,
            labels: Arc::default(),
            ceiling: Ceiling {
                audiences: Reach::Policy,
                scopes: Reach::Policy,
                not_after,
            },
            confirmation: None,
            must_bind: false,
            uses: Uses::Unlimited,
            lineage,
            may_act: None,
            actor,
            made_from: MadeFrom::default(),
            began: Began::default(),
            fence: Fence::default(),
        }
    }

    /// A proof for the unit tests of later stages, with neither owner, tenant, actor nor ancestors.
    pub(crate) fn for_test(
        kind: CredentialKind,
        sub: &str,
        credential: CredentialId,
        ceiling: Ceiling,
        confirmation: Option<[u8; 32]>,
    ) -> Self {
        Self {
            kind,
            sub: sub.into(),
            client_id: sub.into(),
            credential,
            owner: None,
            tenant: None,
            labels: Arc::default(),
            lineage: Lineage {
                credentials: vec![credential],
                ancestors: Vec::new(),
                exchange: ceiling.audiences.clone(),
            },
            ceiling,
            confirmation,
            must_bind: false,
            uses: Uses::Unlimited,
            may_act: None,
            actor: None,
            made_from: MadeFrom::default(),
            began: Began::default(),
            fence: Fence::default(),
        }
    }

    /// An API key's holder, for the tests of later stages.
    pub(crate) fn of_key_for_test(key: KeyPublicId, sub: &str, actor: Option<Arc<Actor>>) -> Self {
        let credential = CredentialId::ApiKey(key);
        Self {
            kind: CredentialKind::ApiKey,
            sub: sub.into(),
            client_id: sub.into(),
            credential,
            owner: Owner::parse("shop").ok(),
            tenant: Tenant::parse("retail").ok(),
            labels: Arc::default(),
            ceiling: Ceiling {
                audiences: Reach::Policy,
                scopes: Reach::Policy,
                not_after: Timestamp::MAX,
            },
            confirmation: None,
            must_bind: false,
            uses: Uses::Unlimited,
            lineage: Lineage {
                credentials: vec![credential],
                ancestors: vec![MarkerId::new([7; 16])],
                exchange: Reach::Policy,
            },
            may_act: None,
            actor,
            made_from: MadeFrom::default(),
            began: Began::default(),
            fence: Fence::from_iter([Part::absolute(Thing::Credential(credential))]),
        }
    }

    /// The same with these tokens.
    pub(crate) fn made_from_for_test(mut self, made_from: MadeFrom) -> Self {
        self.made_from = made_from;
        self
    }

    /// The same of what began then.
    pub(crate) fn began_for_test(mut self, began: Began) -> Self {
        self.began = began;
        self
    }

    /// The same by a token that was issued then.
    pub(crate) fn by_token_for_test(mut self, issued: Timestamp) -> Self {
        self.fence
            .push(Part::dated(Thing::Issuer("https://issuer.example"), issued));
        self
    }
}
