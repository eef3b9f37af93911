//! What a responder types: by what is in hand, for a look first, and to take it back.

use super::{assert_refused, create_key, exchange};
use crate::support::broker::{Broker, Site};
use crate::support::svid::pem;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;
use std::fs;

/// A token in a file of this name, and what a look at it says.
async fn token(broker: &Broker, key: &str, name: &str) -> Value {
    let ran = exchange(broker, key, &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let answer = ran.json();
    fs::write(broker.path(name), answer["access_token"].as_str().unwrap()).unwrap();
    answer
}

async fn is_active(broker: &Broker, name: &str) -> bool {
    let file = broker.argument(name);
    let ran = broker
        .run_as_admin(&["jwt", "check", &file, "--json"])
        .await;
    match ran.code {
        Some(0) => true,
        Some(5) => false,
        _ => panic!("{ran:?}"),
    }
}

#[tokio::test]
async fn a_token_is_looked_at_revoked_listed_and_taken_back() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let made = token(&broker, "key", "token").await;
    assert!(is_active(&broker, "token").await);
    let file = broker.argument("token");
    let look = ["revoke", "--token", &file, "--dry-run", "--json"];
    let hit = broker.run_as_admin(&look).await.json();
    assert_eq!(
        (&hit["tokens"], &hit["token_ids"][0]),
        (&1.into(), &made["token_id"])
    );
    assert!(is_active(&broker, "token").await);
    let revoke = [
        "revoke",
        "--token",
        &file,
        "--reason",
        "found in a log",
        "--json",
    ];
    let answer = broker.run_as_admin(&revoke).await.json();
    assert_eq!(answer["durable"], true);
    assert!(!is_active(&broker, "token").await);
    let id = answer["markers"][0]["id"].as_str().unwrap().to_owned();
    let listed = broker
        .run_as_admin(&["marker", "list", "--json"])
        .await
        .json();
    assert_eq!(listed["markers"][0]["id"], id.as_str());
    assert_eq!(listed["markers"][0]["reason"], "found in a log");
    let shown = broker.run_as_admin(&["marker", "list"]).await;
    assert!(
        shown.stdout.contains(&id) && shown.stdout.contains("found in a log"),
        "{shown:?}"
    );
    let back = [
        "marker",
        "reinstate",
        &id,
        "--reason",
        "it was a test's",
        "--json",
    ];
    assert_eq!(
        broker.run_as_admin(&back).await.json()["marker"]["reinstated"],
        true
    );
    assert!(is_active(&broker, "token").await);
    let listed = broker.run_as_admin(&["marker", "list"]).await;
    assert!(
        listed.stdout.contains("There are no markers."),
        "{listed:?}"
    );
}

#[tokio::test]
async fn a_key_a_certificate_and_an_owner_are_revoked_by_what_is_in_hand() {
    let broker = Site::new().start().await;
    let id = create_key(&broker, "one", &[]).await;
    create_key(&broker, "two", &[]).await;
    let file = broker.argument("one");
    let by_text = ["revoke", "--key", &file, "--reason", "leaked", "--json"];
    let answer = broker.run_as_admin(&by_text).await.json();
    assert_eq!(answer["markers"][0]["thing"], format!("key:{id}"));
    assert_refused(&exchange(&broker, "one", &[]).await, "credential_refused");
    assert_eq!(exchange(&broker, "two", &[]).await.code, Some(0));
    let by_id = ["revoke", "--credential", &id, "--reason", "again", "--json"];
    assert_eq!(broker.run_as_admin(&by_id).await.code, Some(0));

    fs::write(
        broker.path("found.pem"),
        pem("CERTIFICATE", &broker.web.leaf),
    )
    .unwrap();
    let found = broker.argument("found.pem");
    let by_certificate = [
        "revoke",
        "--certificate",
        &found,
        "--reason",
        "stolen",
        "--json",
    ];
    let answer = broker.run_as_admin(&by_certificate).await.json();
    assert_eq!(answer["markers"][0]["kind"], "credential");
    // By what openssl prints of it, the same one.
    let digest = digest(&SHA256, &broker.web.leaf);
    let bytes = digest.as_ref().iter().map(|byte| format!("{byte:02X}"));
    let printed = format!("sha256 Fingerprint={}", bytes.collect::<Vec<_>>().join(":"));
    let by_fingerprint = [
        "revoke",
        "--credential",
        &printed,
        "--reason",
        "stolen",
        "--json",
    ];
    let again = broker.run_as_admin(&by_fingerprint).await.json();
    assert_eq!(again["markers"][0]["id"], answer["markers"][0]["id"]);
    let acts = ["audit", "query", "--credential", &printed, "--json"];
    let acts = broker.run_as_admin(&acts).await;
    assert!(acts.stdout.contains("marker.set"), "{acts:?}");

    let look = async |owner: &str| {
        let line = ["revoke", "--owner", owner, "--dry-run"];
        broker.run_as_admin(&line).await.stdout
    };
    let would = look("team-shop").await;
    assert!(would.contains("keys         1 that would end"), "{would}");
    let none = "the owner has no key that is not revoked";
    let would = look("team-shp").await;
    assert!(would.contains(none), "{would}");
    let misspelt = ["revoke", "--owner", "team-shp", "--reason", "gone"];
    let ran = broker.run_as_admin(&misspelt).await;
    assert!(ran.stdout.contains(none), "{ran:?}");
    let by_owner = [
        "revoke",
        "--owner",
        "team-shop",
        "--reason",
        "gone",
        "--json",
    ];
    let answer = broker.run_as_admin(&by_owner).await.json();
    assert_eq!(answer["markers"].as_array().unwrap().len(), 1);
    assert_refused(&exchange(&broker, "two", &[]).await, "credential_refused");
}

