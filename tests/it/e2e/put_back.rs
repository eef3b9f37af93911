//! A store that was put back is brought up to a log that is known to be the one that was published, or not at all.

use crate::support::broker::{Broker, Site, segments};
use crate::support::disk::copy_folder;
use cambist::proto::BackupRequest;
use cambist::store::embedded::restore;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

/// What a start says that does not give the store back what it lost.
const LOST: &str = "cannot give back all that the store lost";
const BANNED: [&str; 3] = [
    "spiffe://example.org/x",
    "spiffe://example.org/y",
    "spiffe://example.org/z",
];

/// Keeps a copy of the checkpoint that a start must be able to read.
const REQUIRED: &str = "\n[[log.copy]]\nfile = \"other/checkpoint\"\nrequired = true\n";

/// A site whose checkpoint is copied.
fn copied() -> Arc<Site> {
    let site = Site::with(|setup| setup.config.push_str(REQUIRED));
    fs::create_dir(site.path("other")).unwrap();
    site
}

/// Has the copy be there and not be readable, until it is put back.
fn hide_copy(site: &Site) {
    fs::rename(site.path("other"), site.path("hidden")).unwrap();
    fs::create_dir_all(site.path("other/checkpoint")).unwrap();
}

fn put_copy_back(site: &Site) {
    fs::remove_dir_all(site.path("other")).unwrap();
    fs::rename(site.path("hidden"), site.path("other")).unwrap();
}

async fn ban(broker: &Broker, subject: &str) {
    let words = ["revoke", "--subject", subject, "--ban", "--reason", "gone"];
    let ran = broker.run_as_admin(&words).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// Stopped, with a backup from before some workloads were banned in its place, and its log beside it.
async fn behind(site: &Arc<Site>) {
    let mut broker = site.start().await;
    broker.issue(2).await;
    let backup = site.path("backup");
    let path = backup.to_str().unwrap().to_owned();
    let mut inventory = broker.inventory().await;
    inventory.backup(BackupRequest { path }).await.unwrap();
    for subject in BANNED {
        ban(&broker, subject).await;
    }
    broker.issue(1).await;
    assert!(broker.terminate().await.success());
    restore(&backup, &site.path("data/store.db"), true).unwrap();
    copy_folder(&site.path("data/log"), &site.path("log"));
}

fn put_log_back(site: &Site) {
    fs::remove_dir_all(site.path("data/log")).unwrap();
    copy_folder(&site.path("log"), &site.path("data/log"));
}

/// Has a record say nothing of the store, with which it came.
fn forget(log: &Path, subject: &str) {
    let last = segments(log).pop().unwrap();
    let text = fs::read_to_string(&last).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_it = |line: &&mut String| line.contains(subject) && line.contains("\"store_mac\"");
    let line = lines.iter_mut().find(is_it).unwrap();
    let mut record: Value = serde_json::from_str(line).unwrap();
    for member in ["store", "store_after", "store_mac"] {
        record.as_object_mut().unwrap().remove(member).unwrap();
    }
    *line = record.to_string();
    fs::write(&last, lines.join("\n") + "\n").unwrap();
}

/// Starts it with the log as it was, and sees that all are banned.
async fn all_are_banned(site: &Arc<Site>) {
    put_log_back(site);
    let mut broker = site.start().await;
    let ran = broker.run_as_admin(&["marker", "list", "--json"]).await;
    for subject in BANNED {
        assert!(ran.stdout.contains(subject), "{subject}: {}", ran.stdout);
    }
    assert!(broker.terminate().await.success());
    site.verify_log(&mut Vec::new());
}

#[tokio::test]
async fn nothing_is_done_again_from_a_log_that_is_not_the_one_that_was_published() {
    let site = Site::new();
    behind(&site).await;
    let log = site.path("data/log");
    forget(&log, BANNED[0]);
    site.refuses(&[LOST, "are not those of the log's last checkpoint"])
        .await;
    all_are_banned(&site).await;
}

/// The store is too old to tell that the tree was taken away, and nobody else does.
#[tokio::test]
async fn what_is_done_again_is_every_change_in_its_order() {
    let site = Site::new();
    behind(&site).await;
    let log = site.path("data/log");
    // The first one there is to do, and one between others. That the last one is gone nobody can know who has not seen it.
    for subject in BANNED.iter().take(2) {
        put_log_back(&site);
        fs::remove_file(log.join("checkpoint")).unwrap();
        fs::remove_dir_all(log.join("tile")).unwrap();
        forget(&log, subject);
        site.refuses(&[LOST, "before that of record"]).await;
    }
    all_are_banned(&site).await;
}

/// What cannot be asked has nothing against the log: there is nothing to accept.
#[tokio::test]
async fn what_keeps_a_log_from_being_proven_is_no_reason_to_give_it_up() {
    let site = copied();
    behind(&site).await;
    hide_copy(&site);
    for flags in [&[][..], &["--accept-rollback"]] {
        let (code, said) = site.fails(flags).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("cannot be read, and is required"), "{said}");
        assert!(
            !said.contains(LOST) && !said.contains("is accepted"),
            "{said}"
        );
    }
    put_copy_back(&site);
    all_are_banned(&site).await;
}

