//! What a record tells of revocations, or of what they could cover.

use crate::audit::story::{CERTIFICATE, marker_of_key};
use crate::id::CredentialId;
use crate::marker::{self, Kind, MarkerId, Second};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What can be revoked, as records name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Thing<'a> {
    /// What descendants carry the marker of: a token, or the key that signed it.
    Ancestor(MarkerId),
    Credential(Cow<'a, str>),
    /// The tokens of a credential up to a cut-off, and not itself.
    TokensOf(Cow<'a, str>),
    Certificate(Cow<'a, str>),
    Subject(Cow<'a, str>),
    TrustDomain(Cow<'a, str>),
    Issuer,
    Rollback,
}

impl Thing<'_> {
    /// The same, to be kept.
    pub(super) fn owned(self) -> Thing<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Ancestor(id) => Thing::Ancestor(id),
            Self::Credential(id) => Thing::Credential(own(id)),
            Self::TokensOf(id) => Thing::TokensOf(own(id)),
            Self::Certificate(digest) => Thing::Certificate(own(digest)),
            Self::Subject(sub) => Thing::Subject(own(sub)),
            Self::TrustDomain(domain) => Thing::TrustDomain(own(domain)),
            Self::Issuer => Thing::Issuer,
            Self::Rollback => Thing::Rollback,
        }
    }

    /// A signing key by its `kid`.
    pub(super) fn signing_key(kid: &str) -> Option<Self> {
        marker_of_key(kid).map(Self::Ancestor)
    }

    /// A credential by its id. A certificate by its digest, which is what a token names that is bound to it.
    fn credential(id: &str) -> Thing<'_> {
        match id.strip_prefix(CERTIFICATE) {
            Some(digest) => Thing::Certificate(digest.into()),
            None => Thing::Credential(id.into()),
        }
    }
}

/// What is read of a record.
#[derive(Deserialize)]
pub(super) struct Told<'a> {
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    /// It came from the store's outbox.
    #[serde(default)]
    pub(super) store: Option<IgnoredAny>,
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) detail: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) credential: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sub: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    client_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    actors: Vec<Text<'a>>,
    #[serde(borrow, default)]
    grant: Granted<'a>,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    lineage: Lineage<'a>,
    #[serde(borrow, default)]
    began: Option<Began<'a>>,
    #[serde(borrow, default)]
    pub(super) action: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    target: Option<Cow<'a, str>>,
    /// Of as many shapes as there are actions.
    #[serde(borrow, default)]
    change: Option<&'a RawValue>,
}

/// One of a list: without escapes it is not copied.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
struct Granted<'a> {
    #[serde(borrow, default)]
    bound: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Lineage<'a> {
    #[serde(borrow, default)]
    c: Vec<Text<'a>>,
    #[serde(borrow, default)]
    l: Vec<Text<'a>>,
}

#[derive(Deserialize)]
struct Began<'a> {
    #[serde(borrow)]
    subject: Beginning<'a>,
    #[serde(borrow, default)]
    actor: Option<Beginning<'a>>,
}

#[derive(Deserialize)]
struct Beginning<'a> {
    at: i64,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct MarkerChange<'a> {
    #[serde(borrow)]
    pub(super) marker: Cow<'a, str>,
    /// None is always, or never.
    pub(super) before: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct KeyChange {
    pub(super) state: Option<KeyState>,
    /// Of a key that was rotated.
    pub(super) old_state: Option<KeyState>,
}

/// What a key is by its record.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyState {
    Active,
    Suspended,
    Revoked,
}

#[derive(Deserialize)]
pub(super) struct RingChange<'a> {
    #[serde(borrow)]
    pub(super) keys: Vec<RingMember<'a>>,
}

#[derive(Deserialize)]
pub(super) struct RingMember<'a> {
    #[serde(borrow)]
    pub(super) kid: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) state: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct RolledBack {
    pub(super) cut_off: Timestamp,
}

