//! Random trees of exchanges and random revocations: a model and the broker agree on who is alive.

use super::{administrator, ban, revoke};
use crate::support::broker::{Broker, Caller, api_key, ask, claims, spec, token};
use crate::support::long;
use cambist::proto::CheckRequest;
use cambist::proto::revoke_request::Thing;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;

/// What happens: each index picks among what is there by then.
#[derive(Clone, Debug)]
enum Step {
    /// A key becomes a token.
    Root(Index),
    /// A token becomes another one.
    Child(Index),
    RevokeToken(Index),
    RevokeKey(Index),
    BanSubject(Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<Index>().prop_map(Step::Root),
        8 => any::<Index>().prop_map(Step::Child),
        2 => any::<Index>().prop_map(Step::RevokeToken),
        1 => any::<Index>().prop_map(Step::RevokeKey),
        1 => any::<Index>().prop_map(Step::BanSubject),
    ]
}

/// A token as the model knows it.
struct Known {
    text: String,
    id: String,
    audience: &'static str,
    /// Its own place and those of everything that it was made from.
    line: BTreeSet<usize>,
    key: usize,
}

#[derive(Default)]
struct Model {
    tokens: Vec<Known>,
    dead_tokens: BTreeSet<usize>,
    dead_keys: BTreeSet<usize>,
}

impl Model {
    fn is_alive(&self, place: usize) -> bool {
        let known = &self.tokens[place];
        known.line.is_disjoint(&self.dead_tokens) && !self.dead_keys.contains(&known.key)
    }

    fn add(
        &mut self,
        text: String,
        id: String,
        audience: &'static str,
        key: usize,
        of: Option<usize>,
    ) {
        let place = self.tokens.len();
        let mut line = of.map_or_else(BTreeSet::new, |of| self.tokens[of].line.clone());
        line.insert(place);
        self.tokens.push(Known {
            text,
            id,
            audience,
            line,
            key,
        });
    }
}

struct Cast {
    keys: Vec<String>,
    anybody: Caller,
    shop: Caller,
    billing: Caller,
}

impl Cast {
    async fn new(broker: &Broker) -> Self {
        let mut keys = Vec::new();
        for _ in 0..3 {
            let made = broker
                .create_key(spec(&["shop", "billing"], &["orders:read"]))
                .await;
            keys.push(made.secret);
        }
        let shop = broker.svid("spiffe://example.org/shop");
        let billing = broker.svid("spiffe://example.org/billing");
        Self {
            keys,
            anybody: broker.anybody().await,
            shop: broker.workload(&shop).await,
            billing: broker.workload(&billing).await,
        }
    }
}

async fn play(broker: &Broker, steps: &[Step]) {
    let mut admin = administrator(broker).await;
    let cast = Cast::new(broker).await;
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Root(of) => {
                let key = of.index(cast.keys.len());
                let answer = cast
                    .anybody
                    .exchange(ask(api_key(&cast.keys[key]), "shop"))
                    .await;
                assert_eq!(answer.is_ok(), !model.dead_keys.contains(&key), "{steps:?}");
                if let Ok(reply) = answer {
                    model.add(reply.access_token, reply.token_id, "shop", key, None);
                }
            }
            Step::Child(of) if !model.tokens.is_empty() => {
                let parent = of.index(model.tokens.len());
                let known = &model.tokens[parent];
                // Each exchange names one more actor, and a token holds four.
                if known.line.len() > 4 {
                    continue;
                }
                let (server, audience) = match known.audience {
                    "shop" => (&cast.shop, "billing"),
                    _ => (&cast.billing, "shop"),
                };
                let answer = server.exchange(ask(token(&known.text), audience)).await;
                assert_eq!(
                    answer.is_ok(),
                    model.is_alive(parent),
                    "{answer:?} {steps:?}"
                );
                if let Ok(reply) = answer {
                    let key = known.key;
                    model.add(
                        reply.access_token,
                        reply.token_id,
                        audience,
                        key,
                        Some(parent),
                    );
                }
            }
            Step::RevokeToken(of) if !model.tokens.is_empty() => {
                let place = of.index(model.tokens.len());
                let thing = Thing::TokenId(model.tokens[place].id.clone());
                revoke(&mut admin, super::of(thing)).await.unwrap();
                model.dead_tokens.insert(place);
            }
            Step::RevokeKey(of) => {
                let key = of.index(cast.keys.len());
                let thing = Thing::ApiKey(cast.keys[key].clone());
                revoke(&mut admin, super::of(thing)).await.unwrap();
                model.dead_keys.insert(key);
            }
            Step::BanSubject(of) if !model.tokens.is_empty() => {
                let place = of.index(model.tokens.len());
                let sub = claims(&model.tokens[place].text)["sub"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                revoke(&mut admin, ban(Thing::Subject(sub))).await.unwrap();
                // The subject of a key's tokens is the key's own.
                model.dead_keys.insert(model.tokens[place].key);
            }
            Step::Child(_) | Step::RevokeToken(_) | Step::BanSubject(_) => {}
        }
    }
    for (place, known) in model.tokens.iter().enumerate() {
        let request = CheckRequest {
            token: known.text.clone(),
            ..CheckRequest::default()
        };
        let active = admin.check(request).await.unwrap().into_inner().active;
        assert_eq!(
            active,
            model.is_alive(place),
            "token {place} after {steps:?}"
        );
    }
}

#[tokio::test]
async fn a_model_and_the_broker_agree_on_who_is_alive() {
    let broker = Broker::start().await;
    let mut runner = TestRunner::default();
    let cases = if long() { 300 } else { 12 };
    for _ in 0..cases {
        let steps = prop::collection::vec(step(), 10..40);
        let steps = steps.new_tree(&mut runner).unwrap().current();
        play(&broker, &steps).await;
    }
}
