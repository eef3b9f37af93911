//! What is supposed of a caller is what it is when it comes.

use super::*;
use crate::authn::testing::{at, authn};
use crate::authn::{Credential, Presented};
use crate::inventory::ApiKey;

/// What becomes of the key, and where from it is presented.
type Case = (fn(&mut ApiKey), Option<&'static str>);

/// As the key's holder would be answered, and as is supposed.
fn both(
    change: impl FnOnce(&mut ApiKey),
    source: Option<&str>,
) -> (Result<String, Refusal>, Result<String, Refusal>) {
    let (authn, entry, secret) = authn(change);
    let source = source.map(|text| text.parse().unwrap());
    let now = at(1_500_000_000);
    let presented = Presented {
        subject: Credential::ApiKey(secret),
        actor: None,
        peer: Arc::new(Peer {
            address: source,
            ..Peer::default()
        }),
    };
    let real = authn.verify(&presented, now);
    let supposed = authn.suppose_key(&entry, source, now);
    (
        real.map(|verified| format!("{verified:?}"))
            .map_err(|rejected| rejected.refusal),
        supposed.map(|supposed| format!("{:?}", supposed.verified())),
    )
}

#[test]
fn a_key_is_supposed_to_be_what_its_holder_proves() {
    let (real, supposed) = both(|_| (), Some("192.0.2.7"));
    assert!(real.is_ok(), "{real:?}");
    assert_eq!(real, supposed);
    let (real, supposed) = both(|key| key.spec.uses = Some(3), Some("192.0.2.7"));
    assert!(real.is_ok(), "{real:?}");
    assert_eq!(real, supposed);
}

#[test]
fn a_key_that_would_be_refused_is_refused_for_the_same_cause() {
    use crate::inventory::KeyState;
    let changes: [Case; 5] = [
        (|key| key.state = KeyState::Suspended, Some("192.0.2.7")),
        (|key| key.state = KeyState::Revoked, Some("192.0.2.7")),
        (
            |key| key.spec.expires = at(1_400_000_000),
            Some("192.0.2.7"),
        ),
        (|_| (), Some("198.51.100.1")),
        (|_| (), None),
    ];
    let mut causes = std::collections::HashSet::new();
    for (change, source) in changes {
        let (real, supposed) = both(change, source);
        let refusal = real.clone().unwrap_err();
        assert_eq!(real, supposed);
        causes.insert(refusal.detail().to_owned());
    }
    assert_eq!(causes.len(), 4);
}

#[test]
fn a_workload_is_supposed_to_prove_a_key_and_to_be_bounded_by_policy() {
    let (authn, ..) = authn(|_| ());
    let id = SpiffeId::parse("spiffe://example.org/web").unwrap();
    let supposed = authn.suppose_workload(&id, at(1_500_000_000));
    let verified = supposed.verified();
    assert_eq!(&**verified.sub(), id.as_str());
    assert_eq!(verified.kind(), CredentialKind::Certificate);
    assert!(verified.confirmation().is_some());
    assert_eq!(verified.ceiling().audiences, Reach::Policy);
    assert!(verified.ceiling().not_after > at(1_500_000_000));
}
