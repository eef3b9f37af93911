//! Random trees of exchanges and random revocations: a model, the broker and its verifiers agree on who is alive.

mod cast;
mod dead;

use super::{administrator, revoke};
use crate::e2e::edge::{guard_of, passes, until_told};
use crate::support::broker::{Broker, api_key, ask, claims, delegated, peer, refusal, token};
use crate::support::edge::{LOOK, within};
use crate::support::long;
use cambist::proto::revocation_client::RevocationClient;
use cambist::proto::{CheckRequest, ExchangeRequest, ExchangeResponse, ReinstateRequest};
use cambist::verify::Guard;
use cast::{Cast, Party};
use dead::{Dead, Far, Reach, Target, far, reach};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use tonic::transport::Channel;

/// What happens: each index picks among what is there by then.
#[derive(Clone, Debug)]
enum Step {
    /// A key or a certificate becomes a token.
    Root(Index),
    /// A token becomes another one, by one who serves its audience.
    Child(Index, Index),
    /// The same, and the server acts by a token of its own; or its holder presents one of its own with it.
    Act(Index, Index),
    /// A token is revoked, by its text or by its id.
    Token(Index, bool),
    /// One is that another one was made from, which is alive.
    Parent(Index, bool),
    /// A credential is revoked, by itself or by its id.
    Credential(Index, bool),
    /// A subject that a token names is revoked, so far.
    Subject(Index, Index, Far),
    /// Everything is, so far.
    Issuer(Index, Far),
    /// One of these is taken back.
    Reinstate(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        6 => index().prop_map(Step::Root),
        12 => (index(), index()).prop_map(|(of, by)| Step::Child(of, by)),
        10 => (index(), index()).prop_map(|(of, by)| Step::Act(of, by)),
        4 => (index(), any::<bool>()).prop_map(|(of, by)| Step::Parent(of, by)),
        2 => (index(), any::<bool>()).prop_map(|(of, by)| Step::Token(of, by)),
        2 => (index(), any::<bool>()).prop_map(|(of, by)| Step::Credential(of, by)),
        2 => (index(), index(), far()).prop_map(|(of, which, far)| Step::Subject(of, which, far)),
        1 => (index(), far()).prop_map(|(of, far)| Step::Issuer(of, far)),
        3 => index().prop_map(Step::Reinstate),
    ]
}

/// A token as the model knows it.
struct Known {
    text: String,
    id: String,
    audience: &'static str,
    issued_at: i64,
    /// Its own place and those of everything that it was made from.
    line: BTreeSet<usize>,
    /// The credentials that it comes from or is bound to.
    credentials: BTreeSet<usize>,
    /// Whose it is, and who acts.
    subjects: BTreeSet<String>,
    /// How many act.
    actors: usize,
    /// The token that it was presented with, by which the last of them acts.
    actor: Option<usize>,
    /// Who it was issued to.
    holder: usize,
}

/// What a token is made of.
struct Made<'a> {
    of: &'a [usize],
    by: usize,
    audience: &'static str,
}

struct Play<'a> {
    broker: &'a Broker,
    admin: RevocationClient<Channel>,
    /// A verifier for each audience, which only listens.
    guards: &'a [(&'static str, Guard)],
    cast: Cast,
    tokens: Vec<Known>,
    dead: Dead,
    /// How many tokens by a token of their actor, and how many of these died with that alone.
    acted: usize,
    died: usize,
}