impl<'a> Told<'a> {
    /// What changed, where it is of this form.
    pub(super) fn change<T: Deserialize<'a>>(&self) -> Option<T> {
        serde_json::from_str(self.change?.get()).ok()
    }

    /// What a marker's record is about.
    pub(super) fn marker(&self) -> Option<(Thing<'_>, MarkerChange<'a>)> {
        let change: MarkerChange<'a> = self.change()?;
        let (kind, thing) = self.target.as_deref()?.split_once(':')?;
        let kind = Kind::ALL.into_iter().find(|one| one.name() == kind)?;
        let thing = match kind {
            Kind::Token | Kind::SigningKey => {
                Thing::Ancestor(MarkerId::parse(&change.marker).ok()?)
            }
            Kind::Credential if is_of_tokens(thing, &change.marker) => {
                Thing::TokensOf(thing.into())
            }
            Kind::Credential => Thing::credential(thing),
            Kind::Subject => Thing::Subject(thing.into()),
            Kind::Issuer => Thing::Issuer,
            Kind::TrustDomain => Thing::TrustDomain(thing.into()),
        };
        Some((thing, change))
    }

    /// What a marker could cover of an issue, and since when that is what it is: the same as the writer's
    /// [`crate::marker::Fence`], as far as the record tells.
    pub(super) fn parts(&self) -> Vec<(Thing<'_>, Second)> {
        let mut parts = Vec::with_capacity(16);
        let mut always = |thing| parts.push((thing, Second::FIRST));
        for Text(marker) in &self.lineage.l {
            if let Ok(id) = MarkerId::parse(marker) {
                always(Thing::Ancestor(id));
            }
        }
        for Text(id) in &self.lineage.c {
            always(Thing::credential(id));
        }
        if let Some(digest) = &self.grant.bound {
            always(Thing::Certificate(Cow::Borrowed(digest)));
        }
        let (subject, actor) = match &self.began {
            Some(began) => (Some(&began.subject), began.actor.as_ref()),
            None => (None, None),
        };
        let of_tokens = [subject, actor].into_iter().flatten();
        let of_tokens = of_tokens.filter_map(|token| Some((token.kid.as_deref()?, token.at)));
        let mut issued = self.iat.map(second);
        for (kid, at) in of_tokens {
            Thing::signing_key(kid).into_iter().for_each(&mut always);
            issued = issued.map(|issued| issued.min(second(at)));
        }
        if let Some(kid) = &self.kid {
            Thing::signing_key(kid).into_iter().for_each(&mut always);
        }
        // Which of the credentials a token that was presented had already is not told: they count from this one on.
        let bound = self.grant.bound.as_deref();
        let bound = bound.map(|digest| Cow::Owned(format!("{CERTIFICATE}{digest}")));
        let credentials = self.lineage.c.iter().map(|Text(id)| Cow::Borrowed(&**id));
        if let Some(at) = self.iat.map(second) {
            let credentials = credentials.chain(bound);
            parts.extend(credentials.map(|id| (Thing::TokensOf(id), at)));
        }
        if let Some(issued) = issued {
            parts.extend([(Thing::Issuer, issued), (Thing::Rollback, issued)]);
        }
        let own = subject.map(|one| second(one.at));
        let theirs = actor.map(|one| second(one.at)).or(own);
        self.subjects(own, theirs, &mut parts);
        parts
    }

    /// Whom it is for and who acts, `own` since the subject credential began, and who presented that since `theirs` did. One that
    /// is not known is later than any cut-off.
    fn subjects<'t>(
        &'t self,
        own: Option<Second>,
        theirs: Option<Second>,
        parts: &mut Vec<(Thing<'t>, Second)>,
    ) {
        let own = own.unwrap_or(Second::NEVER);
        let theirs = theirs.unwrap_or(Second::NEVER);
        let client = self.client_id.as_deref();
        let sub = self.sub.as_deref().map(|sub| (sub, own));
        let actors = self.actors.iter().map(|Text(actor)| (&**actor, own));
        // Whether a client was an actor before it presented this, and so has its part in the token's time, is not told.
        let actors = actors.filter(|(actor, _)| Some(*actor) != client);
        let client = client.map(|client| (client, theirs));
        for (name, since) in sub.into_iter().chain(actors).chain(client) {
            parts.push((Thing::Subject(name.into()), since));
            if let Some(domain) = trust_domain(name) {
                parts.push((Thing::TrustDomain(domain.into()), since));
            }
        }
    }
}

/// Whether a marker of a credential is of its tokens.
fn is_of_tokens(credential: &str, marker: &str) -> bool {
    let id = CredentialId::parse(credential).ok();
    let of = id.map(|id| marker::Thing::TokensOf(id).id().to_string());
    of.as_deref() == Some(marker)
}

/// The trust domain of a workload's SPIFFE ID.
fn trust_domain(sub: &str) -> Option<&str> {
    let path = sub.strip_prefix("spiffe://")?;
    path.split('/').next()
}

/// A second of a record. One that no clock shows is later than any cut-off.
fn second(at: i64) -> Second {
    Timestamp::from_second(at).map_or(Second::NEVER, Second::of)
}
