//! The claims of an access token, as a resource server needs them (RFC 9068 section 2.2).

use crate::id::{Audience, ScopeSet};
use crate::jose::{NumericDate, non_null};
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
}

/// What a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Whoever holds it may present it.
    Bearer,
    /// The key of the certificate with this SHA-256 (RFC 8705 section 3.1).
    Certificate([u8; 32]),
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
}

/// `cnf`: how its presenter proves itself.
#[derive(Deserialize)]
struct Confirmation {
    #[serde(default, rename = "x5t#S256")]
    certificate: Option<String>,
    /// Other methods, which nobody here can check.
    #[serde(flatten)]
    others: BTreeMap<String, serde::de::IgnoredAny>,
}

impl Text {
    pub(super) fn binding(&self) -> Binding {
        let Some(cnf) = &self.cnf else {
            return Binding::Bearer;
        };
        let text = cnf.certificate.as_ref().filter(|_| cnf.others.is_empty());
        text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(Binding::Unknown, Binding::Certificate)
    }

    pub(super) fn is_for(&self, audience: &Audience) -> bool {
        self.aud.contains(audience)
    }

    pub(super) fn believed(self) -> AccessToken {
        AccessToken {
            binding: self.binding(),
            issuer: self.iss,
            sub: self.sub,
            audiences: self.aud,
            expires_at: self.exp.timestamp(),
            issued_at: self.iat.timestamp(),
            id: self.jti,
            client_id: self.client_id,
            scopes: self.scope,
            actor: self.act,
        }
    }
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
