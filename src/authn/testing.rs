//! What the unit tests of authentication share.

use super::{Authn, OwnTokens};
use crate::clock::SystemRandomness;
use crate::inventory::{ApiKey, KEY_PREFIX, KeyEntry, Keys};
use crate::keys::KeyRing;
use crate::secret::{Secret, api_key};
use crate::store::{Key, Op, Value};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;

const ISSUER: &str = "https://cambist.example.org";

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Authentication with one key registered, and the key's text.
pub(super) fn authn(change: impl FnOnce(&mut ApiKey)) -> (Authn, Arc<KeyEntry>, Secret) {
    let random = SystemRandomness::shared();
    let (secret, parsed) = api_key::generate(&*random).unwrap();
    let spec = json!({
        "owner": "team-shop", "purpose": "Tests", "audiences": ["a", "b"], "scopes": ["r", "w"],
        "expires": at(2_000_000_000), "networks": ["192.0.2.0/24"], "tenant": "retail", "labels": { "env": "test" },
    });
    let mut key = ApiKey {
        version: 1,
        id: parsed.id,
        digest: parsed.digest,
        spec: serde_json::from_value(spec).unwrap(),
        created: at(1_000_000_000),
        state: crate::inventory::KeyState::Active,
        successor: None,
    };
    change(&mut key);
    let keys = Arc::new(Keys::new(ISSUER.into(), Arc::default()));
    let name = Key::new(&format!("{KEY_PREFIX}{}", key.id)).unwrap();
    let value = Value::new(serde_json::to_vec(&key).unwrap()).unwrap();
    keys.apply(&Op::Put(name, value), 1).unwrap();
    let entry = keys.find(&key.id).unwrap();
    let tokens = OwnTokens::new(ISSUER.into(), KeyRing::empty_for_test());
    let (audiences, trust, hot) = Default::default();
    let authn = Authn::new(keys, audiences, trust, tokens, hot, Timestamp::MIN);
    (authn, entry, secret)
}