impl Play<'_> {
    fn is_alive(&self, place: usize) -> bool {
        let known = &self.tokens[place];
        let line = known.line.iter().map(|place| Target::Token(*place));
        let credentials = known
            .credentials
            .iter()
            .map(|place| Target::Credential(*place));
        let subjects = known.subjects.iter().cloned().map(Target::Subject);
        let all = line
            .chain(credentials)
            .chain(subjects)
            .chain([Target::Issuer]);
        !self.dead.covers(all, known.issued_at)
    }

    /// Whether a credential may be presented.
    fn is_good(&self, place: usize) -> bool {
        let party = &self.cast.parties[place];
        let parts = [
            Target::Credential(place),
            Target::Subject(party.sub.clone()),
        ];
        let over = party.over.is_none_or(|over| self.is_good(over));
        over && !self.dead.covers(parts, party.since)
    }

    /// Whether so many tokens, presented by a party, become one: that is what the model says, and the broker.
    async fn exchange(
        &self,
        of: &[usize],
        by: usize,
        request: ExchangeRequest,
    ) -> Option<ExchangeResponse> {
        let lives = self.is_good(by) && of.iter().all(|place| self.is_alive(*place));
        let asking = async {
            loop {
                match self.cast.parties[by].caller.exchange(request.clone()).await {
                    Err(status) if lives && refusal(&status) == "too_busy" => {
                        // What is issued in the cut-off's own second would be covered.
                        assert!(self.dead.is_cut_off(), "{status:?}");
                        tokio::time::sleep(LOOK).await;
                    }
                    answer => return answer,
                }
            }
        };
        match within("the second after a cut-off", asking).await {
            Ok(reply) => {
                assert!(lives, "{of:?} by {by} became a token");
                Some(reply)
            }
            Err(status) => {
                let code = refusal(&status);
                assert!(!lives, "{of:?} by {by}: {status:?}");
                assert!(
                    ["token_refused", "credential_refused"].contains(&&*code),
                    "{status:?}"
                );
                None
            }
        }
    }

    /// Has a token made, if it may be.
    async fn make(&mut self, made: Made<'_>, request: ExchangeRequest) {
        let Made { of, by, audience } = made;
        let Some(reply) = self.exchange(of, by, request).await else {
            return;
        };
        let said = claims(&reply.access_token);
        let parents = || of.iter().map(|place| &self.tokens[*place]);
        let mut line: BTreeSet<_> = parents().flat_map(|known| known.line.clone()).collect();
        line.insert(self.tokens.len());
        let mut credentials: BTreeSet<_> = parents()
            .flat_map(|known| known.credentials.clone())
            .collect();
        credentials.insert(by);
        credentials.extend(self.cast.parties[by].over);
        let mut subjects: BTreeSet<_> =
            parents().flat_map(|known| known.subjects.clone()).collect();
        subjects.insert(self.cast.parties[by].sub.clone());
        // Whoever presents what it holds does not act.
        let acts = |subject: &Known| subject.actors + usize::from(subject.holder != by);
        let actors = parents().next().map_or(0, acts);
        self.tokens.push(Known {
            text: reply.access_token,
            id: reply.token_id,
            audience,
            issued_at: said["iat"].as_i64().unwrap(),
            line,
            credentials,
            subjects,
            actors,
            actor: of.get(1).copied(),
            holder: by,
        });
    }

    /// The tokens that can still be made into another one: each exchange names one more actor, and adds to what a token
    /// comes from; there is room for so many.
    fn extensible(&self) -> Vec<usize> {
        let room =
            |known: &Known| known.actors < 4 && known.line.len() < 7 && known.credentials.len() < 7;
        let all = self.tokens.iter().enumerate();
        all.filter(|(_, known)| room(known))
            .map(|(place, _)| place)
            .collect()
    }

    /// The parties that serve an audience.
    fn servers(&self, audience: &str) -> Vec<usize> {
        let all = self.cast.parties.iter().enumerate();
        all.filter(|(_, party)| party.serves == Some(audience))
            .map(|(place, _)| place)
            .collect()
    }

    async fn child(&mut self, of: &Index, by: &Index) {
        let tokens = self.extensible();
        if tokens.is_empty() {
            return;
        }
        let parent = *of.get(&tokens);
        let known = &self.tokens[parent];
        let by = *by.get(&self.servers(known.audience));
        let audience = other(known.audience);
        let request = ask(token(&known.text), audience);
        self.make(
            Made {
                of: &[parent],
                by,
                audience,
            },
            request,
        )
        .await;
    }

    async fn act(&mut self, of: &Index, by: &Index) {
        // Its own token, in which nobody acts.
        let acting: Vec<_> = (0..self.tokens.len())
            .filter(|place| {
                let known = &self.tokens[*place];
                known.line.len() == 1 && self.cast.parties[known.holder].serves.is_some()
            })
            .collect();
        if acting.is_empty() {
            return;
        }
        let actor = *by.get(&acting);
        let by = self.tokens[actor].holder;
        let serves = self.cast.parties[by].serves.unwrap();
        let mut subjects = self.extensible();
        subjects.retain(|place| {
            let known = &self.tokens[*place];
            *place != actor && (known.audience == serves || known.holder == by)
        });
        if subjects.is_empty() {
            return;
        }
        let subject = *of.get(&subjects);
        let audience = other(serves);
        let text = |place: usize| token(&self.tokens[place].text);
        let request = delegated(text(subject), text(actor), audience);
        let of = [subject, actor];
        let before = self.tokens.len();
        let made = Made {
            of: &of,
            by,
            audience,
        };
        self.make(made, request).await;
        self.acted += self.tokens.len() - before;
    }

    async fn revoke(&mut self, target: Target, by_itself: bool, reach: Reach) {
        let request = self.dead.request(
            self.broker,
            &self.cast,
            &self.tokens,
            &target,
            by_itself,
            reach,
        );
        let answer = revoke(&mut self.admin, request).await.unwrap();
        assert!(answer.durable);
        self.dead.revoked(target, reach, &answer.markers[0]);
        self.told(&answer.revision).await;
    }

    /// Of those by which somebody acts, or of all.
    async fn revoke_parent(&mut self, of: &Index, by_itself: bool) {
        let alive: Vec<_> = (0..self.tokens.len())
            .filter(|place| self.is_alive(*place))
            .collect();
        let actors = alive.iter().filter_map(|place| self.tokens[*place].actor);
        let mut parents: BTreeSet<_> = actors.collect();
        if parents.is_empty() || !by_itself {
            let lines = alive
                .iter()
                .flat_map(|place| self.tokens[*place].line.range(..place));
            parents = lines.copied().collect();
        }
        if parents.is_empty() {
            return;
        }
        let parents: Vec<_> = parents.into_iter().collect();
        let parent = *of.get(&parents);
        let by_it = |place: &&usize| self.tokens[**place].actor == Some(parent);
        self.died += alive.iter().filter(by_it).count();
        self.revoke(Target::Token(parent), by_itself, Reach::All)
            .await;
    }

    async fn reinstate(&mut self, target: Target) {
        let request = ReinstateRequest {
            marker_id: self.dead.reinstated(&target),
            reason: "it was another".to_owned(),
            ..ReinstateRequest::default()
        };
        let answer = self.admin.reinstate(request).await.unwrap().into_inner();
        self.told(&answer.revision).await;
    }

    /// Every verifier that has a revision says of each token what the model says.
    async fn told(&self, revision: &str) {
        for (audience, guard) in self.guards {
            until_told(guard, revision).await;
            for (place, known) in self.tokens.iter().enumerate() {
                if known.audience == *audience {
                    assert_eq!(
                        passes(guard, &known.text),
                        self.is_alive(place),
                        "token {place} at {audience}"
                    );
                }
            }
        }
    }

    async fn take(&mut self, step: &Step) {
        let any = !self.tokens.is_empty();
        match step {
            Step::Root(of) => {
                let by = of.index(self.cast.parties.len());
                let Party { secret, serves, .. } = &self.cast.parties[by];
                let audience = serves.map_or("shop", other);
                let shown = secret.as_deref().map_or_else(peer, api_key);
                let request = ask(shown, audience);
                self.make(
                    Made {
                        of: &[],
                        by,
                        audience,
                    },
                    request,
                )
                .await;
            }
            Step::Child(of, by) => self.child(of, by).await,
            Step::Act(of, by) => self.act(of, by).await,
            Step::Token(of, by_itself) if any => {
                let target = Target::Token(of.index(self.tokens.len()));
                self.revoke(target, *by_itself, Reach::All).await;
            }
            Step::Parent(of, by_itself) => self.revoke_parent(of, *by_itself).await,
            Step::Credential(of, by_itself) => {
                let target = Target::Credential(of.index(self.cast.parties.len()));
                self.revoke(target, *by_itself, Reach::All).await;
            }
            Step::Subject(of, which, far) if any => {
                let known = of.get(&self.tokens);
                let subjects: Vec<_> = known.subjects.iter().collect();
                let target = Target::Subject((*which.get(&subjects)).clone());
                let reach = reach(known, *far);
                self.revoke(target, true, reach).await;
            }
            Step::Issuer(of, far) if any => {
                let known = of.get(&self.tokens);
                let reach = match reach(known, *far) {
                    Reach::All => Reach::UpTo(known.issued_at),
                    reach => reach,
                };
                self.revoke(Target::Issuer, true, reach).await;
            }
            Step::Reinstate(of) => {
                let back = self.dead.that_may_come_back(&self.cast);
                if !back.is_empty() {
                    self.reinstate(of.get(&back).clone()).await;
                }
            }
            Step::Token(..) | Step::Subject(..) | Step::Issuer(..) => {}
        }
    }

    /// Introspection and the next exchange say of each token what the model says.
    async fn ends(&mut self) {
        for place in 0..self.tokens.len() {
            let request = CheckRequest {
                token: self.tokens[place].text.clone(),
                ..CheckRequest::default()
            };
            let active = self.admin.check(request).await.unwrap().into_inner().active;
            assert_eq!(active, self.is_alive(place), "token {place}");
        }
        for place in self.extensible() {
            let known = &self.tokens[place];
            let by = self
                .servers(known.audience)
                .into_iter()
                .find(|by| self.is_good(*by));
            if let Some(by) = by {
                let request = ask(token(&known.text), other(known.audience));
                self.exchange(&[place], by, request).await;
            }
        }
    }

    /// What others share is theirs again.
    async fn clean(&mut self) {
        for target in self.dead.that_may_come_back(&self.cast) {
            if matches!(target, Target::Subject(_) | Target::Issuer) {
                self.reinstate(target).await;
            }
        }
    }
}

