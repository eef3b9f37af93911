//! The claims of an access token, as a resource server needs them (RFC 9068 section 2.2).

use crate::id::{Audience, CredentialId, KeyId, ScopeSet};
use crate::jose::{JoseError, NumericDate, Validity, non_null};
use crate::limits;
use crate::marker::{Fence, MarkerId, TokenParts};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// A verified token's claims. Claims that are not listed were not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// `iss`.
    pub issuer: String,
    /// `sub`: who the token stands for.
    pub sub: String,
    /// `aud`, the verifier's own among them.
    pub audiences: Vec<Audience>,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `jti`.
    pub id: String,
    /// `client_id`: the party that it was issued to.
    pub client_id: String,
    /// `scope`; empty where it is absent, which means none.
    pub scopes: ScopeSet,
    /// `cnf`: whether, and how, its presenter must prove itself.
    pub binding: Binding,
    /// `act`: who acts for the subject now. Decide by this one; those before it are history (RFC 8693 section 4.1).
    pub actor: Option<Actor>,
    /// `cmb.c`: every credential that it descends from, its actors' included; empty for another kind of issuer.
    pub credentials: Vec<CredentialId>,
    /// `cmb.l`: what else it falls with, by the ids of the markers: every token that it descends from, other keys that signed
    /// those, and each certificate that differs from one of its ancestry in its signature alone. Empty for another kind of
    /// issuer.
    pub ancestors: Vec<MarkerId>,
    /// The key that signed it.
    pub key: KeyId,
}

/// What a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Whoever holds it may present it.
    Bearer,
    /// The key of the certificate with this SHA-256 (RFC 8705 section 3.1).
    Certificate([u8; 32]),
    /// The key with this thumbprint (RFC 7638), by `jkt` (RFC 9449 section 6.1).
    Key([u8; 32]),
    /// Something that is not known here.
    Unknown,
}

/// A party that acts for a subject.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Actor {
    /// The actor's `sub`.
    pub sub: String,
    /// Whom it followed.
    #[serde(default, rename = "act", deserialize_with = "non_null")]
    pub previous: Option<Box<Actor>>,
}

#[derive(Deserialize)]
pub(super) struct Text {
    pub(super) iss: String,
    sub: String,
    #[serde(deserialize_with = "audiences")]
    aud: Vec<Audience>,
    pub(super) exp: NumericDate,
    pub(super) iat: NumericDate,
    #[serde(default, deserialize_with = "non_null")]
    pub(super) nbf: Option<NumericDate>,
    jti: String,
    client_id: String,
    #[serde(default, deserialize_with = "scopes")]
    scope: ScopeSet,
    #[serde(default, deserialize_with = "non_null")]
    cnf: Option<Confirmation>,
    #[serde(default, deserialize_with = "non_null")]
    act: Option<Actor>,
    #[serde(default, deserialize_with = "non_null")]
    cmb: Option<Ancestry>,
}

/// `cmb`, as far as a marker could cover it. Without it a token has no ancestry that could be revoked; where it is there
/// and cannot be read, the token is refused: what it descends from would not be looked up.
#[derive(Default, Deserialize)]
struct Ancestry {
    c: Vec<CredentialId>,
    #[serde(deserialize_with = "markers")]
    l: Vec<MarkerId>,
}

/// `cnf`: how its presenter proves itself.
#[derive(Deserialize)]
struct Confirmation {
    #[serde(default, rename = "x5t#S256")]
    certificate: Option<String>,
    #[serde(default)]
    jkt: Option<String>,
    /// Other methods, which nobody here can check.
    #[serde(flatten)]
    others: BTreeMap<String, serde::de::IgnoredAny>,
}

impl Actor {
    /// It and whom it followed, the current one first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |actor| actor.previous.as_deref())
    }
}

impl AccessToken {
    /// Everything about it that a marker could cover.
    #[must_use]
    pub fn fence(&self) -> Fence {
        let bound_to = match self.binding {
            Binding::Certificate(digest) => Some(digest),
            Binding::Bearer | Binding::Key(_) | Binding::Unknown => None,
        };
        let parts = TokenParts {
            issuer: &self.issuer,
            id: &self.id,
            issued_at: self.issued_at,
            key: &self.key,
            bound_to,
            credentials: &self.credentials,
            ancestors: &self.ancestors,
        };
        let actors = self.actor.iter().flat_map(Actor::chain);
        let actors = actors.map(|actor| actor.sub.as_str());
        Fence::of_token(&parts, std::iter::once(self.sub.as_str()).chain(actors))
    }
}

impl Confirmation {
    fn binding(&self) -> Binding {
        let digest = |text: &str| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok();
        let known = match (&self.certificate, &self.jkt) {
            _ if !self.others.is_empty() => None,
            (Some(text), None) => digest(text).map(Binding::Certificate),
            (None, Some(text)) => digest(text).map(Binding::Key),
            (Some(_), Some(_)) | (None, None) => None,
        };
        known.unwrap_or(Binding::Unknown)
    }
}

impl Text {
    pub(super) fn validity(&self) -> Validity {
        Validity {
            expires: self.exp,
            issued: Some(self.iat),
            not_before: self.nbf,
        }
    }

    pub(super) fn is_for(&self, audience: &Audience) -> bool {
        self.aud.contains(audience)
    }

    /// The claims of a token that was signed by `key`.
    pub(super) fn believed(self, key: KeyId) -> Result<AccessToken, JoseError> {
        let Ancestry { c, l } = self.cmb.unwrap_or_default();
        if c.len() > limits::LINEAGE || l.len() > limits::ANCESTORS {
            return Err(JoseError::BadClaims("cmb holds too much"));
        }
        let binding = self.cnf.as_ref();
        Ok(AccessToken {
            binding: binding.map_or(Binding::Bearer, Confirmation::binding),
            issuer: self.iss,
            sub: self.sub,
            audiences: self.aud,
            expires_at: self.exp.timestamp(),
            issued_at: self.iat.timestamp(),
            id: self.jti,
            client_id: self.client_id,
            scopes: self.scope,
            actor: self.act,
            credentials: c,
            ancestors: l,
            key,
        })
    }
}

fn markers<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<MarkerId>, D::Error> {
    let texts = Vec::<String>::deserialize(input)?;
    let ids: Result<_, _> = texts.iter().map(|text| MarkerId::parse(text)).collect();
    ids.map_err(serde::de::Error::custom)
}

/// One audience or a list of them (RFC 7519 section 4.1.3).
fn audiences<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Audience>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Audience),
        Many(Vec<Audience>),
    }

    Ok(match OneOrMany::deserialize(input)? {
        OneOrMany::One(audience) => vec![audience],
        OneOrMany::Many(audiences) => audiences,
    })
}

fn scopes<'de, D: Deserializer<'de>>(input: D) -> Result<ScopeSet, D::Error> {
    let text = String::deserialize(input)?;
    ScopeSet::parse(&text).map_err(serde::de::Error::custom)
}
