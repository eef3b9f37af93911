//! Putting a backup back: what was revoked stays revoked and what was spent stays spent, because the log says so.

use super::load::{
    Ledger, by_certificate, by_key, by_token, create, exchanges, inventory, keep_asking, key,
    reason, revoke, suspend,
};
use crate::support::process::{Broker, Site};
use cambist::proto::{
    BackupRequest, ListSigningKeysRequest, RotateKeyRequest, RotateSigningKeyRequest,
};
use cambist::store::embedded::restore;
use std::fs;
use std::path::Path;
use std::sync::Arc;

async fn back_up(broker: &Broker, to: &Path) {
    let path = to.to_str().unwrap().to_owned();
    let copied = inventory(broker).backup(BackupRequest { path }).await;
    assert!(copied.unwrap().into_inner().bytes > 0);
}

async fn started_anyway(site: &Site) -> Broker {
    let mut command = site.command();
    command.arg("--accept-rollback");
    Broker::start(site, command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_gives_nothing_back_that_was_taken_away_since() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = inventory(&broker);
    let revoked = create(&mut admin, 0).await.unwrap();
    let suspended = create(&mut admin, 0).await.unwrap();
    let finite = create(&mut admin, 4).await.unwrap();
    let rotated = create(&mut admin, 0).await.unwrap();
    let overlapping = create(&mut admin, 0).await.unwrap();
    let kept = create(&mut admin, 0).await.unwrap();
    let mut client = exchanges(broker.tls());
    client.exchange(by_key(&finite.1)).await.unwrap();

    let ledger = Ledger::default();
    let load: Vec<_> = (0..3)
        .map(|_| keep_asking(broker.tls(), by_key(&kept.1), Arc::clone(&ledger), &[]))
        .map(tokio::spawn)
        .collect();
    let copy = site.path("copy.db");
    back_up(&broker, &copy).await;
    // A second copy does not overwrite the first.
    let path = copy.to_str().unwrap().to_owned();
    let again = admin.backup(BackupRequest { path }).await.unwrap_err();
    assert_eq!(reason(&again), "invalid_request");

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
        client.exchange(by_key(&finite.1)).await.unwrap();
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
    client.exchange(by_key(&late.1)).await.unwrap();
    // Killed, so that nothing is written down at leisure.
    broker.kill9().await;
    for task in load {
        task.await.unwrap();
    }
    restore(&copy, &site.path("data/store.db"), true).unwrap();

    for round in 0..2 {
        let mut broker = site.start().await;
        let mut admin = inventory(&broker);
        let mut client = exchanges(broker.tls());
        let mut refusal = async |secret: &str| {
            let refused = client.exchange(by_key(secret)).await.unwrap_err();
            reason(&refused)
        };
        for (secret, expected) in [
            (&revoked.1, "credential_refused"),
            (&suspended.1, "credential_refused"),
            (&rotated.1, "credential_refused"),
            // A key that the backup does not know stays unknown.
            (&late.1, "credential_refused"),
        ] {
            assert_eq!(refusal(secret).await, expected, "round {round}");
        }
        assert_eq!(key(&mut admin, &revoked.0).await.unwrap().state, "revoked");
        assert_eq!(
            key(&mut admin, &suspended.0).await.unwrap().state,
            "suspended"
        );
        let unknown = key(&mut admin, &late.0).await.unwrap_err();
        assert_eq!(reason(&unknown), "not_found", "round {round}");
        let mut client = exchanges(broker.tls());
        // What was made since the backup is not there any more.
        let lost = client.exchange(by_key(&successor.secret)).await;
        assert_eq!(reason(&lost.unwrap_err()), "credential_refused");
        // What was to end sooner ends sooner.
        let known = key(&mut admin, &overlapping.0).await.unwrap();
        assert_eq!(known.spec.unwrap().expires_at, shortened, "round {round}");
        client.exchange(by_key(&overlapping.1)).await.unwrap();
        if round == 0 {
            // Three of four uses were spent, one before the backup and two after it.
            assert_eq!(key(&mut admin, &finite.0).await.unwrap().uses_left, 1);
            client.exchange(by_key(&finite.1)).await.unwrap();
        }
        let spent = client.exchange(by_key(&finite.1)).await.unwrap_err();
        assert_eq!(reason(&spent), "credential_spent", "round {round}");
        client.exchange(by_key(&kept.1)).await.unwrap();
        assert_eq!(broker.terminate().await.code(), Some(0));
    }
    let records = site.records();
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
    let mut admin = inventory(&broker);
    let revoked = create(&mut admin, 0).await.unwrap();
    let copy = site.path("copy.db");
    back_up(&broker, &copy).await;
    revoke(&mut admin, &revoked.0).await.unwrap();
    broker.kill9().await;
    restore(&copy, &site.path("data/store.db"), true).unwrap();
    for _ in 0..3 {
        let mut broker = site.start().await;
        let mut client = exchanges(broker.tls());
        let refused = client.exchange(by_key(&revoked.1)).await.unwrap_err();
        assert_eq!(reason(&refused), "credential_refused");
        assert_eq!(broker.terminate().await.code(), Some(0));
    }
}

/// A signing key that somebody else may have is distrusted for good: not even a backup from before makes it sign again.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_brings_no_compromised_signing_key_back() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut client = exchanges(broker.mtls());
    let token = client
        .exchange(by_certificate())
        .await
        .unwrap()
        .into_inner();
    let mut admin = inventory(&broker);
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
    let listed = inventory(&broker)
        .list_signing_keys(ListSigningKeysRequest::default())
        .await;
    let keys = listed.unwrap().into_inner().keys;
    let again = keys.iter().find(|key| key.kid == bad.kid).unwrap();
    assert_eq!(again.state, "compromised");
    let mut client = exchanges(broker.mtls());
    let refused = client.exchange(by_token(&token.access_token)).await;
    assert_eq!(reason(&refused.unwrap_err()), "token_refused");
    client.exchange(by_certificate()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_log_a_store_is_not_believed() {
    let site = Site::new();
    let mut broker = site.start().await;
    let mut admin = inventory(&broker);
    let finite = create(&mut admin, 4).await.unwrap();
    let unlimited = create(&mut admin, 0).await.unwrap();
    let mut client = exchanges(broker.mtls());
    client.exchange(by_key(&finite.1)).await.unwrap();
    let token = client
        .exchange(by_certificate())
        .await
        .unwrap()
        .into_inner();
    let before = by_token(&token.access_token);
    client.exchange(before.clone()).await.unwrap();
    let copy = site.path("copy.db");
    back_up(&broker, &copy).await;
    client.exchange(by_key(&finite.1)).await.unwrap();
    broker.terminate().await;
    fs::rename(site.path("data/log"), site.path("log.lost")).unwrap();

    for put_back in [false, true] {
        if put_back {
            restore(&copy, &site.path("data/store.db"), true).unwrap();
        }
        let (code, said) = site.fails(&[]).await;
        assert_eq!(code, 1);
        assert!(said.contains("--accept-rollback"), "{said}");
    }
    let mut broker = started_anyway(&site).await;
    let mut admin = inventory(&broker);
    assert_eq!(key(&mut admin, &finite.0).await.unwrap().state, "suspended");
    let mut client = exchanges(broker.mtls());
    // The token verifies as ever, and is cut off.
    let refused = client.exchange(before.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "token_refused");
    // What is issued from now on, be it in the same second, is not.
    let token = client
        .exchange(by_certificate())
        .await
        .unwrap()
        .into_inner();
    let after = by_token(&token.access_token);
    client.exchange(after.clone()).await.unwrap();
    client.exchange(by_key(&unlimited.1)).await.unwrap();
    // Changes are drained into the new log, and acknowledged.
    revoke(&mut admin, &unlimited.0).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));

    // Said once is enough, and cut off is cut off.
    let broker = site.start().await;
    let mut client = exchanges(broker.mtls());
    let refused = client.exchange(before).await.unwrap_err();
    assert_eq!(reason(&refused), "token_refused");
    client.exchange(after).await.unwrap();
    let refused = client.exchange(by_key(&unlimited.1)).await.unwrap_err();
    assert_eq!(reason(&refused), "credential_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn store_and_log_of_one_time_start() {
    let site = Site::new();
    let mut broker = site.start().await;
    let (_, secret) = create(&mut inventory(&broker), 0).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    let copy = site.path("copy");
    copy_folder(&site.path("data"), &copy);
    let mut broker = site.start().await;
    exchanges(broker.tls())
        .exchange(by_key(&secret))
        .await
        .unwrap();
    broker.kill9().await;
    fs::rename(site.path("data"), site.path("data.old")).unwrap();
    fs::rename(&copy, site.path("data")).unwrap();
    let broker = site.start().await;
    exchanges(broker.tls())
        .exchange(by_key(&secret))
        .await
        .unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}
