//! What a revocation would hit: the tokens on the record that are still good and would be refused.

use super::filter::Filter;
use super::read::{Entry, ReadError};
use super::reading::Reading;
use super::search::Order;
use super::seen::Field;
use super::story::{CERTIFICATE, is_of_domain};
use crate::id::{CredentialId, KeyId, KeyPublicId};
use crate::limits;
use crate::marker::{Fence, MarkerId, Thing, TokenParts};
use crate::revocation::HotSet;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Which issues are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// A token, and all that descend from it, by its id and by its marker, which is what they name it by.
    Token(String, MarkerId),
    /// All with this credential in their ancestry, by its id.
    Credential(String),
    /// All with this certificate or its twin in their ancestry, or bound to it, by its id as a credential and by its marker,
    /// which is what a token names the twin by.
    Certificate(String, MarkerId),
    /// All of this subject or with it as an actor, issued up to an instant.
    Subject(String, Timestamp),
    /// All of a trust domain's workloads, issued up to an instant.
    TrustDomain(String, Timestamp),
    /// All that were issued up to an instant.
    All(Timestamp),
    /// All that a key signed, and all that descend from that.
    SigningKey(KeyId),
    /// All with one of these API keys in their ancestry; a token with several counts once.
    Keys(BTreeSet<KeyPublicId>),
}

/// What would be hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    /// How many tokens.
    pub tokens: u64,
    /// The first of them, by `jti`.
    pub token_ids: Vec<String>,
    /// Their credentials.
    pub credentials: BTreeSet<String>,
    /// Their subjects.
    pub subjects: BTreeSet<String>,
    /// Whether everything was read.
    pub complete: bool,
}

/// What is read of a record.
#[derive(Debug, Deserialize)]
struct Issue {
    jti: String,
    iat: i64,
    exp: i64,
    kid: KeyId,
    sub: String,
    credential: String,
    #[serde(default)]
    actors: Vec<String>,
    #[serde(default)]
    lineage: Lineage,
    #[serde(default)]
    grant: Granted,
}

#[derive(Debug, Default, Deserialize)]
struct Lineage {
    #[serde(default)]
    c: Vec<String>,
    #[serde(default)]
    l: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Granted {
    #[serde(default)]
    bound: Option<String>,
}

/// By what it is told whether a token is good.
#[derive(Clone, Copy, Debug)]
pub struct Good<'a> {
    /// Whose tokens they are.
    pub issuer: &'a str,
    /// What is revoked.
    pub hot: &'a HotSet,
    /// When.
    pub now: Timestamp,
}

impl Good<'_> {
    fn is(&self, issue: &Issue) -> bool {
        let fence = issue.fence(self.issuer);
        let is_revoked = fence.is_some_and(|fence| self.hot.covered(&fence).is_some());
        issue.exp > self.now.as_second() && !is_revoked
    }
}

impl Issue {
    /// What a marker could cover of the token. None where the record does not tell: it counts as good then.
    fn fence(&self, issuer: &str) -> Option<Fence> {
        let credentials = self.lineage.c.iter().map(|id| CredentialId::parse(id));
        let ancestors = self.lineage.l.iter().map(|id| MarkerId::parse(id));
        let bound = self.grant.bound.as_ref();
        let bound_to = match bound.map(|digest| format!("{CERTIFICATE}{digest}")) {
            Some(id) => match CredentialId::parse(&id).ok()? {
                CredentialId::Certificate(digest) => Some(digest),
                CredentialId::ApiKey(_) => None,
            },
            None => None,
        };
        let parts = TokenParts {
            issuer,
            id: &self.jti,
            issued_at: Timestamp::from_second(self.iat).ok()?,
            key: &self.kid,
            bound_to,
            credentials: &credentials.collect::<Result<Vec<_>, _>>().ok()?,
            ancestors: &ancestors.collect::<Result<Vec<_>, _>>().ok()?,
        };
        let subjects = self.actors.iter().chain([&self.sub]);
        Some(Fence::of_token(&parts, subjects.map(String::as_str)))
    }
}

