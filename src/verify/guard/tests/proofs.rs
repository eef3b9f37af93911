//! Tokens that are bound to keys, and the proofs that come with them: what is remembered of a token decides nothing of them.

use super::*;
use crate::clock::Clock as _;
use crate::verify::dpop::testing::{Holder, claims as proof_of, request};
use crate::verify::dpop::{ProofError, Proofs};

const URL: &str = "https://shop.example.org/orders";

/// A token that is bound to the holder's key.
fn bound(holder: &Holder, id: &str) -> String {
    let mut bound = claims(id);
    bound["cnf"] = json!({"jkt": URL_SAFE_NO_PAD.encode(holder.thumbprint())});
    signed("a", &bound)
}

struct Shop {
    world: World,
    proofs: Proofs,
    holder: Holder,
}

impl Shop {
    fn new(most: usize) -> Self {
        let proofs = Proofs::remembering("https://shop.example.org", most).unwrap();
        Self {
            world: World::fed(),
            proofs,
            holder: Holder::new(),
        }
    }

    /// A GET with this token and proof.
    fn ask(&self, token: &str, proof: &str) -> Result<(), VerifyError> {
        let request = request("GET", "/orders", &[proof]);
        let presenter = Presenter::Proof(self.proofs.shown(&request));
        let checked = self.world.guard.check_now(token, presenter, FRESH);
        checked.map(|_| ())
    }

    /// A proof of now with this id, for a GET with this token.
    fn proof(&self, token: &str, id: &str) -> String {
        let now = self.world.clock.now().as_second();
        self.holder.proof(&proof_of(URL, token, now, id))
    }
}

#[test]
fn a_token_that_is_remembered_needs_a_good_proof_each_time() {
    let shop = Shop::new(100);
    let token = bound(&shop.holder, "t");
    let first = shop.proof(&token, "1");
    assert_eq!(shop.ask(&token, &first), Ok(()));
    let replayed = Err(ProofError::Replayed.into());
    assert_eq!(shop.ask(&token, &first), replayed);
    let hash = URL_SAFE_NO_PAD.encode(print(&token));
    let claims = |url: &str, method: &str| json!({"jti": "2", "htm": method, "htu": url, "iat": NOW, "ath": hash});
    let proof = |claims: &Value| shop.holder.proof(claims);
    let post = proof(&claims(URL, "POST"));
    assert_eq!(shop.ask(&token, &post), Err(ProofError::Method.into()));
    let other = proof(&claims("https://shop.example.org/", "GET"));
    assert_eq!(shop.ask(&token, &other), Err(ProofError::Url.into()));
    assert_eq!(shop.ask(&token, &proof(&claims(URL, "GET"))), Ok(()));
    assert_eq!(shop.world.hits(), 4, "it was remembered all the while");
    let stats = shop.world.guard.stats();
    assert_eq!(stats.refused("proof"), 2);
    assert_eq!(stats.refused("proof_replayed"), 1);
    assert_eq!(stats.accepted(), 2);
}

#[test]
fn a_token_bound_to_a_key_is_only_its_holders() {
    let shop = Shop::new(100);
    let token = bound(&shop.holder, "t");
    let thumbprint = shop.holder.thumbprint();
    for presenter in [
        Presenter::Certificate(&thumbprint),
        Presenter::NoCertificate,
    ] {
        let refused = shop.world.guard.check_now(&token, presenter, FRESH);
        assert_eq!(refused, Err(VerifyError::Confirmation));
    }
    let other = Holder::new();
    let stolen = other.proof(&proof_of(URL, &token, NOW, "1"));
    assert_eq!(shop.ask(&token, &stolen), Err(VerifyError::Confirmation));
    // A proof for one of its tokens is none for another.
    let second = bound(&shop.holder, "u");
    let proof = shop.proof(&token, "1");
    assert_eq!(shop.ask(&second, &proof), Err(ProofError::Token.into()));
    assert_eq!(shop.ask(&token, &proof), Ok(()));
    // Without a header there is nothing to look at, whatever else is right.
    let request = request("GET", "/orders", &[]);
    let presenter = Presenter::Proof(shop.proofs.shown(&request));
    let refused = shop.world.guard.check_now(&token, presenter, FRESH);
    assert_eq!(refused, Err(ProofError::NotOne.into()));
}

#[test]
fn what_is_not_bound_to_the_key_does_not_pass_with_its_proof() {
    let shop = Shop::new(100);
    let bearer = signed("a", &claims("t"));
    let proof = shop.proof(&bearer, "1");
    assert_eq!(shop.ask(&bearer, &proof), Err(VerifyError::Unbound));
    assert!(shop.world.check(&bearer).is_ok());
    for cnf in [
        json!({"x5t#S256": URL_SAFE_NO_PAD.encode(shop.holder.thumbprint())}),
        json!({"jkt": "a"}),
        json!({}),
    ] {
        let mut bound = claims("t");
        bound["cnf"] = cnf;
        let token = signed("a", &bound);
        let proof = shop.proof(&token, "1");
        assert_eq!(shop.ask(&token, &proof), Err(VerifyError::Confirmation));
    }
    assert_eq!(shop.proofs.remembered(), 0);
}

#[test]
fn no_refusal_spends_a_proof() {
    let shop = Shop::new(100);
    let token = bound(&shop.holder, "t");
    let proof = shop.proof(&token, "1");
    shop.world.clock.advance(61);
    let proof_later = shop.proof(&token, "2");
    assert_eq!(shop.ask(&token, &proof_later), Err(VerifyError::Stale));
    assert_eq!(shop.ask(&token, &proof), Err(ProofError::Old.into()));
    shop.world.feed.snapshot(&[]);
    let marker = all(Thing::Token(ISSUER, "t"));
    shop.world.feed.delta(&[marker]);
    let refused = shop.ask(&token, &proof_later);
    assert!(matches!(refused, Err(VerifyError::Revoked { .. })));
    let cover = Cover {
        before: Second::ZERO,
        until: Second::NEVER,
    };
    shop.world.feed.delta(&[Marker { cover, ..marker }]);
    assert_eq!(shop.proofs.remembered(), 0);
    assert_eq!(shop.ask(&token, &proof_later), Ok(()));
    assert_eq!(shop.proofs.remembered(), 1);
}

#[test]
fn where_no_more_can_be_remembered_nothing_is_said_of_the_token() {
    let shop = Shop::new(2 * limits::DPOP_SEEN_SHARE);
    let token = bound(&shop.holder, "t");
    for id in ["1", "2"] {
        assert_eq!(shop.ask(&token, &shop.proof(&token, id)), Ok(()));
    }
    let full = VerifyError::Proof(ProofError::Full);
    assert!(full.is_outage());
    let third = shop.proof(&token, "3");
    assert_eq!(shop.ask(&token, &third), Err(full));
    assert_eq!(shop.world.guard.stats().refused("proofs_full"), 1);
    shop.world.clock.advance(61);
    shop.world.feed.snapshot(&[]);
    assert_eq!(shop.ask(&token, &shop.proof(&token, "3")), Ok(()));
}
