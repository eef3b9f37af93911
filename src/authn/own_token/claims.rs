//! The claims of a token that this broker issued, as they are read back when it is exchanged again.

use crate::authn::{Actor, Lineage, Reach};
use crate::id::{Audience, CredentialId, ScopeSet, TokenId};
use crate::jose::{JoseError, NumericDate, Validity, non_null};
use crate::limits;
use crate::marker::{MarkerId, Thing};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use std::sync::Arc;

/// The claims of an own token. Believe them only inside a [`crate::jose::VerifiedJwt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnClaims {
    /// `iss`.
    pub issuer: Arc<str>,
    /// `sub`.
    pub sub: Arc<str>,
    /// `aud`.
    pub audience: Audience,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `jti`.
    pub id: TokenId,
    /// `client_id`: the party that it was issued to.
    pub client_id: Arc<str>,
    /// `scope`; empty, never all, where it is absent.
    pub scopes: ScopeSet,
    /// `cnf`: SHA-256 of the certificate that it is bound to.
    pub bound_to: Option<[u8; 32]>,
    /// `act`, nested.
    pub actor: Option<Arc<Actor>>,
    /// `may_act`, which the token's issuer may have put there.
    pub may_act: Option<MayAct>,
    /// `cmb`.
    pub lineage: Lineage,
}

/// Who may become the actor (RFC 8693 section 4.4). Anything else that it says would narrow it further, so that it is
/// refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayAct {
    /// The actor's `sub`.
    pub sub: String,
    /// The actor's issuer; ours where it is absent.
    #[serde(default)]
    pub iss: Option<String>,
}

/// The text form. A member that is not known could be a bound that a later version sets: the token is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    iss: Arc<str>,
    sub: Arc<str>,
    aud: Audience,
    exp: NumericDate,
    iat: NumericDate,
    jti: TokenId,
    client_id: Arc<str>,
    #[serde(default, deserialize_with = "scopes")]
    scope: ScopeSet,
    #[serde(default, deserialize_with = "non_null")]
    cnf: Option<Confirmation>,
    #[serde(default, deserialize_with = "non_null")]
    act: Option<Acting>,
    #[serde(default, deserialize_with = "non_null")]
    may_act: Option<MayAct>,
    cmb: Ancestry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate: Digest<32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acting {
    sub: Arc<str>,
    #[serde(default, deserialize_with = "non_null")]
    act: Option<Box<Acting>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ancestry {
    c: Vec<CredentialId>,
    l: Vec<Digest<16>>,
    x: Exchange,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    #[serde(default, deserialize_with = "non_null")]
    any: Option<bool>,
    #[serde(default, deserialize_with = "non_null")]
    aud: Option<Vec<Audience>>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Digest<const N: usize>([u8; N]);

impl<const N: usize> TryFrom<String> for Digest<N> {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or("not a digest in base64url")
    }
}

fn scopes<'de, D: Deserializer<'de>>(input: D) -> Result<ScopeSet, D::Error> {
    let text = String::deserialize(input)?;
    ScopeSet::parse(&text).map_err(serde::de::Error::custom)
}

impl OwnClaims {
    /// The id of its marker: how it stands in the `cmb.l` of its descendants.
    #[must_use]
    pub fn marker(&self) -> MarkerId {
        Thing::Token(&self.issuer, &self.id.to_string()).id()
    }

    /// Whether `sub`, a principal of ours, may become the actor (RFC 8693 section 4.4).
    #[must_use]
    pub fn may_be_acted_for_by(&self, sub: &str) -> bool {
        self.may_act.as_ref().is_none_or(|named| {
            named.sub == sub
                && named
                    .iss
                    .as_deref()
                    .is_none_or(|issuer| issuer == &*self.issuer)
        })
    }
}

impl Text {
    pub(super) fn validity(&self) -> Validity {
        Validity {
            expires: self.exp,
            issued: Some(self.iat),
            not_before: None,
        }
    }
}

impl TryFrom<Text> for OwnClaims {
    type Error = JoseError;

    fn try_from(text: Text) -> Result<Self, JoseError> {
        let lineage = text.cmb.lineage()?;
        let mut chain = Vec::new();
        let mut next = text.act.map(Box::new);
        while let Some(acting) = next {
            chain.push(acting.sub);
            next = acting.act;
        }
        if chain.len() > limits::ACTORS {
            return Err(JoseError::BadClaims("act is nested too deep"));
        }
        let actor = chain.into_iter().rev().fold(None, |previous, sub| {
            Some(Arc::new(Actor { sub, previous }))
        });
        Ok(Self {
            issuer: text.iss,
            sub: text.sub,
            audience: text.aud,
            expires_at: text.exp.timestamp(),
            issued_at: text.iat.timestamp(),
            id: text.jti,
            client_id: text.client_id,
            scopes: text.scope,
            bound_to: text.cnf.map(|cnf| cnf.certificate.0),
            actor,
            may_act: text.may_act,
            lineage,
        })
    }
}

impl Ancestry {
    fn lineage(self) -> Result<Lineage, JoseError> {
        let exchange = match (self.x.any, self.x.aud) {
            (Some(true), None) => Reach::Policy,
            (None, Some(audiences)) if audiences.len() <= limits::KEY_AUDIENCES => {
                Reach::Listed(audiences.into())
            }
            _ => return Err(JoseError::BadClaims("cmb.x")),
        };
        let lineage = Lineage {
            credentials: self.c,
            ancestors: self
                .l
                .into_iter()
                .map(|digest| MarkerId::new(digest.0))
                .collect(),
            exchange,
        };
        if lineage.fits() {
            Ok(lineage)
        } else {
            Err(JoseError::BadClaims("cmb is too long"))
        }
    }
}
