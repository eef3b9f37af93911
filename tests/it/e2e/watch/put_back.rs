//! After a backup was put back, nobody knows what audiences were since: everybody is told everything until no token from
//! then can be alive.

use super::tenants::{delete, put};
use super::*;
use crate::support::broker::{InProcess, from_now};
use crate::support::clock::testing::TestClock;
use cambist::clock::{Clock as _, SystemClock};
use cambist::limits;
use cambist::proto::{BackupRequest, KeySpec};
use cambist::store::embedded::restore;
use std::sync::Arc;

const DAYS: i64 = 5 * 24 * 60 * 60;

/// The keys of tenant `b` that are to be revoked, one after the other.
async fn keys(site: &Site) -> Vec<String> {
    let mut keys = Vec::new();
    for _ in 0..4 {
        let spec = KeySpec {
            tenant: "b".to_owned(),
            expires_at: Some(from_now(DAYS)),
            ..spec(&["shop"], &["orders:read"])
        };
        keys.push(site.create_key(spec).await.key.unwrap().id);
    }
    keys
}

async fn follower(site: &Site, name: &str) -> Follower {
    let svid = site.svid_for(&format!("spiffe://example.org/{name}"), DAYS);
    let channel = site.channel(Some(&svid)).await;
    let mut follower = Follower::start(channel, "").await.unwrap();
    follower.until(|follower| follower.snapshots == 1).await;
    follower
}

#[tokio::test(flavor = "multi_thread")]
async fn who_served_what_was_shared_since_the_backup_is_told_of_it_as_long_as_its_tokens_live() {
    let site = Site::new();
    let start = SystemClock::shared().now().as_second();
    let broker = InProcess::start(&site, TestClock::at(start), false).await;
    let press = put(&broker, "press", "a", "press", 0).await.unwrap();
    let keys = keys(&broker).await;
    let path = site.path("copy.db");
    let backup = BackupRequest {
        path: path.to_str().unwrap().to_owned(),
    };
    broker.inventory().await.backup(backup).await.unwrap();
    put(&broker, "press", "", "press", press).await.unwrap();
    put(&broker, "mall", "", "mall", 0).await.unwrap();
    delete(&broker, "mall").await;
    revoke(&broker, &keys[0]).await;
    broker.stop().await;
    restore(&path, &site.path("data/store.db"), true).unwrap();

    let start = start + 60;
    let broker = InProcess::start(&site, TestClock::at(start), false).await;
    // That its name was another's is lost as well.
    put(&broker, "mall", "a", "mall", 0).await.unwrap();
    for name in ["press", "mall"] {
        let mut told = follower(&broker, name).await;
        assert_eq!(told.view, View::All.token(), "{name}");
        assert!(told.has(&keys[0]), "{name}");
        revoke(&broker, &keys[1]).await;
        told.until(|told| told.has(&keys[1])).await;
    }
    broker.stop().await;

    // It counts from the first start.
    let life = limits::LONGEST_LIFETIME + limits::VERIFIER_LEEWAY;
    let end = start + i64::try_from(life.as_secs()).unwrap();
    let clock = TestClock::at(end - 1);
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    let mut press = follower(&broker, "press").await;
    revoke(&broker, &keys[2]).await;
    press.until(|press| press.has(&keys[2])).await;
    assert_eq!(press.snapshots, 1);
    clock.advance(1);
    press.until(|press| press.snapshots == 2).await;
    assert!(press.set.is_empty());
    press.sent.clear();
    let reached = revoke(&broker, &keys[3]).await;
    press.until(|press| press.reached(&reached)).await;
    assert!(press.sent.is_empty());
    broker.stop().await;
}

/// What was done since a copy under the incarnation of a later one is lost as well.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_that_is_copied_back_is_not_parted_either() {
    let site = Site::new();
    let start = SystemClock::shared().now().as_second();
    let store = site.path("data/store.db");
    let broker = InProcess::start(&site, TestClock::at(start), false).await;
    let press = put(&broker, "press", "a", "press", 0).await.unwrap();
    let path = site.path("backup.db");
    let backup = BackupRequest {
        path: path.to_str().unwrap().to_owned(),
    };
    broker.inventory().await.backup(backup).await.unwrap();
    broker.stop().await;
    let copy = site.path("copy.db");
    std::fs::copy(&store, &copy).unwrap();
    restore(&path, &store, true).unwrap();
    let broker = InProcess::start(&site, TestClock::at(start + 60), false).await;
    put(&broker, "press", "", "press", press).await.unwrap();
    broker.stop().await;
    std::fs::copy(&copy, &store).unwrap();
    let broker = InProcess::start(&site, TestClock::at(start + 120), false).await;
    let told = follower(&broker, "press").await;
    assert_eq!(told.view, View::All.token());
    broker.stop().await;
}
