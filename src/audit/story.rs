//! One token's whole story: what it was made from, what was made from it, and what became of all of them.

use super::device::Segments;
use super::filter::Filter;
use super::read::{Entry, ReadError};
use super::record::{MARKER_REINSTATED, MARKER_SET, ROLLBACK_ACCEPTED, SIGNING_KEY_COMPROMISED};
use super::search::{Order, search};
use super::seen::Field;
use crate::id::KeyId;
use crate::limits;
use crate::marker::{MarkerId, Thing};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// How a record belongs to a token's story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// A token that it was made from, up to the first.
    Ancestor,
    /// The token itself.
    Token,
    /// Made from it.
    Descendant,
    /// Refused where it, or one made from it, was presented.
    Refusal,
    /// Done, while it lived, to a credential or a key that it hangs by.
    Change,
}

impl Relation {
    /// The name for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ancestor => "ancestor",
            Self::Token => "token",
            Self::Descendant => "descendant",
            Self::Refusal => "refusal",
            Self::Change => "change",
        }
    }
}

/// The story, in the log's order; empty where there is no such token.
#[derive(Debug, Default)]
pub struct Story {
    /// Its records.
    pub records: Vec<(Relation, Entry)>,
    /// What of the log cannot be read.
    pub problems: Vec<String>,
    /// Whether there is more of it than [`limits::STORY`] records.
    pub longer: bool,
}

/// As far as the times of records may be from their order: they are told when a record is begun, and it takes its place later;
/// and the clocks of one node differ from themselves. So long before a token's own record may stand the time of what was done
/// after it, and so long after its end that of its last refusal.
const DISORDER: SignedDuration = SignedDuration::from_secs(60);
/// How the id of a credential begins that is a certificate; its SHA-256 follows.
pub(super) const CERTIFICATE: &str = "x509:";

/// Tells a token's story from the records before `end` that `visible` lets through, and of the markers that cover the token,
/// also where they are nobody's: who may see it is told that it is revoked. Blocks: reads files, from end to end a
/// few times where the search does.
///
/// # Errors
/// When the segments cannot be listed.
pub fn story(
    segments: Arc<dyn Segments>,
    visible: Filter,
    end: u64,
    token: &str,
) -> Result<Story, ReadError> {
    let mut teller = Teller {
        segments,
        visible,
        found: BTreeMap::new(),
        problems: BTreeSet::new(),
        longer: false,
    };
    let its = Filter::default().within(Field::Token, [token.to_owned()].into());
    let itself = teller.find(its, 0..end, |_| Some(Relation::Token))?;
    if let Some(own) = itself.into_iter().next() {
        teller.ancestors(&own)?;
        teller.descendants(token, &own, end)?;
        teller.changes(&own, end)?;
    }
    Ok(Story {
        records: teller.found.into_values().collect(),
        problems: teller.problems.into_iter().collect(),
        longer: teller.longer,
    })
}

/// What is read of a record for the story to go on.
#[derive(Debug, Deserialize)]
struct Told {
    seq: u64,
    time: Timestamp,
    kind: String,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    exp: Option<i64>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    credential: Option<String>,
    #[serde(default)]
    lineage: Lineage,
    #[serde(default)]
    grant: Granted,
    #[serde(default)]
    made_from: BTreeMap<String, String>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    actors: Vec<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    change: Value,
}

#[derive(Debug, Default, Deserialize)]
struct Lineage {
    #[serde(default)]
    c: BTreeSet<String>,
    #[serde(default)]
    l: BTreeSet<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Granted {
    /// The certificate that the token is bound to, by its SHA-256.
    #[serde(default)]
    bound: Option<String>,
}

impl Told {
    /// From when on what follows it in the log can be.
    fn begin(&self) -> Option<Timestamp> {
        self.time.checked_sub(DISORDER).ok()
    }

    /// Until when something can happen to it.
    fn end(&self) -> Option<Timestamp> {
        let end = Timestamp::from_second(self.exp?).ok()?;
        end.checked_add(DISORDER).ok()
    }

    /// Whether it is about the token `own`: done to a credential of its ancestry, to its key, or to all tokens.
    fn changes(&self, own: &Self) -> bool {
        match self.action.as_deref() {
            Some(ROLLBACK_ACCEPTED) => true,
            Some(MARKER_SET | MARKER_REINSTATED) => {
                let marker = self.change.get("marker").and_then(Value::as_str);
                let told = marker.zip(self.target.as_deref());
                told.is_some_and(|(marker, target)| own.could_be_covered_by(marker, target))
            }
            Some(SIGNING_KEY_COMPROMISED) => {
                let keys = self.change.get("keys").and_then(Value::as_array);
                let text = |key: &Value, member| Some(key.get(member)?.as_str()?.to_owned());
                let mut bad = keys
                    .into_iter()
                    .flatten()
                    .filter(|key| text(key, "state").as_deref() == Some("compromised"))
                    .filter_map(|key| text(key, "kid"));
                bad.any(|kid| {
                    let marker = marker_of_key(&kid).map(|id| id.to_string());
                    own.kid.as_ref() == Some(&kid)
                        || marker.is_some_and(|marker| own.lineage.l.contains(&marker))
                })
            }
            _ => {
                let credential = self.credential.as_ref();
                credential.is_some_and(|credential| own.lineage.c.contains(credential))
            }
        }
    }
}

impl Told {
    /// Whether a marker, as its record tells of it, could cover the token: itself, what it descends from, whom it is for, and
    /// the certificate that it is bound to.
    fn could_be_covered_by(&self, marker: &str, target: &str) -> bool {
        let mut subjects = self.actors.iter().chain(&self.sub);
        let Some((kind, thing)) = target.split_once(':') else {
            return false;
        };
        let is_one = match kind {
            "token" => self.jti.as_deref() == Some(thing),
            "credential" => self.lineage.c.contains(thing) || self.is_bound_to(thing),
            "subject" => subjects.any(|sub| sub == thing),
            "trust_domain" => subjects.any(|sub| is_of_domain(sub, thing)),
            "issuer" => true,
            _ => false,
        };
        is_one || self.lineage.l.contains(marker)
    }

