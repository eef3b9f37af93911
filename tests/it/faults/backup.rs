//! Putting a backup back: what was revoked stays revoked and what was spent stays spent, because the log says so.

use super::load::{
    Ledger, by_certificate, by_key, by_token, create, keep_asking, key, revoke, suspend,
};
use crate::support::broker::{Broker, Site, refusal, segments};
use crate::support::disk::copy_folder;
use cambist::proto::{
    BackupRequest, ListSigningKeysRequest, RotateKeyRequest, RotateSigningKeyRequest,
};
use cambist::store::embedded::restore;
use std::fs;
use std::path::Path;
use std::sync::Arc;

async fn back_up(broker: &Broker, to: &Path) {
    let path = to.to_str().unwrap().to_owned();
    let copied = broker
        .inventory()
        .await
        .backup(BackupRequest { path })
        .await;
    assert!(copied.unwrap().into_inner().bytes > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_gives_nothing_back_that_was_taken_away_since() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = broker.inventory().await;
    let revoked = create(&mut admin, 0).await.unwrap();
    let suspended = create(&mut admin, 0).await.unwrap();
    let finite = create(&mut admin, 4).await.unwrap();
    let rotated = create(&mut admin, 0).await.unwrap();
    let overlapping = create(&mut admin, 0).await.unwrap();
    let kept = create(&mut admin, 0).await.unwrap();
    let client = broker.anybody().await;
    client.yes(by_key(&finite.1)).await;

    let ledger = Ledger::default();
    let mut load = Vec::new();
    for _ in 0..3 {
        let asking = keep_asking(
            broker.anybody().await,
            by_key(&kept.1),
            Arc::clone(&ledger),
            &[],
        );
        load.push(tokio::spawn(asking));
    }
    let copy = site.path("copy.db");
    back_up(&broker, &copy).await;
    // A second copy does not overwrite the first.
    let path = copy.to_str().unwrap().to_owned();
    let again = admin.backup(BackupRequest { path }).await.unwrap_err();
    assert_eq!(refusal(&again), "invalid_request");

    revoke(&mut admin, &revoked.0).await.unwrap();
    suspend(&mut admin, &suspended.0).await.unwrap();
    let rotation = RotateKeyRequest {
        id: rotated.0.clone(),
        expires_at: key(&mut admin, &rotated.0)
            .await
            .unwrap()
            .spec
            .unwrap()
            .expires_at,
        ..RotateKeyRequest::default()
    };
    let successor = admin.rotate_key(rotation).await.unwrap().into_inner();
    for _ in 0..2 {
        client.yes(by_key(&finite.1)).await;
    }
    let rotation = RotateKeyRequest {
        id: overlapping.0.clone(),
        overlap: Some(prost_types::Duration {
            seconds: 600,
            nanos: 0,
        }),
        ..RotateKeyRequest::default()
    };
    admin.rotate_key(rotation).await.unwrap();
    let known = key(&mut admin, &overlapping.0).await.unwrap();
    let shortened = known.spec.unwrap().expires_at;
    let late = create(&mut admin, 2).await.unwrap();
    client.yes(by_key(&late.1)).await;
    // Killed, so that nothing is written down at leisure.
    broker.kill9().await;
    for task in load {
        task.await.unwrap();
    }
    restore(&copy, &site.path("data/store.db"), true).unwrap();

    for round in 0..2 {
        let mut broker = site.start().await;
        let mut admin = broker.inventory().await;
        let client = broker.anybody().await;
        for (secret, expected) in [
            (&revoked.1, "credential_refused"),
            (&suspended.1, "credential_refused"),
            (&rotated.1, "credential_refused"),
            // A key that the backup does not know stays unknown.
            (&late.1, "credential_refused"),
        ] {
            assert_eq!(client.no(by_key(secret)).await, expected, "round {round}");
        }
        assert_eq!(key(&mut admin, &revoked.0).await.unwrap().state, "revoked");
        assert_eq!(
            key(&mut admin, &suspended.0).await.unwrap().state,
            "suspended"
        );
        let unknown = key(&mut admin, &late.0).await.unwrap_err();
        assert_eq!(refusal(&unknown), "not_found", "round {round}");
        // What was made since the backup is not there any more.
        assert_eq!(
            client.no(by_key(&successor.secret)).await,
            "credential_refused"
        );
        // What was to end sooner ends sooner.
        let known = key(&mut admin, &overlapping.0).await.unwrap();
        assert_eq!(known.spec.unwrap().expires_at, shortened, "round {round}");
        client.yes(by_key(&overlapping.1)).await;
        if round == 0 {
            // Three of four uses were spent, one before the backup and two after it.
            assert_eq!(key(&mut admin, &finite.0).await.unwrap().uses_left, 1);
            client.yes(by_key(&finite.1)).await;
        }
        assert_eq!(
            client.no(by_key(&finite.1)).await,
            "credential_spent",
            "round {round}"
        );
        client.yes(by_key(&kept.1)).await;
        assert_eq!(broker.terminate().await.code(), Some(0));
    }
    let records = site.whole_log();
    let replays = records
        .iter()
        .filter(|record| record["action"] == "recovery.replay");
    assert_eq!(replays.count(), 1);
    for token in ledger.lock().unwrap().iter() {
        let index = usize::try_from(token.index).unwrap();
        assert_eq!(records[index]["token_sha256"], token.sha256);
    }
}

/// What was put back may be stopped and started before anything new was changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_back_starts_again_and_again() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = broker.inventory().await;
    let revoked = create(&mut admin, 0).await.unwrap();
    let copy = site.path("copy.db");
    back_up(&broker, &copy).await;
    revoke(&mut admin, &revoked.0).await.unwrap();
    broker.kill9().await;
    restore(&copy, &site.path("data/store.db"), true).unwrap();
    for _ in 0..3 {
        let mut broker = site.start().await;
        let client = broker.anybody().await;
        assert_eq!(client.no(by_key(&revoked.1)).await, "credential_refused");
        assert_eq!(broker.terminate().await.code(), Some(0));
    }
}

