//! Random tokens and markers: what is decided is what a model says, which knows nothing of fences.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// Something to revoke, by small numbers so that tokens and markers meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    Token(u8),
    Certificate(u8),
    TokensOf(u8),
    Subject(u8),
    Domain(u8),
    Issuer,
    Key(u8),
}

#[derive(Clone, Debug)]
struct Token {
    id: u8,
    parents: Vec<u8>,
    certificates: Vec<u8>,
    bound_to: Option<u8>,
    sub: u8,
    actors: Vec<u8>,
    key: u8,
    age: i64,
}

fn sub(n: u8) -> String {
    format!("spiffe://d{}.example/{n}", n % 2)
}

impl What {
    fn id(&self) -> MarkerId {
        match self {
            Self::Token(n) => Thing::Token(ISSUER, &n.to_string()).id(),
            Self::Certificate(n) => Thing::Credential(CredentialId::Certificate([*n; 32])).id(),
            Self::TokensOf(n) => Thing::TokensOf(CredentialId::Certificate([*n; 32])).id(),
            Self::Subject(n) => Thing::Subject(ISSUER, &sub(*n)).id(),
            Self::Domain(n) => Thing::TrustDomain(&format!("d{}.example", n % 2)).id(),
            Self::Issuer => Thing::Issuer(ISSUER).id(),
            Self::Key(n) => Thing::SigningKey(&KeyId::parse(kid(*n)).unwrap()).id(),
        }
    }
}

fn kid(n: u8) -> &'static str {
    if n.is_multiple_of(2) { "a" } else { "b" }
}

impl Token {
    fn text(&self) -> String {
        let mut text = claims(&self.id.to_string());
        let id = |n: &u8| What::Token(*n).id().to_string();
        let certificate = |n: &u8| CredentialId::Certificate([*n; 32]).to_string();
        text["sub"] = json!(sub(self.sub));
        text["iat"] = json!(NOW - self.age);
        text["cmb"] = json!({
            "c": self.certificates.iter().map(certificate).collect::<Vec<_>>(),
            "l": self.parents.iter().map(id).collect::<Vec<_>>(),
        });
        if let Some(n) = self.bound_to {
            text["cnf"] = json!({"x5t#S256": URL_SAFE_NO_PAD.encode([n; 32])});
        }
        let chain = self
            .actors
            .iter()
            .rev()
            .fold(Value::Null, |inner, n| match inner {
                Value::Null => json!({"sub": sub(*n)}),
                inner => json!({"sub": sub(*n), "act": inner}),
            });
        if chain != Value::Null {
            text["act"] = chain;
        }
        signed(kid(self.key), &text)
    }

    /// Whether the markers in force revoke it, said anew and without fences.
    fn is_revoked(&self, markers: &HashMap<What, Second>) -> bool {
        let of = |what: What| markers.get(&what).copied().unwrap_or(Second::ZERO);
        let absolute = |what| of(what) != Second::ZERO;
        let issued = Second::of(Timestamp::from_second(NOW - self.age).unwrap());
        let dated = |what| of(what) >= issued;
        let mut tokens = self.parents.iter().chain([&self.id]);
        let mut certificates = self.certificates.iter().chain(&self.bound_to);
        let mut subjects = self.actors.iter().chain([&self.sub]);
        tokens.any(|n| absolute(What::Token(*n)))
            || certificates.any(|n| absolute(What::Certificate(*n)) || dated(What::TokensOf(*n)))
            || absolute(What::Key(self.key % 2))
            || dated(What::Issuer)
            || subjects.any(|n| dated(What::Subject(*n)) || dated(What::Domain(*n % 2)))
    }
}

fn any_token() -> impl Strategy<Value = Token> {
    let few = || prop::collection::vec(0_u8..6, 0..3);
    let shape = (0_u8..6, few(), few(), prop::option::of(0_u8..6));
    (shape, 0_u8..6, few(), 0_u8..2, 0_i64..8).prop_map(
        |((id, parents, certificates, bound_to), sub, actors, key, age)| Token {
            id,
            parents,
            certificates,
            bound_to,
            sub,
            actors,
            key,
            age,
        },
    )
}

fn any_change() -> impl Strategy<Value = (What, Second)> {
    let what = prop_oneof![
        (0_u8..6).prop_map(What::Token),
        (0_u8..6).prop_map(What::Certificate),
        (0_u8..6).prop_map(What::TokensOf),
        (0_u8..6).prop_map(What::Subject),
        (0_u8..2).prop_map(What::Domain),
        Just(What::Issuer),
        (0_u8..2).prop_map(What::Key),
    ];
    let second = |age: i64| Second::of(Timestamp::from_second(NOW - age).unwrap());
    let before = prop_oneof![
        Just(Second::ZERO),
        Just(Second::NEVER),
        (0_i64..8).prop_map(second),
    ];
    (what, before)
}

proptest! {
    #[test]
    fn decisions_are_the_models(
        tokens in prop::collection::vec(any_token(), 1..6),
        first in prop::collection::vec(any_change(), 0..4),
        rounds in prop::collection::vec(prop::collection::vec(any_change(), 0..3), 0..5),
    ) {
        let world = World::new();
        let texts: Vec<_> = tokens.iter().map(Token::text).collect();
        let mut markers = HashMap::new();
        let marker = |(what, before): &(What, Second)| Marker {
            id: what.id(),
            cover: Cover { before: *before, until: Second::NEVER },
        };
        let packed: Vec<_> = first.iter().map(marker).collect();
        world.feed.snapshot(&packed);
        markers.extend(first);
        for round in std::iter::once(Vec::new()).chain(rounds) {
            let packed: Vec<_> = round.iter().map(marker).collect();
            world.feed.delta(&packed);
            markers.extend(round);
            for (token, text) in tokens.iter().zip(&texts) {
                let bound = token.bound_to.map(|n| [n; 32]);
                let presenter = bound.as_ref().map_or(Presenter::NoCertificate, Presenter::Certificate);
                let result = world.guard.check_now(text, presenter, FRESH);
                prop_assert_eq!(revoked(result.clone()).is_some(), token.is_revoked(&markers), "{:?}", token);
                prop_assert!(result.is_ok() || revoked(result).is_some());
            }
        }
    }
}