    /// Whether it is bound to a certificate, which need not be what it was made from.
    fn is_bound_to(&self, credential: &str) -> bool {
        let bound = self.grant.bound.as_deref();
        bound.is_some() && bound == credential.strip_prefix(CERTIFICATE)
    }
}

/// The marker of a signing key: what is exchanged from its tokens under another one carries it.
pub(super) fn marker_of_key(kid: &str) -> Option<MarkerId> {
    let key = KeyId::parse(kid).ok()?;
    Some(Thing::SigningKey(&key).id())
}

/// Whether a subject is a workload of a trust domain.
pub(super) fn is_of_domain(sub: &str, domain: &str) -> bool {
    let rest = sub.strip_prefix("spiffe://");
    let rest = rest.and_then(|rest| rest.strip_prefix(domain));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

struct Teller {
    segments: Arc<dyn Segments>,
    visible: Filter,
    /// By sequence.
    found: BTreeMap<u64, (Relation, Entry)>,
    problems: BTreeSet<String>,
    longer: bool,
}

impl Teller {
    /// Adds what a filter lets through, of what may be seen, and `relate` says how it belongs. Gives what is new.
    fn find(
        &mut self,
        filter: Filter,
        within: Range<u64>,
        relate: impl Fn(&Told) -> Option<Relation>,
    ) -> Result<Vec<Told>, ReadError> {
        let mut filter = filter;
        // What may be seen is narrowed, never the other way round.
        for (field, values) in &self.visible.terms {
            filter = filter.within(*field, values.clone());
        }
        self.find_any(filter, within, relate)
    }

    /// The same of all records, whoever's they are.
    fn find_any(
        &mut self,
        filter: Filter,
        within: Range<u64>,
        relate: impl Fn(&Told) -> Option<Relation>,
    ) -> Result<Vec<Told>, ReadError> {
        let mut new = Vec::new();
        for entry in search(
            Arc::clone(&self.segments),
            filter,
            within,
            Order::OldestFirst,
        )? {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.problems.insert(error.to_string());
                    continue;
                }
            };
            let Ok(told) = serde_json::from_slice::<Told>(&entry.line) else {
                let error = ReadError::Unreadable(entry.sequence);
                self.problems.insert(error.to_string());
                continue;
            };
            let Some(relation) = relate(&told) else {
                continue;
            };
            if self.found.contains_key(&told.seq) {
                continue;
            }
            if self.found.len() >= limits::STORY {
                self.longer = true;
                break;
            }
            self.found.insert(told.seq, (relation, entry));
            new.push(told);
        }
        Ok(new)
    }

    /// Walks up: what each generation was made from, in one search.
    fn ancestors(&mut self, own: &Told) -> Result<(), ReadError> {
        let mut parents: BTreeSet<String> = own.made_from.values().cloned().collect();
        while !parents.is_empty() {
            let theirs = Filter::default().within(Field::Token, parents);
            let found = self.find(theirs, 0..own.seq, |_| Some(Relation::Ancestor))?;
            parents = found
                .into_iter()
                .flat_map(|told| told.made_from.into_values())
                .collect();
        }
        Ok(())
    }

    /// Walks down, generation by generation. No token outlives what it was made from.
    fn descendants(&mut self, token: &str, own: &Told, end: u64) -> Result<(), ReadError> {
        let mut parents: BTreeSet<String> = [token.to_owned()].into();
        while !parents.is_empty() {
            let theirs = Filter {
                from: own.begin(),
                until: own.end(),
                ..Filter::default()
            };
            let theirs = theirs.within(Field::MadeFrom, parents);
            let within = own.seq.saturating_add(1)..end;
            let found = self.find(theirs, within, |told| {
                Some(match told.kind.as_str() {
                    "issue" => Relation::Descendant,
                    _ => Relation::Refusal,
                })
            })?;
            let issued = found.into_iter().filter(|told| told.kind == "issue");
            parents = issued.filter_map(|told| told.jti).collect();
        }
        Ok(())
    }

    fn changes(&mut self, own: &Told, end: u64) -> Result<(), ReadError> {
        let acts = Filter {
            from: own.begin(),
            until: own.end(),
            ..Filter::default()
        };
        let kinds = ["admin", "keys", "recovery"].map(str::to_owned);
        let acts = acts.within(Field::Kind, kinds.into());
        let within = own.seq.saturating_add(1)..end;
        let relate = |told: &Told| told.changes(own).then_some(Relation::Change);
        // A marker that is set by an id alone is on the record as nobody's.
        let markers = [MARKER_SET, MARKER_REINSTATED].map(str::to_owned);
        let markers = acts.clone().within(Field::Action, markers.into());
        self.find(acts, within.clone(), relate)?;
        let nobodys = |told: &Told| relate(told).filter(|_| told.owner.is_none());
        self.find_any(markers, within, nobodys).map(drop)
    }
}

#[cfg(test)]
mod tests;
