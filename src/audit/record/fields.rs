//! The fields of a record, and how each value is written.

use crate::authn::{Actor, Began, Beginning, MadeFrom, Peer, Verified};
use crate::id::{Audience, CredentialId, KeyId, Owner, ScopeSet, Tenant, TokenId};
use crate::marker::MarkerId;
use crate::policy::{Ask, Binding, Grant, Rule};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::fmt::StdFmtWrite;
use jiff::fmt::temporal::DateTimePrinter;
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;
use std::net::IpAddr;

/// Everything a record can say; what is absent is left out. `kind` is first and stays so: the writer replaces it
/// when a marker turns an issue into a refusal.
#[derive(Default, Serialize)]
pub(super) struct Fields<'a> {
    pub(super) kind: &'static str,
    pub(super) time: Micros,
    pub(super) salt: Digest<16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) face: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credential: Option<Text<CredentialId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credential_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<&'a Owner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<&'a Tenant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actors: Option<Actors<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ask: Option<Asked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<Granted<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jti: Option<Text<TokenId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_sha256: Option<Digest<32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<&'a KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lineage: Option<Ancestry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) made_from: Option<Presented>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) began: Option<Begun<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rules: Option<Rules<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    /// Fills in who asks.
    pub(super) fn of_verified(mut self, verified: &'a Verified) -> Self {
        self.credential = Some(Text(verified.credential()));
        self.credential_kind = Some(verified.kind().name());
        self.sub = Some(verified.sub());
        self.client_id = Some(verified.client_id());
        self.owner = verified.owner();
        self.tenant = verified.tenant();
        self.actors = verified.actor().map(|actor| Actors(actor));
        let lineage = verified.lineage();
        self.lineage = Some(Ancestry {
            c: Listed(&lineage.credentials),
            l: Listed(&lineage.ancestors),
        });
        self.made_from = Presented::of(verified.made_from());
        self
    }

    /// Fills in where the request came from.
    pub(super) fn of_peer(mut self, peer: &'a Peer) -> Self {
        self.peer = Source::of(peer);
        self.peer_id = peer.certificate.as_ref().map(|c| c.spiffe_id().as_str());
        self
    }
}

/// The other end: a network address or a local user.
#[derive(Serialize)]
pub(super) struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
}

impl Source {
    fn of(peer: &Peer) -> Option<Self> {
        (peer.address.is_some() || peer.uid.is_some()).then_some(Self {
            address: peer.address,
            uid: peer.uid,
        })
    }
}

/// What was asked for. A lifetime is in seconds.
#[derive(Serialize)]
pub(super) struct Asked<'a> {
    audience: &'a Audience,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a ScopeSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime: Option<u64>,
    bind: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    may_act: Option<&'a str>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(ask: &'a Ask) -> Self {
        Self {
            audience: &ask.audience,
            scopes: ask.scopes.as_ref(),
            lifetime: ask.lifetime.map(|lifetime| lifetime.as_secs()),
            bind: ask.binding == Binding::Required,
            may_act: ask.may_act.as_deref(),
        }
    }
}

/// What was granted. `bound` is the `x5t#S256` of the certificate that the token is bound to.
#[derive(Serialize)]
pub(super) struct Granted<'a> {
    audience: &'a Audience,
    scopes: Listed<'a, crate::id::Scope>,
    lifetime: u64,
    not_after: Micros,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<Digest<32>>,
}

impl<'a> Granted<'a> {
    pub(super) fn of(grant: &'a Grant) -> Self {
        Self {
            audience: grant.audience(),
            scopes: Listed(grant.scopes().iter().as_slice()),
            lifetime: grant.lifetime().as_secs(),
            not_after: Micros(grant.not_after()),
            bound: grant.bound_to().copied().map(Digest),
        }
    }
}

/// The token's `cmb.c` and `cmb.l`.
#[derive(Serialize)]
pub(super) struct Ancestry<'a> {
    c: Listed<'a, CredentialId>,
    l: Listed<'a, MarkerId>,
}

/// The tokens of ours that were presented, by `jti`.
#[derive(Serialize)]
pub(super) struct Presented {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Text<TokenId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Text<TokenId>>,
}

impl Presented {
    pub(super) fn of(tokens: MadeFrom) -> Option<Self> {
        let MadeFrom { subject, actor } = tokens;
        (subject.is_some() || actor.is_some()).then(|| Self {
            subject: subject.map(Text),
            actor: actor.map(Text),
        })
    }
}

/// When what was presented began, in seconds: of an own token also what signed it, and when the credential began of whoever
/// presented it. With the rest of an issue that is all that a marker is held against, so that it can be done again from the log.
#[derive(Serialize)]
pub(super) struct Begun<'a> {
    subject: Beginnings<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Beginnings<'a>>,
}

#[derive(Serialize)]
struct Beginnings<'a> {
    at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

impl<'a> Begun<'a> {
    pub(super) fn of(began: &'a Began) -> Self {
        let of = |one: &'a Beginning| Beginnings {
            at: one.at.as_second(),
            kid: one.key.as_ref().map(KeyId::as_str),
        };
        Self {
            subject: of(&began.subject),
            actor: began.actor.as_ref().map(of),
        }
    }
}

/// A value written as its text form.
pub(super) struct Text<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

/// Bytes written as base64url.
#[derive(Clone, Copy)]
pub(super) struct Digest<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Default for Digest<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Serialize for Digest<N> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        // Four characters for three bytes: 43 for a SHA-256.
        let mut text = [0; 64];
        let written = URL_SAFE_NO_PAD
            .encode_slice(self.0, &mut text)
            .map_err(serde::ser::Error::custom)?;
        let text = text.get(..written).unwrap_or_default();
        out.serialize_str(std::str::from_utf8(text).unwrap_or_default())
    }
}

/// A list, each element in its own text form.
struct Listed<'a, T>(&'a [T]);

macro_rules! listed {
    ($element:ty, $item:ident => $text:expr) => {
        impl Serialize for Listed<'_, $element> {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_seq(self.0.iter().map(|$item| $text))
            }
        }
    };
}
listed!(CredentialId, id => Text(id));
listed!(MarkerId, id => Text(id));
listed!(crate::id::Scope, scope => scope.as_str());

/// The actor chain, the present actor first.
pub(super) struct Actors<'a>(&'a Actor);

impl Serialize for Actors<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut list = out.serialize_seq(None)?;
        let chain = std::iter::successors(Some(self.0), |actor| actor.previous.as_deref());
        for actor in chain {
            list.serialize_element(&*actor.sub)?;
        }
        list.end()
    }
}

/// The names of the rules that decided.
pub(super) struct Rules<'a>(pub(super) &'a [Rule]);

impl Serialize for Rules<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().map(|rule| &*rule.0))
    }
}

/// An instant as RFC 3339 in UTC with exactly six decimals.
#[derive(Clone, Copy, Default)]
pub(super) struct Micros(pub(super) Timestamp);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DateTimePrinter::new()
            .precision(Some(6))
            .print_timestamp(&self.0, StdFmtWrite(f))
            .map_err(|_| fmt::Error)
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}
