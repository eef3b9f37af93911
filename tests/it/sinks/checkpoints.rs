//! Checkpoints go where records go: whoever keeps what a sink was sent can hold the host to it.

use super::{Hook, load, section, until_taken};
use crate::support::broker::{Broker, InProcess, Site, ask, peer};
use crate::support::clock::testing::TestClock;
use crate::support::command::{Ran, cambist};
use crate::support::disk::copy_folder;
use crate::support::edge::until;
use cambist::audit::DiskShelf;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// `cambist audit verify` of a folder, with the key and a checkpoint that somebody kept.
async fn verify(site: &Site, folder: &Path, kept: &Path) -> Ran {
    let key = site.path("data/log").join(DiskShelf::KEY);
    let paths = [folder, &key, kept].map(|path| path.to_str().unwrap());
    let [folder, key, kept] = paths;
    let args = [
        "audit",
        "verify",
        folder,
        "--key",
        key,
        "--checkpoint",
        kept,
    ];
    cambist(&args, &[], b"").await
}

fn of_kind(records: &[Value], kind: &str) -> Vec<Value> {
    let of = records.iter().filter(|record| record["kind"] == kind);
    of.cloned().collect()
}

#[tokio::test]
async fn whoever_keeps_what_a_sink_was_sent_has_checkpoints_that_convict_another_past() {
    let hook = Hook::plain().await;
    let mut broker = Broker::with(|setup| {
        setup.config += &section("keeper", "webhook", &format!("url = \"{}\"", hook.url));
    })
    .await;
    load(&broker, 2).await;
    assert!(broker.terminate().await.success());
    let log = broker.path("data/log");
    let earlier = broker.path("earlier");
    copy_folder(&log, &earlier);
    broker.restart().await;
    load(&broker, 2).await;
    broker.restart().await;
    until_taken(&broker, "keeper").await;
    let sent = hook.records();
    let told = of_kind(&sent, "checkpoint");
    // One at each start on what another run left; others are of a minute with news.
    let left = of_kind(&sent, "stop").into_iter().map(|stop| {
        let all = stop["seq"].as_u64().unwrap() + 1;
        let is_of_all = |told: &&Value| told["target"] == format!("checkpoint:{all}");
        let told = told.iter().find(is_of_all);
        let told = told.expect("one of all that the run before left");
        assert_eq!(told["change"]["size"], all);
        told
    });
    let left: Vec<_> = left.collect();
    assert_eq!(left.len(), 2, "of two runs");
    let keep = |name: &str, told: &Value| {
        let kept = broker.path(name);
        fs::write(&kept, told["change"]["note"].as_str().unwrap()).unwrap();
        kept
    };
    let (first, last) = (keep("first", left[0]), keep("last", left[1]));
    broker.terminate().await;
    for kept in [&first, &last] {
        let verified = verify(&broker, &log, kept).await;
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
    // What was put back from an earlier copy is whole by itself, and not what was published since.
    let verified = verify(&broker, &earlier, &first).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let verified = verify(&broker, &earlier, &last).await;
    assert_ne!(verified.code, Some(0), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_with_news_is_told_of() {
    const NOW: i64 = 1_800_000_000;
    let (site, clock) = (Site::new(), TestClock::at(NOW));
    let broker = InProcess::start(&site, clock.clone(), false).await;
    broker.issues(ask(peer(), "shop")).await;
    let told = || of_kind(&broker.records(), "checkpoint").len();
    // The publisher has looked at it, and told nobody.
    let records = broker.records().len();
    broker.published(u64::try_from(records).unwrap()).await;
    assert_eq!(told(), 0);
    clock.advance(60);
    until("a checkpoint on the record", async || told() == 1).await;
    broker.stop().await;
}
