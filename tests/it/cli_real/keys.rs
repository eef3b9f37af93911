//! A key's life, as its holder feels it.

use super::{assert_refused, create_key, exchange};
use crate::support::broker::Site;

#[tokio::test]
async fn a_key_is_suspended_resumed_and_revoked() {
    let broker = Site::new().start().await;
    let id = create_key(&broker, "key", &[]).await;
    let change = async |verb: &str| {
        let ran = broker
            .run_as_admin(&["key", verb, &id, "--reason", "tests", "--json"])
            .await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.json()["key"]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(exchange(&broker, "key", &[]).await.code, Some(0));
    assert_eq!(change("suspend").await, "suspended");
    assert_refused(&exchange(&broker, "key", &[]).await, "credential_refused");
    assert_eq!(change("resume").await, "active");
    assert_eq!(exchange(&broker, "key", &[]).await.code, Some(0));
    assert_eq!(change("revoke").await, "revoked");
    assert_refused(&exchange(&broker, "key", &[]).await, "credential_refused");
    assert_eq!(change("revoke").await, "revoked");
    let resume = ["key", "resume", &id, "--reason", "tests", "--json"];
    assert_refused(&broker.run_as_admin(&resume).await, "conflict");
    let told = broker
        .run_as_admin(&["key", "show", &id, "--json"])
        .await
        .json();
    assert_eq!(
        (&told["key"]["state"], &told["key"]["use_count"]),
        (&"revoked".into(), &2.into())
    );
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_its_overlap_and_its_successor_takes_over() {
    let broker = Site::new().start().await;
    let old = create_key(&broker, "old", &[]).await;
    let out = broker.argument("new");
    let rotate = [
        "key",
        "rotate",
        &old,
        "--overlap",
        "1h",
        "--json",
        "--out",
        &out,
    ];
    // Somebody else changed it meanwhile.
    let stale = [&rotate[..], &["--revision", "1"]].concat();
    assert_refused(&broker.run_as_admin(&stale).await, "conflict");
    let ran = broker
        .run_as_admin(&[&rotate[..], &["--idempotency-key", "once"]].concat())
        .await;
    let new = ran.json()["key"]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        ran.json()["key"]["scopes"],
        serde_json::json!(["orders:read", "orders:write"])
    );
    let told = broker
        .run_as_admin(&["key", "show", &old, "--json"])
        .await
        .json();
    assert_eq!(told["key"]["successor"], new);
    for key in ["old", "new"] {
        assert_eq!(exchange(&broker, key, &[]).await.code, Some(0), "{key}");
    }
    // A repeat makes nothing, and has nothing to deliver.
    let again = [
        "key",
        "rotate",
        &old,
        "--overlap",
        "1h",
        "--json",
        "--idempotency-key",
        "once",
    ];
    assert_refused(&broker.run_as_admin(&again).await, "already_delivered");
    assert_refused(&broker.run_as_admin(&again[..6]).await, "conflict");
    let told = broker.run_as_admin(&["key", "list", "--json"]).await.json();
    assert_eq!(told["keys"].as_array().unwrap().len(), 2);

    let out = broker.argument("newest");
    let at_once = [
        "key",
        "rotate",
        &new,
        "--overlap",
        "0s",
        "--json",
        "--out",
        &out,
    ];
    assert_eq!(broker.run_as_admin(&at_once).await.code, Some(0));
    assert_refused(&exchange(&broker, "new", &[]).await, "credential_refused");
    assert_eq!(exchange(&broker, "newest", &[]).await.code, Some(0));
}

#[tokio::test]
async fn a_name_for_one_write_is_not_taken_for_another() {
    let broker = Site::new().start().await;
    let (one, two) = (
        create_key(&broker, "1", &[]).await,
        create_key(&broker, "2", &[]).await,
    );
    let write = async |verb: &str, id: &str| {
        let args = [
            "key",
            verb,
            id,
            "--reason",
            "tests",
            "--json",
            "--idempotency-key",
            "name",
        ];
        broker.run_as_admin(&args).await
    };
    assert_eq!(write("suspend", &one).await.code, Some(0));
    assert_eq!(write("suspend", &one).await.code, Some(0));
    assert_refused(&write("suspend", &two).await, "conflict");
    assert_refused(&write("revoke", &one).await, "conflict");
    assert_eq!(exchange(&broker, "2", &[]).await.code, Some(0));
    let put = async |name: &str, more: &[&str]| {
        let args = [
            "audience",
            "put",
            name,
            "--owner",
            "o",
            "--json",
            "--idempotency-key",
            "put",
        ];
        broker.run_as_admin(&[&args[..], more].concat()).await
    };
    let first = put("a", &[]).await.json();
    assert_eq!(put("a", &[]).await.json(), first);
    assert_refused(&put("b", &[]).await, "conflict");
}

#[tokio::test]
async fn uses_are_spent_once_each() {
    let broker = Site::new().start().await;
    let id = create_key(&broker, "key", &["--uses", "2"]).await;
    for left in [1, 0] {
        assert_eq!(exchange(&broker, "key", &[]).await.code, Some(0));
        let told = broker
            .run_as_admin(&["key", "show", &id, "--json"])
            .await
            .json();
        assert_eq!(told["key"]["uses_left"], left);
    }
    assert_refused(&exchange(&broker, "key", &[]).await, "credential_spent");
}

#[tokio::test]
async fn signing_keys_are_told_and_replaced() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let ring = async || {
        broker
            .run_as_admin(&["signing-key", "list", "--json"])
            .await
            .json()
    };
    let of = |ring: &serde_json::Value, state: &str| {
        let mut keys = ring["signing_keys"].as_array().unwrap().iter();
        keys.find(|key| key["state"] == state)
            .map(|key| key["kid"].as_str().unwrap().to_owned())
    };
    let before = ring().await;
    let (active, spare) = (
        of(&before, "active").unwrap(),
        of(&before, "prepared").unwrap(),
    );
    let compromised = [
        "signing-key",
        "rotate",
        "--compromised",
        &active,
        "--reason",
        "leaked",
        "--json",
        "--idempotency-key",
        "x",
    ];
    let ran = broker.run_as_admin(&compromised).await;
    assert_eq!(of(&ran.json(), "active"), Some(spare.clone()), "{ran:?}");
    assert_eq!(broker.run_as_admin(&compromised).await.json(), ran.json());
    let told = exchange(&broker, "key", &[]).await.json();
    let ran = crate::support::command::cambist(
        &["jwt", "inspect", "--json"],
        &[],
        told["access_token"].as_str().unwrap().as_bytes(),
    )
    .await;
    assert_eq!(ran.json()["header"]["kid"], spare);
    let again = ["signing-key", "rotate", "--reason", "tests", "--json"];
    assert_refused(&broker.run_as_admin(&again).await, "conflict");
    assert_eq!(
        broker.run_as_admin(&["clock", "confirm"]).await.code,
        Some(0)
    );
}

#[tokio::test]
async fn nobody_else_administers() {
    let broker = Site::new().start().await;
    for caller in [
        broker.run_as_anybody(&["key", "list", "--json"]).await,
        broker.run_as_web(&["key", "list", "--json"]).await,
    ] {
        assert_refused(&caller, "not_authorised");
    }
}
