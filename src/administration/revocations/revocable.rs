//! What can be revoked, how far, and for how long.

use crate::id::{CredentialId, KeyId, KeyPublicId, Owner, TokenId, TrustDomain};
use crate::limits;
use crate::marker::{Cover, Kind, Second, Thing};
use jiff::Timestamp;
use std::borrow::Cow;

/// A thing that can be revoked, as whoever revokes it has it in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocable {
    /// A token, and all that descend from it; with its end, where that is known.
    Token(TokenId, Option<Timestamp>),
    /// A certificate by its SHA-256, and all tokens that are made from it or bound to it; with its end, where that is known.
    Certificate([u8; 32], Option<Timestamp>),
    /// A subject, as tokens name it.
    Subject(String, Reach),
    /// Our own issuer: every token up to an instant.
    Issuer(Timestamp),
    /// A SPIFFE trust domain.
    TrustDomain(TrustDomain, Reach),
    /// An API key, and all tokens made from it.
    ApiKey(KeyPublicId),
    /// A signing key, and all tokens that it signed.
    SigningKey(KeyId),
    /// All API keys of an owner.
    Owner(Owner),
}

/// How far the revocation of a subject or of a trust domain reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What began up to this instant.
    Before(Timestamp),
    /// Everything, until it is taken back.
    Ban,
}

impl From<Reach> for Second {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Before(at) => Self::of(at),
            Reach::Ban => Self::NEVER,
        }
    }
}

/// A marker to be set: of what, and how far it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark<'a> {
    pub(super) thing: Thing<'a>,
    pub(super) cover: Cover,
}

impl Mark<'_> {
    /// The name of the thing for people, as records name it.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match self.thing {
            Thing::Token(_, id) => id.into(),
            Thing::Credential(id) => id.to_string().into(),
            Thing::Subject(_, sub) => sub.into(),
            Thing::Issuer(issuer) => issuer.into(),
            Thing::TrustDomain(domain) => domain.into(),
            Thing::SigningKey(id) => id.as_str().into(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.thing.kind()
    }
}

/// Certificate markers name the certificate as a credential.
pub(super) fn certificate(fingerprint: &[u8; 32]) -> Thing<'static> {
    Thing::Credential(CredentialId::Certificate(*fingerprint))
}

/// How long a marker stays: as long as the thing lives, and as verifiers may forgive.
pub(super) fn until(end: Timestamp) -> Second {
    let end = end.saturating_add(limits::VERIFIER_LEEWAY);
    end.map_or(Second::NEVER, Second::after)
}

/// The end of a token that was issued at the latest at `at` and of which nothing else is known: no configuration lets one
/// live longer.
pub(super) fn longest(at: Timestamp) -> Timestamp {
    at.saturating_add(limits::LONGEST_LIFETIME)
        .unwrap_or(Timestamp::MAX)
}