/// The log has a change of the store under its new name by then.
#[tokio::test]
async fn an_accepted_rollback_stands_though_its_start_fails() {
    let site = copied();
    site.issue_and_stop(2).await;
    copy_folder(&site.path("data/log"), &site.path("log"));
    let mut broker = site.start().await;
    ban(&broker, BANNED[0]).await;
    assert!(broker.terminate().await.success());
    put_log_back(&site);
    hide_copy(&site);
    let (code, said) = site.fails(&["--accept-rollback"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the rollback is accepted"), "{said}");
    assert!(said.contains("cannot be read, and is required"), "{said}");
    put_copy_back(&site);
    assert!(site.start().await.terminate().await.success());
    site.record(|record| record["action"] == "recovery.accept_rollback")
        .await;
}

/// What is done again stays done, and is not taken for somebody else's records by the start after.
#[tokio::test]
async fn a_start_that_fails_after_it_may_be_tried_again() {
    let site = Site::new();
    let store = site.path("data/store.db");
    site.issue_and_stop(2).await;
    // Of a broker that is stopped, the file alone is a copy.
    fs::copy(&store, site.path("cold.db")).unwrap();
    let mut broker = site.start().await;
    ban(&broker, BANNED[0]).await;
    assert!(broker.terminate().await.success());
    fs::copy(site.path("cold.db"), &store).unwrap();
    let taken = TcpListener::bind(site.listens).unwrap();
    site.refuses(&["done again", "in use"]).await;
    drop(taken);
    let mut broker = site.start().await;
    let ran = broker.run_as_admin(&["marker", "list", "--json"]).await;
    assert!(ran.stdout.contains(BANNED[0]), "{}", ran.stdout);
    assert!(broker.terminate().await.success());
}

/// Nor does a start that was refused take away what is known of the stop before it.
#[tokio::test]
async fn a_start_that_is_refused_lets_nothing_be_added() {
    let site = Site::new();
    site.issue_and_stop(2).await;
    let segment = segments(&site.path("data/log")).pop().unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, text.replacen("broker.start", "broker.stark", 1)).unwrap();
    assert_eq!(site.fails(&[]).await.0, 1);
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let mut added = last.clone();
    added["seq"] = (last["seq"].as_u64().unwrap() + 1).into();
    added["batch"] = added["seq"].clone();
    fs::write(&segment, format!("{text}{added}\n")).unwrap();
    site.refuses(&["when the broker stopped"]).await;
    fs::write(&segment, text).unwrap();
    assert!(site.start().await.terminate().await.success());
}
