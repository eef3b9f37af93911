//! What a marker could cover of a token or of a caller.

use super::{Kind, MarkerId, Second, Thing};
use crate::id::{CredentialId, KeyId, SpiffeId};
use jiff::Timestamp;

/// One thing that a marker could cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The id that its marker would have.
    pub id: MarkerId,
    /// When what stands or falls with it began: a marker covers it whose cut-off is not earlier.
    pub since: Second,
    /// What kind of thing it is.
    pub kind: Kind,
}

impl Part {
    /// A thing whose markers cover it whatever their cut-off: a token, a credential, a signing key.
    #[must_use]
    pub fn absolute(thing: Thing<'_>) -> Self {
        Self::known(thing.id(), thing.kind(), Second::FIRST)
    }

    /// A thing whose markers cover what began up to their cut-off: a subject by `iat`, `notBefore` or the making of a key; an
    /// issuer; a trust domain; the tokens of a credential.
    #[must_use]
    pub fn dated(thing: Thing<'_>, since: Timestamp) -> Self {
        Self::known(thing.id(), thing.kind(), Second::of(since))
    }

    /// The same of an id that is known already.
    #[must_use]
    pub const fn known(id: MarkerId, kind: Kind, since: Second) -> Self {
        Self { id, since, kind }
    }
}

/// Everything about a token, or about an issue, that a marker could cover: looked up when a credential is presented, once
/// more by the log writer right before the record is appended, and by whoever is handed the token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence(Vec<Part>);

impl Fence {
    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Adds a part. Of two that differ in their time alone the earlier one is kept: it is covered whenever the other is.
    pub fn push(&mut self, part: Part) {
        match self.0.iter_mut().find(|old| old.id == part.id) {
            Some(old) => old.since = old.since.min(part.since),
            None => self.0.push(part),
        }
    }
}

/// What a token tells of itself, as far as a marker could cover it.
#[derive(Clone, Copy, Debug)]
pub struct TokenParts<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `jti`.
    pub id: &'a str,
    /// `iat`.
    pub issued_at: Timestamp,
    /// The key that signed it.
    pub key: &'a KeyId,
    /// The certificate that it is bound to, by its SHA-256.
    pub bound_to: Option<[u8; 32]>,
    /// `cmb.c`.
    pub credentials: &'a [CredentialId],
    /// `cmb.l`.
    pub ancestors: &'a [MarkerId],
}

impl Fence {
    /// Of a token with these `subjects`: its `sub`, and those of its actors.
    #[must_use]
    pub fn of_token<'a>(
        token: &TokenParts<'a>,
        subjects: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let issued = token.issued_at;
        let ancestors = token.ancestors.iter();
        let bound_to = token.bound_to.map(CredentialId::Certificate);
        let credentials = token.credentials.iter().copied().chain(bound_to);
        let mut fence = Self(Vec::with_capacity(10));
        fence.push(Part::absolute(Thing::Token(token.issuer, token.id)));
        fence.extend(ancestors.map(|id| Part::known(*id, Kind::Token, Second::FIRST)));
        fence.extend(
            credentials
                .clone()
                .map(|id| Part::absolute(Thing::Credential(id))),
        );
        fence.extend(credentials.map(|id| Part::dated(Thing::TokensOf(id), issued)));
        fence.push(Part::absolute(Thing::SigningKey(token.key)));
        fence.push(Part::dated(Thing::Issuer(token.issuer), issued));
        fence.push(Part::dated(Thing::Rollback(token.issuer), issued));
        for sub in subjects {
            fence.extend(subject(token.issuer, sub, issued));
        }
        fence
    }
}

/// A subject as tokens name it, and the trust domain that it is of, where it is a workload.
pub fn subject(issuer: &str, sub: &str, since: Timestamp) -> impl Iterator<Item = Part> {
    let workload = SpiffeId::parse(sub).ok();
    let domain = workload.map(|id| {
        let domain = id.trust_domain();
        Part::dated(Thing::TrustDomain(domain.as_str()), since)
    });
    [Part::dated(Thing::Subject(issuer, sub), since)]
        .into_iter()
        .chain(domain)
}

impl Extend<Part> for Fence {
    fn extend<I: IntoIterator<Item = Part>>(&mut self, parts: I) {
        parts.into_iter().for_each(|part| self.push(part));
    }
}

impl FromIterator<Part> for Fence {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        let mut fence = Self::default();
        fence.extend(parts);
        fence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_times_of_one_thing_the_earlier_is_kept() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let part = |second| Part::dated(Thing::Issuer("a"), at(second));
        let fence: Fence = [part(9), part(7), part(8)].into_iter().collect();
        assert_eq!(fence.parts(), [part(7)]);
    }
}