impl Aim {
    /// Narrows the search to what can be hit at all. No issue is let through by two of the filters.
    fn filters(&self, filter: &Filter) -> Vec<Filter> {
        let one = |field, value: &String| filter.clone().within(field, [value.clone()].into());
        match self {
            Self::Token(id, marker) => vec![
                one(Field::Token, id),
                one(Field::Ancestor, &marker.to_string()),
            ],
            Self::Credential(id) => vec![one(Field::Credential, id)],
            Self::Subject(sub, _) => vec![one(Field::Principal, sub)],
            Self::Keys(keys) if keys.len() <= limits::HIT_KEYS => {
                let ids = keys.iter().map(|id| CredentialId::ApiKey(*id).to_string());
                let filter = filter.clone();
                vec![filter.within(Field::Credential, ids.collect())]
            }
            Self::Keys(_)
            | Self::Certificate(..)
            | Self::TrustDomain(..)
            | Self::All(_)
            | Self::SigningKey(_) => vec![filter.clone()],
        }
    }

    fn hits(&self, issue: &Issue) -> bool {
        // As the marker does, by `iat`: a record is begun later than its token, and may be of the second after.
        let up_to = |at: &Timestamp| issue.iat <= at.as_second();
        let mut subjects = issue.actors.iter().chain([&issue.sub]);
        match self {
            Self::Token(..) | Self::Credential(_) => true,
            Self::Keys(keys) => {
                let mut ancestry = issue.lineage.c.iter().chain([&issue.credential]);
                ancestry.any(|id| match CredentialId::parse(id) {
                    Ok(CredentialId::ApiKey(id)) => keys.contains(&id),
                    Ok(CredentialId::Certificate(_)) | Err(_) => false,
                })
            }
            Self::Subject(sub, at) => up_to(at) && subjects.any(|one| one == sub),
            Self::TrustDomain(domain, at) => {
                up_to(at) && subjects.any(|sub| is_of_domain(sub, domain))
            }
            Self::All(at) => up_to(at),
            Self::SigningKey(kid) => {
                let marker = Thing::SigningKey(kid).id().to_string();
                issue.kid == *kid || issue.lineage.l.contains(&marker)
            }
            Self::Certificate(id, marker) => {
                let bound = issue.grant.bound.as_deref();
                let is_twins = issue.lineage.l.contains(&marker.to_string());
                is_twins || issue.lineage.c.contains(id) || bound == id.strip_prefix(CERTIFICATE)
            }
        }
    }
}

impl Hit {
    fn add(&mut self, issue: Issue) {
        self.tokens = self.tokens.saturating_add(1);
        if self.token_ids.len() < limits::HIT_NAMES {
            self.token_ids.push(issue.jti);
        }
        for (names, name) in [
            (&mut self.credentials, issue.credential),
            (&mut self.subjects, issue.sub),
        ] {
            if names.len() < limits::HIT_NAMES {
                names.insert(name);
            }
        }
    }

    fn count(&mut self, aim: &Aim, entry: &Entry, good: Good<'_>) {
        // A record that is no issue, or that is not of this form, tells of no token.
        let Ok(issue) = serde_json::from_slice::<Issue>(&entry.line) else {
            return;
        };
        if aim.hits(&issue) && good.is(&issue) {
            self.add(issue);
        }
    }
}

impl Hit {
    fn count_all(
        &mut self,
        aim: &Aim,
        found: impl Iterator<Item = Result<Entry, ReadError>>,
        good: Good<'_>,
    ) {
        self.complete = true;
        for (count, entry) in found.enumerate() {
            match entry {
                Ok(entry) if count < limits::HIT_RECORDS => self.count(aim, &entry, good),
                _ => {
                    self.complete = false;
                    break;
                }
            }
        }
    }
}