/// A signing key that somebody else may have is distrusted for good: not even a backup from before makes it sign again.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_brings_no_compromised_signing_key_back() {
    let site = Site::new();
    let mut broker = site.start().await;
    let client = broker.web().await;
    let token = client.yes(by_certificate()).await;
    let mut admin = broker.inventory().await;
    let listed = admin.list_signing_keys(ListSigningKeysRequest::default());
    let keys = listed.await.unwrap().into_inner().keys;
    let bad = keys.iter().find(|key| key.state == "active").unwrap();
    let copy = site.path("copy.db");
    back_up(&broker, &copy).await;
    let compromised = RotateSigningKeyRequest {
        compromised: bad.kid.clone(),
        reason: "seen elsewhere".to_owned(),
        ..RotateSigningKeyRequest::default()
    };
    admin.rotate_signing_key(compromised).await.unwrap();
    broker.kill9().await;
    restore(&copy, &site.path("data/store.db"), true).unwrap();

    let broker = site.start().await;
    let listed = broker
        .inventory()
        .await
        .list_signing_keys(ListSigningKeysRequest::default())
        .await;
    let keys = listed.unwrap().into_inner().keys;
    let again = keys.iter().find(|key| key.kid == bad.kid).unwrap();
    assert_eq!(again.state, "compromised");
    let client = broker.web().await;
    assert_eq!(
        client.no(by_token(&token.access_token)).await,
        "token_refused"
    );
    client.yes(by_certificate()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_log_a_store_is_not_believed() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = broker.inventory().await;
    let finite = create(&mut admin, 4).await.unwrap();
    let unlimited = create(&mut admin, 0).await.unwrap();
    let client = broker.web().await;
    client.yes(by_key(&finite.1)).await;
    let token = client.yes(by_certificate()).await;
    let before = by_token(&token.access_token);
    client.yes(before.clone()).await;
    let copy = site.path("copy.db");
    back_up(&broker, &copy).await;
    client.yes(by_key(&finite.1)).await;
    broker.terminate().await;
    fs::rename(site.path("data/log"), site.path("log.lost")).unwrap();

    for put_back in [false, true] {
        if put_back {
            restore(&copy, &site.path("data/store.db"), true).unwrap();
        }
        site.refuses(&["--accept-rollback"]).await;
    }
    let mut broker = site.accept_rollback().await;
    let mut admin = broker.inventory().await;
    assert_eq!(key(&mut admin, &finite.0).await.unwrap().state, "suspended");
    let client = broker.web().await;
    // The token verifies as ever, and is cut off.
    assert_eq!(client.no(before.clone()).await, "token_refused");
    // What is issued from now on, be it in the same second, is not.
    let token = client.yes(by_certificate()).await;
    let after = by_token(&token.access_token);
    client.yes(after.clone()).await;
    client.yes(by_key(&unlimited.1)).await;
    // Changes are drained into the new log, and acknowledged.
    revoke(&mut admin, &unlimited.0).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    // So that an older backup does not let the key be used again, its suspension is on the record.
    let records = site.records();
    let suspension = records.iter().find(|r| r["action"] == "key.suspend");
    let suspension = suspension.unwrap();
    assert_eq!(suspension["kind"], "recovery");
    assert_eq!(suspension["target"], format!("key:{}", finite.0));
    assert_eq!(
        suspension["store"]["effect"][0]["put"],
        format!("key/{}", finite.0)
    );

    // Said once is enough, and cut off is cut off.
    let mut broker = site.start().await;
    let client = broker.web().await;
    assert_eq!(client.no(before).await, "token_refused");
    client.yes(after).await;
    assert_eq!(client.no(by_key(&unlimited.1)).await, "credential_refused");
    // The new log is not the one that this backup knew, however long it grows: it says nothing of the time between.
    for _ in 0..50 {
        client.yes(by_certificate()).await;
    }
    assert_eq!(broker.terminate().await.code(), Some(0));
    restore(&copy, &site.path("data/store.db"), true).unwrap();
    site.refuses(&["do not belong together"]).await;
}

