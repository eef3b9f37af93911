//! `cambist backup` while the broker runs, and `cambist restore` while it does not.

use super::{assert_refused, create_key, exchange};
use crate::support::broker::Site;
use crate::support::command::cambist;
use std::fs;

#[tokio::test]
async fn a_backup_is_put_back_and_revives_nothing() {
    let mut broker = Site::new().start().await;
    let (config, backup) = (
        broker.argument("cambist.toml"),
        broker.argument("backup.db"),
    );
    create_key(&broker, "kept", &[]).await;
    let revoked = create_key(&broker, "revoked", &[]).await;
    create_key(&broker, "spent", &["--uses", "1"]).await;
    let told = broker
        .run_as_admin(&["backup", &backup, "--json"])
        .await
        .json();
    assert_eq!(
        told["bytes"].as_u64(),
        Some(fs::metadata(&backup).unwrap().len())
    );
    let again = broker.run_as_admin(&["backup", &backup, "--json"]).await;
    assert_refused(&again, "invalid_request");

    let revoke = ["key", "revoke", &revoked, "--reason", "leaked"];
    assert_eq!(broker.run_as_admin(&revoke).await.code, Some(0));
    assert_eq!(exchange(&broker, "spent", &[]).await.code, Some(0));
    create_key(&broker, "later", &[]).await;

    let restore = async |more: &[&str]| {
        let args = ["restore", "--json", "--config", &config, &backup];
        cambist(&[&args[..], more].concat(), &[], b"").await
    };
    assert_refused(&restore(&["--replace"]).await, "in_use");
    assert!(broker.terminate().await.success());
    assert_refused(&restore(&[]).await, "exists");
    let ran = restore(&["--replace"]).await;
    assert_eq!(
        (ran.code, &ran.json()["revision"]),
        (Some(0), &told["revision"]),
        "{ran:?}"
    );
    let replaced = ran.json()["replaced"].as_str().unwrap().to_owned();
    assert!(fs::exists(replaced).unwrap());

    broker.restart().await;
    assert_eq!(exchange(&broker, "kept", &[]).await.code, Some(0));
    assert_refused(
        &exchange(&broker, "revoked", &[]).await,
        "credential_refused",
    );
    assert_refused(&exchange(&broker, "spent", &[]).await, "credential_spent");
    // What was only made since is lost with the store that was replaced: that is what a backup is.
    assert_refused(&exchange(&broker, "later", &[]).await, "credential_refused");
}

/// They are good wherever they are checked without the broker.
#[tokio::test]
async fn what_a_key_made_that_a_backup_does_not_have_is_revoked_by_its_subject() {
    let mut broker = Site::new().start().await;
    let [config, backup, key] =
        ["cambist.toml", "backup.db", "key"].map(|name| broker.argument(name));
    let ran = broker.run_as_admin(&["backup", &backup]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let id = create_key(&broker, "key", &[]).await;
    assert_eq!(exchange(&broker, "key", &[]).await.code, Some(0));
    assert!(broker.terminate().await.success());
    let restore = ["restore", "--replace", "--config", &config, &backup];
    let ran = cambist(&restore, &[], b"").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    broker.restart().await;

    // A text or an id that is not there may be anybody's, or mistyped; what to do is said.
    for words in [
        &["revoke", "--key", &key][..],
        &["leak", "report", &key],
        &["revoke", "--credential", &id],
    ] {
        let more = ["--reason", "leaked", "--json"];
        let ran = broker.run_as_admin(&[words, &more].concat()).await;
        assert_refused(&ran, "not_found");
        assert!(ran.stderr.contains("`--subject ISSUER/keys/ID`"), "{ran:?}");
    }
    let subject = format!("{}/keys/{id}", broker.issuer);
    let by_subject = ["revoke", "--subject", &subject];
    let look = [&by_subject[..], &["--dry-run", "--json"]].concat();
    assert_eq!(broker.run_as_admin(&look).await.json()["tokens"], 1);
    let revoke = [&by_subject[..], &["--reason", "leaked"]].concat();
    let ran = broker.run_as_admin(&revoke).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(broker.run_as_admin(&look).await.json()["tokens"], 0);
    broker.kill9().await;
    broker.restart().await;
    assert_eq!(broker.run_as_admin(&look).await.json()["tokens"], 0);
}

#[tokio::test]
async fn what_is_no_backup_is_not_put_in_place() {
    let mut broker = Site::new().start().await;
    create_key(&broker, "key", &[]).await;
    assert!(broker.terminate().await.success());
    let (config, other) = (broker.argument("cambist.toml"), broker.argument("other"));
    fs::write(&other, "not a backup").unwrap();
    let ran = cambist(
        &[
            "restore",
            "--json",
            "--config",
            &config,
            &other,
            "--replace",
        ],
        &[],
        b"",
    )
    .await;
    assert_refused(&ran, "backup_not_usable");
    let absent = broker.argument("absent");
    let ran = cambist(
        &[
            "restore",
            "--json",
            "--config",
            &config,
            &absent,
            "--replace",
        ],
        &[],
        b"",
    )
    .await;
    assert_eq!(
        (ran.code, &ran.error()["code"]),
        (Some(1), &"fault".into()),
        "{ran:?}"
    );
    broker.restart().await;
    assert_eq!(exchange(&broker, "key", &[]).await.code, Some(0));
}
