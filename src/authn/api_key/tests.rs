//! Invariant 4: a refused key learns nothing, neither by what it is told nor by what is done about it.

use super::*;
use crate::authn::steps::taken;
use crate::authn::testing::{at, authn};
use crate::authn::{Credential, HeldThing, Presented};
use crate::clock::SystemRandomness;
use crate::inventory::ApiKey;
use crate::marker::{Second, Thing};

const HOME: &str = "192.0.2.7";

fn present(secret: Secret, source: &str) -> Presented {
    Presented {
        subject: Credential::ApiKey(secret),
        actor: None,
        peer: Arc::new(Peer {
            address: Some(source.parse().unwrap()),
            ..Peer::default()
        }),
    }
}

/// The code, the precise cause and the steps of a refusal; none where it is accepted.
fn refused(authn: &Authn, presented: &Presented) -> (Option<(Code, String)>, Vec<&'static str>) {
    taken();
    let answer = authn.verify(presented, at(1_500_000_000));
    let refusal = answer.err().map(|rejected| {
        let detail = rejected.refusal.detail().to_owned();
        (rejected.refusal.code(), detail)
    });
    (refusal, taken())
}

#[test]
fn every_refusal_takes_the_same_steps() {
    let changed = |change: fn(&mut ApiKey), source| {
        let (authn, _, secret) = authn(change);
        refused(&authn, &present(secret, source))
    };
    let (accepted, steps) = changed(|_| (), HOME);
    assert_eq!(accepted, None);
    assert_eq!(steps, ["find", "compare", "standing", "marker", "network"]);
    let unknown = {
        let (authn, _, _) = authn(|_| ());
        let (secret, _) = api_key::generate(&*SystemRandomness::shared()).unwrap();
        refused(&authn, &present(secret, HOME))
    };
    let marked = {
        let (authn, entry, secret) = authn(|_| ());
        let credential = Thing::Credential(CredentialId::ApiKey(entry.key().id));
        authn.hot.revoke(credential, Second::NEVER);
        refused(&authn, &present(secret, HOME))
    };
    let banned = {
        let (authn, entry, secret) = authn(|_| ());
        let subject = Thing::Subject(authn.tokens.issuer(), entry.sub());
        authn.hot.revoke(subject, Second::NEVER);
        refused(&authn, &present(secret, HOME))
    };
    let all = [
        unknown,
        marked,
        banned,
        changed(|key| key.digest = [9; 32], HOME),
        changed(|key| key.spec.expires = at(1_400_000_000), HOME),
        changed(|key| key.state = KeyState::Suspended, HOME),
        changed(|key| key.state = KeyState::Revoked, HOME),
        changed(|_| (), "198.51.100.1"),
        // More than one thing wrong takes no shorter course.
        changed(
            |key| {
                key.digest = [9; 32];
                key.state = KeyState::Revoked;
            },
            "198.51.100.1",
        ),
    ];
    let mut causes = std::collections::HashSet::new();
    for (refusal, taken) in all {
        let (code, cause) = refusal.unwrap();
        assert_eq!(code, Code::CredentialRefused);
        assert_eq!(taken, steps, "{cause}");
        causes.insert(cause);
    }
    assert_eq!(causes.len(), 7, "the record tells them apart: {causes:?}");
}

#[test]
fn who_has_a_keys_secret_gives_it_up_whatever_it_is_good_for_and_it_is_no_use() {
    let held = |change: fn(&mut ApiKey), is_marked: bool, source| {
        let (authn, entry, secret) = authn(change);
        let credential = CredentialId::ApiKey(entry.key().id);
        if is_marked {
            let thing = Thing::Credential(credential);
            authn.hot.revoke(thing, Second::NEVER);
        }
        let Presented { subject, peer, .. } = present(secret, source);
        taken();
        let held = authn.held(subject, &peer, at(1_500_000_000));
        let steps = ["find", "compare", "standing", "marker", "network"];
        assert_eq!(taken(), steps);
        assert_eq!(entry.usage().last(), None);
        match held {
            Ok(held) => {
                let end = entry.key().spec.expires;
                assert_eq!(*held.thing(), HeldThing::Credential(credential, end));
                None
            }
            Err(rejected) => Some(rejected.refusal.detail().to_owned()),
        }
    };
    let revoked = |key: &mut ApiKey| key.state = KeyState::Revoked;
    assert_eq!(held(revoked, true, HOME), None);
    assert_eq!(held(|_| (), false, HOME), None);
    // In force, and not written.
    assert_eq!(held(|_| (), true, HOME), None);
    let suspended = |key: &mut ApiKey| key.state = KeyState::Suspended;
    let lapsed = |key: &mut ApiKey| key.spec.expires = at(1_400_000_000);
    for source in [HOME, "198.51.100.1"] {
        assert_eq!(held(suspended, true, source), None);
        // Of one that was rotated, tokens may live.
        assert_eq!(held(lapsed, false, source), None);
        assert_eq!(held(revoked, true, source), None);
        let wrong = |key: &mut ApiKey| key.digest = [9; 32];
        let refused = held(wrong, false, source);
        assert_eq!(refused.as_deref(), Some("the secret is wrong"));
    }
}

#[test]
fn garbage_dies_before_any_look_up() {
    let (authn, _, secret) = authn(|_| ());
    let flipped = secret.expose().replace("cmb_", "cmb-");
    for text in [String::new(), "cmb_".into(), flipped] {
        let (refusal, steps) = refused(&authn, &present(Secret::new(text), HOME));
        assert_eq!(refusal.unwrap().0, Code::CredentialMalformed);
        assert!(steps.is_empty(), "{steps:?}");
    }
}