impl Reading {
    /// Finds what would be hit of what is good. Blocks: reads files, of no more than [`limits::HIT_RECORDS`] records.
    ///
    /// # Errors
    /// When the segments cannot be listed.
    pub fn hit(
        &self,
        aim: &Aim,
        good: Good<'_>,
        is_wanted: impl Fn() -> bool + Clone + Send + Sync + 'static,
    ) -> Result<Hit, ReadError> {
        // What was issued before has ended, whatever was configured.
        let from = good.now.checked_sub(
            jiff::SignedDuration::try_from(limits::LONGEST_LIFETIME).unwrap_or_default(),
        );
        let filter = Filter {
            from: from.ok(),
            ..Filter::default()
        };
        let filter = filter.within(Field::Kind, ["issue".to_owned()].into());
        let found = aim.filters(&filter).into_iter().map(|filter| {
            let all = 0..u64::MAX;
            self.search(filter, all, Order::NewestFirst, is_wanted.clone())
        });
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let mut hit = Hit::default();
        hit.count_all(aim, found.into_iter().flatten(), good);
        Ok(hit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::{Cover, Marker, Second};
    use serde_json::json;

    const ISSUER: &str = "https://broker.example.org";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn good(hot: &HotSet, now: i64) -> Good<'_> {
        let (issuer, now) = (ISSUER, at(now));
        Good { issuer, hot, now }
    }

    fn issue(n: usize, exp: i64) -> Entry {
        let record = json!({
            "time": at(1_001), "jti": n.to_string(), "iat": 1_000, "exp": exp, "kid": "k", "sub": format!("spiffe://a.example/{n}"),
            "credential": "key:x",
        });
        Entry {
            sequence: n as u64,
            line: record.to_string().into_bytes(),
        }
    }

    fn hit(aim: &Aim, count: usize) -> Hit {
        let mut hit = Hit::default();
        let found = (0..count).map(|n| Ok(issue(n, 2_000)));
        hit.count_all(aim, found, good(&HotSet::default(), 1_500));
        hit
    }

    #[test]
    fn so_many_are_named_and_the_rest_counted() {
        for (count, named) in [
            (limits::HIT_NAMES, limits::HIT_NAMES),
            (limits::HIT_NAMES + 1, limits::HIT_NAMES),
        ] {
            let hit = hit(&Aim::All(at(1_000)), count);
            assert_eq!(hit.tokens, count as u64);
            assert_eq!((hit.token_ids.len(), hit.subjects.len()), (named, named));
        }
    }

    #[test]
    fn so_many_records_are_read_and_not_one_more() {
        let complete = |count| {
            let mut hit = Hit::default();
            let other = Entry {
                sequence: 0,
                line: Vec::new(),
            };
            let found = std::iter::repeat_n(other, count).map(Ok);
            hit.count_all(&Aim::All(at(0)), found, good(&HotSet::default(), 0));
            hit.complete
        };
        assert!(complete(limits::HIT_RECORDS));
        assert!(!complete(limits::HIT_RECORDS + 1));
    }

    /// A key may be anywhere in the ancestry, and many of them be in one.
    #[test]
    fn so_many_keys_are_looked_up_and_more_are_looked_for_in_every_issue() {
        let id = |n: usize| KeyPublicId::parse(&format!("{n:016}")).unwrap();
        let issue = |n: usize, lineage: &[usize]| {
            let c: Vec<_> = lineage.iter().map(|n| format!("key:{}", id(*n))).collect();
            let record = json!({
                "time": at(1_000), "jti": n.to_string(), "iat": 1_000, "exp": 2_000, "kid": "k", "sub": "s",
                "credential": c[0], "lineage": { "c": c },
            });
            let line = record.to_string().into_bytes();
            let sequence = n as u64;
            Ok(Entry { sequence, line })
        };
        for (count, narrows) in [(limits::HIT_KEYS, true), (limits::HIT_KEYS + 1, false)] {
            let aim = Aim::Keys((0..count).map(id).collect());
            let filters = aim.filters(&Filter::default());
            let looked_up = filters[0].terms.get(&Field::Credential).map(BTreeSet::len);
            assert_eq!(looked_up, narrows.then_some(count));
            let (last, beyond) = (count - 1, count);
            let found = [
                &[0, 1][..],
                &[beyond, last],
                &[beyond],
                &[beyond, beyond + 1],
            ];
            let found = found.iter().enumerate().map(|(n, c)| issue(n, c));
            let mut hit = Hit::default();
            hit.count_all(&aim, found, good(&HotSet::default(), 1_500));
            assert_eq!((hit.tokens, hit.complete), (2, true));
            assert_eq!(hit.token_ids, ["0", "1"]);
        }
        let none = Aim::Keys(BTreeSet::new()).filters(&Filter::default());
        assert_eq!(none[0].terms[&Field::Credential], BTreeSet::new());
    }

    #[test]
    fn what_has_ended_or_began_later_or_is_of_others_is_not_hit() {
        let domain = |name: &str| Aim::TrustDomain(name.to_owned(), at(1_000));
        // Its record is of the second after its own.
        let subject = |n: u8, second| Aim::Subject(format!("spiffe://a.example/{n}"), at(second));
        for aim in [domain("a.example"), Aim::All(at(1_000)), subject(0, 1_000)] {
            assert_eq!(hit(&aim, 1).tokens, 1, "{aim:?}");
        }
        for aim in [
            domain("a.exam"),
            domain("example"),
            Aim::All(at(999)),
            Aim::SigningKey(KeyId::parse("other").unwrap()),
            subject(0, 999),
            subject(1, 1_000),
        ] {
            assert_eq!(hit(&aim, 1).tokens, 0, "{aim:?}");
        }
        let mut over = Hit::default();
        over.count_all(
            &Aim::All(at(1_000)),
            [Ok(issue(0, 2_000))].into_iter(),
            good(&HotSet::default(), 2_000),
        );
        assert_eq!(over.tokens, 0);
    }

    /// By whatever it is revoked already, it is no longer good, and hit by nothing more.
    #[test]
    fn what_is_revoked_already_is_not_hit() {
        let (key, other) = (KeyId::parse("k").unwrap(), KeyId::parse("other").unwrap());
        let parent = Thing::Token(ISSUER, "parent").id();
        let root = CredentialId::ApiKey(KeyPublicId::parse("aaaaaaaaaaaaaaaa").unwrap());
        let bound = CredentialId::Certificate([9; 32]);
        let (sub, actor) = ("spiffe://a.example/0", "spiffe://b.example/1");
        let record = json!({
            "time": at(1_000), "jti": "t", "iat": 1_000, "exp": 2_000, "kid": "k", "sub": sub, "actors": [actor],
            "credential": root, "lineage": { "c": [root], "l": [parent.to_string()] },
            "grant": { "bound": bound.to_string().strip_prefix(CERTIFICATE) },
        });
        let tokens = |thing: Thing<'_>, before| {
            let hot = HotSet::default();
            let until = Second::NEVER;
            hot.put(Marker {
                id: thing.id(),
                cover: Cover {
                    before: Second::of(at(before)),
                    until,
                },
            });
            let line = record.to_string().into_bytes();
            let mut hit = Hit::default();
            let found = [Ok(Entry { sequence: 0, line })].into_iter();
            hit.count_all(&Aim::All(at(1_000)), found, good(&hot, 1_500));
            hit.tokens
        };
        for thing in [
            Thing::Token(ISSUER, "t"),
            Thing::Token(ISSUER, "parent"),
            Thing::Credential(root),
            Thing::Credential(bound),
            Thing::TokensOf(root),
            Thing::Subject(ISSUER, sub),
            Thing::Subject(ISSUER, actor),
            Thing::TrustDomain("b.example"),
            Thing::SigningKey(&key),
            Thing::Issuer(ISSUER),
            Thing::Rollback(ISSUER),
        ] {
            assert_eq!(tokens(thing, 1_000), 0, "{thing:?}");
        }
        for (thing, before) in [
            (Thing::Token(ISSUER, "other"), 1_000),
            (Thing::Subject(ISSUER, sub), 999),
            (Thing::SigningKey(&other), 1_000),
        ] {
            assert_eq!(tokens(thing, before), 1, "{thing:?}");
        }
    }

    #[test]
    fn what_descends_from_what_a_key_signed_is_hit_with_it() {
        let key = KeyId::parse("k").unwrap();
        let record = |marker: &str| {
            let record = json!({
                "time": at(1_000), "jti": "t", "iat": 1_000, "exp": 2_000, "kid": "next", "sub": "s",
                "credential": "key:x", "lineage": { "l": [marker] },
            });
            let line = record.to_string().into_bytes();
            Ok(Entry { sequence: 0, line })
        };
        let aim = Aim::SigningKey(key.clone());
        let mut hit = Hit::default();
        let own = Thing::SigningKey(&key).id().to_string();
        let others = Thing::Token(ISSUER, "k").id().to_string();
        let found = [record(&own), record(&others)].into_iter();
        hit.count_all(&aim, found, good(&HotSet::default(), 1_500));
        assert_eq!(hit.tokens, 1);
    }
}
