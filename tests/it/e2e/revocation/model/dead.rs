//! What is revoked, as the model has it.

use super::super::{ban, of};
use super::Known;
use super::cast::Cast;
use crate::support::broker::Broker;
use cambist::proto::revoke_request::Thing;
use cambist::proto::{Marker, RevokeRequest};
use proptest::prelude::*;
use prost_types::Timestamp;
use std::collections::BTreeMap;

/// A thing that is revoked: tokens and credentials by their places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Token(usize),
    Credential(usize),
    Subject(String),
    Issuer,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reach {
    All,
    Now,
    /// What began up to this second.
    UpTo(i64),
}

/// How far, where a token says when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Far {
    /// Whatever its time; of the issuer, up to the token.
    Ban,
    Now,
    /// Up to the token, and up to the second before it.
    UpTo,
    Before,
}

pub(super) fn far() -> impl Strategy<Value = Far> {
    prop_oneof![
        Just(Far::Ban),
        Just(Far::Now),
        Just(Far::UpTo),
        Just(Far::Before)
    ]
}

/// How far that is, by a token.
pub(super) fn reach(known: &Known, far: Far) -> Reach {
    match far {
        Far::Ban => Reach::All,
        Far::Now => Reach::Now,
        Far::UpTo => Reach::UpTo(known.issued_at),
        Far::Before => Reach::UpTo(known.issued_at - 1),
    }
}

/// A marker: its id, and up to which second what began is revoked.
struct Mark {
    id: String,
    before: i64,
}

#[derive(Default)]
pub(super) struct Dead(BTreeMap<Target, Mark>);

impl Dead {
    /// Whether anything is revoked of something that began in a second.
    pub(super) fn covers(&self, all: impl IntoIterator<Item = Target>, since: i64) -> bool {
        let mut marks = all.into_iter().filter_map(|target| self.0.get(&target));
        marks.any(|mark| mark.before >= since)
    }

    /// Whether anything is revoked up to a time.
    pub(super) fn is_cut_off(&self) -> bool {
        self.0.values().any(|mark| mark.before != i64::MAX)
    }

    pub(super) fn request(
        &self,
        broker: &Broker,
        cast: &Cast,
        tokens: &[Known],
        target: &Target,
        by_itself: bool,
        reach: Reach,
    ) -> RevokeRequest {
        let thing = match target {
            Target::Token(place) if by_itself => Thing::Token(tokens[*place].text.clone()),
            Target::Token(place) => Thing::TokenId(tokens[*place].id.clone()),
            Target::Credential(place) => {
                let party = &cast.parties[*place];
                match &party.secret {
                    _ if !by_itself => Thing::CredentialId(party.id.clone()),
                    Some(secret) => Thing::ApiKey(secret.clone()),
                    None => Thing::Certificate(party.leaf.clone()),
                }
            }
            Target::Subject(sub) => Thing::Subject(sub.clone()),
            Target::Issuer => Thing::Issuer(broker.issuer.clone()),
        };
        match (target, reach) {
            (Target::Subject(_), Reach::All) => ban(thing),
            (_, Reach::UpTo(seconds)) => RevokeRequest {
                before: Some(Timestamp { seconds, nanos: 0 }),
                ..of(thing)
            },
            (_, Reach::All | Reach::Now) => of(thing),
        }
    }

    /// Notes what was answered: markers of one thing merge by maximum.
    pub(super) fn revoked(&mut self, target: Target, reach: Reach, marker: &Marker) {
        let before = marker.before.map_or(i64::MAX, |before| before.seconds);
        let old = self.0.get(&target).map_or(0, |mark| mark.before);
        match reach {
            Reach::All => assert_eq!(before, i64::MAX, "{target:?}"),
            Reach::Now => assert!(before >= old, "{target:?}"),
            Reach::UpTo(wanted) => assert_eq!(before, old.max(wanted), "{target:?}"),
        }
        let id = marker.id.clone();
        self.0.insert(target, Mark { id, before });
    }

    /// Takes one back, and answers its id.
    pub(super) fn reinstated(&mut self, target: &Target) -> String {
        self.0.remove(target).unwrap().id
    }

    /// What is revoked and not for good: keys are.
    pub(super) fn that_may_come_back(&self, cast: &Cast) -> Vec<Target> {
        let is_key = |target: &Target| matches!(target, Target::Credential(place) if cast.parties[*place].secret.is_some());
        self.0
            .keys()
            .filter(|target| !is_key(target))
            .cloned()
            .collect()
    }
}