/// Where what was for an audience goes next.
fn other(audience: &str) -> &'static str {
    match audience {
        "shop" => "billing",
        _ => "shop",
    }
}

#[tokio::test]
async fn a_model_and_the_broker_agree_on_who_is_alive() {
    let broker = Broker::start().await;
    let mut guards = Vec::new();
    for audience in ["shop", "billing"] {
        // Who serves them may be revoked.
        guards.push((audience, guard_of(&broker, "admin", audience).await));
    }
    let mut runner = TestRunner::default();
    let cases = if long() { 300 } else { 24 };
    let (mut acted, mut died) = (0, 0);
    for case in 0..cases {
        let steps = prop::collection::vec(step(), 20..50);
        let steps = steps.new_tree(&mut runner).unwrap().current();
        println!("case {case}: {steps:?}");
        let mut play = Play {
            broker: &broker,
            admin: administrator(&broker).await,
            guards: &guards,
            cast: Cast::new(&broker, case).await,
            tokens: Vec::new(),
            dead: Dead::default(),
            acted: 0,
            died: 0,
        };
        for step in &steps {
            play.take(step).await;
        }
        play.ends().await;
        play.clean().await;
        acted += play.acted;
        died += play.died;
    }
    // Otherwise nothing was seen of either.
    println!("{acted} tokens by a token of their actor, {died} of them died with it");
    assert!(acted > 0 && died > 0, "{acted} {died}");
}
