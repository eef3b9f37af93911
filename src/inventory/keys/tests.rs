//! Keys as they are applied.

use super::*;
use crate::limits;
use crate::store::Key;
use serde_json::json;
use std::time::Duration;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_revoked_keys_marker_outlives_all_that_its_tokens_can_by_what_verifiers_may_forgive() {
    let id = "0000000000000001";
    let expires = at(2_000_000_000);
    let spec = json!({
        "owner": "team-shop", "purpose": "Tests", "audiences": ["shop"], "scopes": [], "expires": expires,
    });
    let key = json!({
        "version": 1, "id": id, "digest": "A".repeat(43), "spec": spec, "created": at(1_000_000_000), "state": "revoked",
    });
    let hot = Arc::<HotSet>::default();
    let keys = Keys::new("https://cambist.example.org".into(), Arc::clone(&hot));
    let name = Key::new(&format!("{PREFIX}{id}")).unwrap();
    let value = Value::new(key.to_string().into_bytes()).unwrap();
    keys.apply(&Op::Put(name, value), 1).unwrap();
    let credential = CredentialId::ApiKey(KeyPublicId::parse(id).unwrap());
    let end = expires + limits::LONGEST_LIFETIME + limits::VERIFIER_LEEWAY;
    hot.expire(end - Duration::from_secs(1));
    assert!(hot.credential(credential));
    // Ends are kept to within a quarter of a minute.
    hot.expire(end + Duration::from_secs(16));
    assert!(!hot.credential(credential));
}
