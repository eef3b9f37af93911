//! What can be revoked, and the ids of its markers.

use crate::id::{CredentialId, KeyId};
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// What parts the ids of other things from those of tokens, whose hash begins with an issuer's URL.
const DOMAIN: &[u8] = b"cambist marker v1";

/// The id of a marker: the first 128 bits of SHA-256 over what it covers. As text, 22 characters of base64url.
///
/// That of a token is over issuer, a zero byte and `jti`, and is what its descendants carry in `cmb.l`, with that of the key
/// that signed it where another one signed them. All others are over
/// `cambist marker v1`, the kind's name and the thing's parts, each after a zero byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkerId([u8; 16]);

/// The text is not the id of a marker.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not the id of a marker")]
pub struct NotAMarkerId;

impl MarkerId {
    /// An id from its bits.
    #[must_use]
    pub const fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// [`NotAMarkerId`].
    pub fn parse(text: &str) -> Result<Self, NotAMarkerId> {
        let mut bits = [0; 16];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bits) {
            Ok(16) => Ok(Self(bits)),
            _ => Err(NotAMarkerId),
        }
    }
}

/// Its bits are a hash already.
impl Hash for MarkerId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl fmt::Display for MarkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        base64::display::Base64Display::new(&self.0, &URL_SAFE_NO_PAD).fmt(f)
    }
}

impl fmt::Debug for MarkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What kind of thing a marker covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One token, and with it all that descend from it.
    Token,
    /// One credential: an API key, or a certificate; and all tokens made from it or bound to it.
    Credential,
    /// One subject of an issuer.
    Subject,
    /// One issuer: its tokens.
    Issuer,
    /// One SPIFFE trust domain: its certificates, and tokens for its workloads.
    TrustDomain,
    /// One signing key: the tokens that it signed.
    SigningKey,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Token,
        Self::Credential,
        Self::Subject,
        Self::Issuer,
        Self::TrustDomain,
        Self::SigningKey,
    ];

    /// The name in records, listings and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Credential => "credential",
            Self::Subject => "subject",
            Self::Issuer => "issuer",
            Self::TrustDomain => "trust_domain",
            Self::SigningKey => "signing_key",
        }
    }
}

/// A thing that can be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing<'a> {
    /// A token, by its issuer and `jti`.
    Token(&'a str, &'a str),
    /// A credential.
    Credential(CredentialId),
    /// The tokens of a credential: those made from it, and those bound to it where it is a certificate. Apart from the
    /// credential's own marker, which says whether the credential itself is good, so that neither is set or taken back with
    /// the other.
    TokensOf(CredentialId),
    /// A subject, as tokens name it: by issuer and `sub`.
    Subject(&'a str, &'a str),
    /// An issuer.
    Issuer(&'a str),
    /// What an issuer had issued when a rollback was accepted. Apart from the issuer's own marker, so that neither is set or
    /// taken back with the other.
    Rollback(&'a str),
    /// A SPIFFE trust domain.
    TrustDomain(&'a str),
    /// A signing key.
    SigningKey(&'a KeyId),
}

impl Thing<'_> {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Token(..) => Kind::Token,
            Self::Credential(_) | Self::TokensOf(_) => Kind::Credential,
            Self::Subject(..) => Kind::Subject,
            Self::Issuer(_) | Self::Rollback(_) => Kind::Issuer,
            Self::TrustDomain(_) => Kind::TrustDomain,
            Self::SigningKey(_) => Kind::SigningKey,
        }
    }

    /// Its name for people, as records name it.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Credential(id) | Self::TokensOf(id) => id.to_string().into(),
            Self::SigningKey(id) => id.as_str().into(),
            Self::Token(_, name)
            | Self::Subject(_, name)
            | Self::Issuer(name)
            | Self::Rollback(name)
            | Self::TrustDomain(name) => (*name).into(),
        }
    }

    /// The id of its marker.
    #[must_use]
    pub fn id(&self) -> MarkerId {
        let (one, two): (&str, &str) = match self {
            Self::Token(issuer, id) => return hash(&[issuer.as_bytes(), id.as_bytes()]),
            Self::Credential(id) => return of(self.kind(), &id.to_string(), ""),
            Self::TokensOf(id) => return of(self.kind(), &id.to_string(), "tokens"),
            Self::Subject(issuer, sub) => (issuer, sub),
            Self::Issuer(issuer) => (issuer, ""),
            Self::Rollback(issuer) => (issuer, "rollback"),
            Self::TrustDomain(domain) => (domain, ""),
            Self::SigningKey(id) => (id.as_str(), ""),
        };
        of(self.kind(), one, two)
    }
}

fn of(kind: Kind, one: &str, two: &str) -> MarkerId {
    hash(&[
        DOMAIN,
        kind.name().as_bytes(),
        one.as_bytes(),
        two.as_bytes(),
    ])
}

fn hash(parts: &[&[u8]]) -> MarkerId {
    let mut context = Context::new(&SHA256);
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            context.update(&[0]);
        }
        context.update(part);
    }
    let mut bits = [0; 16];
    let digest = context.finish();
    bits.iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    MarkerId(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn what_differs_in_kind_or_part_differs_in_id() {
        let certificate = CredentialId::Certificate([7; 32]);
        let key = KeyId::parse("a").unwrap();
        let things = [
            Thing::Token("a", "b"),
            Thing::Token("b", "a"),
            Thing::Token("a", "c"),
            Thing::Credential(certificate),
            Thing::TokensOf(certificate),
            Thing::Subject("a", "b"),
            Thing::Subject("b", "a"),
            Thing::Subject("ab", ""),
            Thing::Issuer("a"),
            Thing::Rollback("a"),
            Thing::TrustDomain("a"),
            Thing::SigningKey(&key),
        ];
        let ids: HashSet<_> = things.iter().map(|thing| *thing.id().bits()).collect();
        assert_eq!(ids.len(), things.len());
        let kinds: HashSet<_> = things.iter().map(|thing| thing.kind().name()).collect();
        assert_eq!(kinds.len(), Kind::ALL.len());
    }

    #[test]
    fn ids_are_what_others_compute() {
        // printf 'https://a\0AAAAAAAAAAAAAAAAAAAAAA' | sha256sum, and the like.
        let token = Thing::Token("https://a", "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(token.id().to_string(), TOKEN);
        let subject = Thing::Subject("https://a", "spiffe://b/c");
        assert_eq!(subject.id().to_string(), SUBJECT);
    }

    const TOKEN: &str = "wtlSoRRg_uzClV0mjwSiOQ";
    const SUBJECT: &str = "MToqchgyeeEL4QvET_5pAA";

    #[test]
    fn ids_print_and_parse_back() {
        let id = Thing::Issuer("a").id();
        assert_eq!(MarkerId::parse(&id.to_string()), Ok(id));
        for bad in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAAA==",
        ] {
            assert_eq!(MarkerId::parse(bad), Err(NotAMarkerId), "{bad}");
        }
    }
}
