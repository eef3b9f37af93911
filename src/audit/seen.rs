//! A record as a reader sees it: what can be looked for.

use ipnet::IpNet;
use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::net::IpAddr;

/// A field by which records are found. A record may have several values in one. The numbers are in indexes on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Field {
    /// What happened: `issue`, `refuse`, `refusals`, or the kind of an act.
    Kind = 1,
    /// A credential, at the root of the token or anywhere in its ancestry.
    Credential = 2,
    /// Who asked or acted: subject, client, actors, peer.
    Principal = 3,
    /// The team that answers for it.
    Owner = 4,
    /// The audience, asked for or granted.
    Audience = 5,
    /// The token's `jti`.
    Token = 6,
    /// A digest of a token that this one was made from.
    Ancestor = 7,
    /// The `jti` of a token that was presented, as subject or as actor.
    MadeFrom = 12,
    /// Why it was refused.
    Code = 8,
    /// A rule that decided.
    Rule = 9,
    /// What an administrator did.
    Action = 10,
    /// To what.
    Target = 11,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Kind,
        Self::Credential,
        Self::Principal,
        Self::Owner,
        Self::Audience,
        Self::Token,
        Self::Ancestor,
        Self::MadeFrom,
        Self::Code,
        Self::Rule,
        Self::Action,
        Self::Target,
    ];
}

/// What is read of a record. Everything else in it is passed over.
#[derive(Debug, Deserialize)]
pub struct Seen<'a> {
    /// Its sequence.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// When it was made.
    pub time: Timestamp,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    peer: Option<Source>,
    #[serde(borrow, default)]
    peer_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    credential: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sub: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    client_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    owner: Option<Cow<'a, str>>,
    #[serde(default)]
    actors: Vec<String>,
    #[serde(borrow, default)]
    ask: Option<Named<'a>>,
    #[serde(borrow, default)]
    grant: Option<Named<'a>>,
    #[serde(borrow, default)]
    jti: Option<Cow<'a, str>>,
    #[serde(default)]
    lineage: Lineage,
    #[serde(borrow, default)]
    made_from: Presented<'a>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    target: Option<Cow<'a, str>>,
    #[serde(default)]
    rules: Vec<String>,
    #[serde(borrow, default)]
    refused: Vec<Group<'a>>,
}

#[derive(Debug, Deserialize)]
struct Source {
    address: Option<IpAddr>,
    #[serde(default)]
    uid: Option<LocalUser>,
}

/// A user of the machine, by the name that it has as an administrator.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "u32")]
pub struct LocalUser(pub String);

impl From<u32> for LocalUser {
    fn from(uid: u32) -> Self {
        Self(format!("uid:{uid}"))
    }
}

#[derive(Debug, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    audience: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
struct Lineage {
    #[serde(default)]
    c: Vec<String>,
    #[serde(default)]
    l: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Presented<'a> {
    #[serde(borrow, default)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    actor: Option<Cow<'a, str>>,
}

/// A part of a summary of refusals.
#[derive(Debug, Deserialize)]
struct Group<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    network: Option<IpNet>,
}

impl<'a> Seen<'a> {
    /// Reads a record's line.
    ///
    /// # Errors
    /// When it is not the JSON that a record is.
    pub fn read(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// Where the request came from.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.peer.as_ref().and_then(|peer| peer.address)
    }

    /// Where the requests came from that a summary of refusals counts; not of those that it counts without a network.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.refused.iter().filter_map(|group| group.network)
    }

    /// What it can be found by.
    pub fn terms(&self) -> impl Iterator<Item = (Field, &str)> {
        let single = [
            (Field::Kind, Some(&self.kind)),
            (Field::Credential, self.credential.as_ref()),
            (Field::Principal, self.sub.as_ref()),
            (Field::Principal, self.client_id.as_ref()),
            (Field::Principal, self.peer_id.as_ref()),
            (Field::Owner, self.owner.as_ref()),
            (Field::Audience, self.ask.as_ref().map(|ask| &ask.audience)),
            (Field::Audience, self.grant.as_ref().map(|it| &it.audience)),
            (Field::Token, self.jti.as_ref()),
            (Field::MadeFrom, self.made_from.subject.as_ref()),
            (Field::MadeFrom, self.made_from.actor.as_ref()),
            (Field::Code, self.code.as_ref()),
            (Field::Action, self.action.as_ref()),
            (Field::Target, self.target.as_ref()),
        ];
        let single = single
            .into_iter()
            .filter_map(|(field, value)| Some((field, &**value?)));
        let user = self.peer.as_ref().and_then(|peer| peer.uid.as_ref());
        let user = user.map(|LocalUser(name)| (Field::Principal, name.as_str()));
        let listed = [
            (Field::Principal, &self.actors),
            (Field::Credential, &self.lineage.c),
            (Field::Ancestor, &self.lineage.l),
            (Field::Rule, &self.rules),
        ];
        let listed = listed
            .into_iter()
            .flat_map(|(field, values)| values.iter().map(move |value| (field, value.as_str())));
        let codes = self.refused.iter().map(|group| (Field::Code, &*group.code));
        single.chain(user).chain(listed).chain(codes)
    }
}
