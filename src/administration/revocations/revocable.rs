//! What can be revoked, how far, and for how long.

use super::leaked::Leak;
use crate::id::{CredentialId, KeyId, KeyPublicId, Owner, TokenId, TrustDomain};
use crate::limits;
use crate::marker::{Second, Thing};
use jiff::Timestamp;

/// A thing that can be revoked, as whoever revokes it has it in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocable {
    /// A token, and all that descend from it; with what it says, where that is known.
    Token(TokenId, Option<InHand>),
    /// A certificate by its SHA-256, and all tokens that are made from it or bound to it; with its end, where that is known.
    Certificate([u8; 32], Option<Timestamp>),
    /// The tokens of a credential up to an instant, and all that descend from them: made from it, or bound to it. The
    /// credential stays good, and what is made from it later.
    TokensOf(CredentialId, Timestamp),
    /// A subject, as tokens name it.
    Subject(String, Reach),
    /// Our own issuer: every token up to an instant.
    Issuer(Timestamp),
    /// A SPIFFE trust domain.
    TrustDomain(TrustDomain, Reach),
    /// An API key, and all tokens made from it.
    ApiKey(KeyPublicId),
    /// The same of a key that was found where it should not be: where, for the record.
    LeakedKey(KeyPublicId, Leak),
    /// A signing key, and all tokens that it signed.
    SigningKey(KeyId),
    /// All API keys of an owner.
    Owner(Owner),
}

impl Revocable {
    /// The one API key that it is.
    pub(super) fn key(&self) -> Option<&KeyPublicId> {
        match self {
            Self::ApiKey(id) | Self::LeakedKey(id, _) => Some(id),
            _ => None,
        }
    }

    /// Whether revoking one of them revokes the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self == other || (self.key().is_some() && self.key() == other.key())
    }
}

/// What is known of a token by having it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InHand {
    /// Its end.
    pub end: Timestamp,
    /// The credential that its ancestry begins with.
    pub root: Option<CredentialId>,
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

/// Certificate markers name the certificate as a credential.
pub(super) fn certificate(fingerprint: &[u8; 32]) -> Thing<'static> {
    Thing::Credential(CredentialId::Certificate(*fingerprint))
}

/// The end of a token that was issued at the latest at `at` and of which nothing else is known: no configuration lets one
/// live longer.
pub(super) fn longest(at: Timestamp) -> Timestamp {
    at.saturating_add(limits::LONGEST_LIFETIME)
        .unwrap_or(Timestamp::MAX)
}