/// As files with two tokens or two keys are refused. A chain is one certificate and those of its authorities.
#[tokio::test]
async fn a_file_with_certificates_of_two_is_refused_and_a_chain_is_not() {
    let broker = Site::new().start().await;
    let one = pem("CERTIFICATE", &broker.web.leaf);
    let other = broker.svid("spiffe://example.org/other");
    let other = pem("CERTIFICATE", &other.leaf);
    let [home, partner] =
        [&broker.home, &broker.partner].map(|root| pem("CERTIFICATE", &root.certificate));
    let path = broker.argument("found.pem");
    let revoke = async |text: &str| {
        fs::write(&path, text).unwrap();
        let line = ["revoke", "--certificate", &path, "--reason", "x", "--json"];
        broker.run_as_admin(&line).await
    };
    for text in [
        format!("{one}{other}"),
        format!("{one}{home}{other}"),
        format!("{one}{other}{home}"),
        String::new(),
    ] {
        let ran = revoke(&text).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
    // That no marker takes an authority along is the broker's to say.
    assert_refused(&revoke(&home).await, "invalid_request");
    let listed = broker.run_as_admin(&["marker", "list"]).await;
    assert!(
        listed.stdout.contains("There are no markers."),
        "{listed:?}"
    );
    let digest = format!("x509:{}", broker.web.thumbprint());
    for text in [
        one.clone(),
        format!("{one}{home}"),
        format!("{home}{partner}{one}"),
    ] {
        let ran = revoke(&text).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.json()["markers"][0]["thing"], digest, "{text}");
    }
}

#[tokio::test]
async fn a_line_that_says_too_little_or_too_much_is_refused() {
    let broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    let file = broker.argument("key");
    for line in [
        &["revoke", "--reason", "x"][..],
        &["revoke", "--key", &file],
        &["revoke", "--key", &file, "--subject", "s", "--reason", "x"],
        &[
            "revoke",
            "--subject",
            "s",
            "--ban",
            "--before",
            "2030-01-01T00:00:00Z",
            "--reason",
            "x",
        ],
        &["revoke", "--certificate", &file, "--reason", "x"],
        &["marker", "reinstate", "x"],
        // What `openssl x509 -fingerprint` prints.
        &[
            "revoke",
            "--credential",
            "SHA1 Fingerprint=57:C0:8A:A2:A0:94:E4:66:C5:FF:E3:D0:29:9A:BB:85:88:87:86:AE",
            "--reason",
            "x",
        ],
    ] {
        let ran = broker.run_as_admin(line).await;
        assert_eq!(ran.code, Some(2), "{line:?}: {ran:?}");
    }
    let nothing = ["revoke", "--token-id", "x", "--reason", "x", "--json"];
    assert_refused(&broker.run_as_admin(&nothing).await, "invalid_request");
}