/// A plain copy of the store goes on under the revisions that the log knows with other content.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_after_an_accepted_rollback_is_on_the_record() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = broker.inventory().await;
    let kept = create(&mut admin, 0).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    let (store, copy) = (site.path("data/store.db"), site.path("copy.db"));
    fs::copy(&store, &copy).unwrap();
    let mut broker = site.start().await;
    let mut admin = broker.inventory().await;
    for _ in 0..20 {
        create(&mut admin, 0).await.unwrap();
    }
    let late = create(&mut admin, 0).await.unwrap();
    revoke(&mut admin, &late.0).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    // The revocation cannot be read back.
    let last = segments(&site.path("data/log")).pop().unwrap();
    let text = fs::read_to_string(&last).unwrap();
    let at = text.rfind("\"put\":").unwrap();
    fs::write(&last, format!("{}\"pot\":{}", &text[..at], &text[at + 6..])).unwrap();
    fs::copy(&copy, &store).unwrap();
    site.refuses(&["--accept-rollback"]).await;

    let mut broker = site.accept_rollback().await;
    revoke(&mut broker.inventory().await, &kept.0)
        .await
        .unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    let records = site.whole_log();
    let counted = |action| records.iter().filter(|r| r["action"] == action).count();
    assert_eq!(counted("recovery.accept_rollback"), 1);
    assert_eq!(counted("key.revoke"), 2);
}

/// The log that goes on from an older copy comes by the positions of the one that was lost, with other content.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_knew_what_the_log_lost_is_not_believed_once_the_log_has_grown() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = broker.inventory().await;
    let kept = create(&mut admin, 0).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    let (log, older) = (site.path("data/log"), site.path("older"));
    copy_folder(&log, &older);
    let mut broker = site.start().await;
    let mut admin = broker.inventory().await;
    for _ in 0..20 {
        create(&mut admin, 0).await.unwrap();
    }
    assert_eq!(broker.terminate().await.code(), Some(0));
    let copy = site.path("copy.db");
    fs::copy(site.path("data/store.db"), &copy).unwrap();
    let reached = site.whole_log().len();
    let key = fs::read(log.join("vkey")).unwrap();
    fs::rename(&log, site.path("log.lost")).unwrap();
    fs::rename(&older, &log).unwrap();
    site.refuses(&["the log lacks records"]).await;

    let mut broker = site.accept_rollback().await;
    // Would be undone silently.
    revoke(&mut broker.inventory().await, &kept.0)
        .await
        .unwrap();
    let client = broker.web().await;
    for _ in 0..reached {
        client.yes(by_certificate()).await;
    }
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert!(site.whole_log().len() > reached);
    // No key signs two pasts: the log that was begun anew has its own, and the old one's things stand beside it.
    assert_ne!(fs::read(log.join("vkey")).unwrap(), key);
    site.verify_log(&mut Vec::new());
    let names = fs::read_dir(&log).unwrap();
    let aside = names.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with("vkey.")
    });
    assert_eq!(aside.count(), 1);
    // What was accepted is said once.
    let mut broker = site.start().await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    fs::copy(&copy, site.path("data/store.db")).unwrap();
    site.refuses(&["do not belong together"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn store_and_log_of_one_time_start() {
    let site = Site::new();
    let mut broker = site.start().await;
    let (_, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    let copy = site.path("copy");
    copy_folder(&site.path("data"), &copy);
    let mut broker = site.start().await;
    broker.anybody().await.yes(by_key(&secret)).await;
    broker.kill9().await;
    fs::rename(site.path("data"), site.path("data.old")).unwrap();
    fs::rename(&copy, site.path("data")).unwrap();
    let broker = site.start().await;
    broker.anybody().await.yes(by_key(&secret)).await;
}
