//! What becomes of old segments in a running broker, and of a log that is too large.

use crate::support::broker::{Broker, InProcess, Setup, Site, ask, peer, records, refusal};
use crate::support::clock::testing::TestClock;
use crate::support::command::cambist;
use crate::support::disk::copy_folder;
use crate::support::edge::until;
use crate::support::svid::{DAY, NOW};
use cambist::limits;
use cambist::proto::ConfirmClockRequest;
use jiff::Timestamp;
use serde_json::Value;
use std::fs::{self, File};
use std::sync::Arc;

fn set(setup: &mut Setup, members: &str) {
    let with = format!("[log]\n{members}\n");
    setup.config = setup.config.replacen("[log]\n", &with, 1);
}

/// Names of files in the log's folder, in order.
fn files(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.path("data/log")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("00")).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_are_compressed_and_then_removed_and_the_rest_verifies() {
    let site = Site::with(|setup| set(setup, "segment_age = \"1m\"\nretention = \"1d\""));
    let clock = TestClock::at(NOW);
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    for _ in 0..3 {
        broker.issues(ask(peer(), "shop")).await;
    }
    let before = broker.records();
    broker.published(before.len().try_into().unwrap()).await;
    let kept = fs::read(site.path("data/log/checkpoint")).unwrap();
    fs::write(site.path("kept.checkpoint"), kept).unwrap();

    // A segment is closed by its age. It is compressed, indexed, and says the same.
    clock.advance(120);
    broker.issues(ask(peer(), "shop")).await;
    let first = format!("{:020}", 0);
    let packed = [format!("{first}.idx"), format!("{first}.seg.zst")];
    until("a compressed segment", async || {
        files(&broker)[..2] == packed
    })
    .await;
    assert_eq!(records(&site.path("data/log"))[..before.len()], before);
    assert_eq!(broker.metric("log_begin").await, Some(0));

    // A day later it goes, with word of that on the record; the last one stays, however old.
    clock.advance(u32::try_from(2 * DAY).unwrap());
    let told = broker
        .record(|record| record["action"] == "log.prune")
        .await;
    assert_eq!(told["kind"], "retention");
    let remains = told["change"]["first"].as_u64().unwrap();
    assert_eq!(remains, u64::try_from(before.len()).unwrap());
    let after = broker.record(|record| record["seq"] == remains).await;
    let time = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(time(&told["change"]["ended"]), time(&after["time"]));
    assert_eq!(told["change"]["retention"], DAY);
    until("the first segment to go", async || {
        !files(&broker)[0].starts_with(&first)
    })
    .await;
    until("word of it", async || {
        broker.metric("log_begin").await == Some(remains)
    })
    .await;
    assert_eq!(broker.records()[0]["seq"], remains);
    broker.issues(ask(peer(), "shop")).await;
    broker.stop().await;

    // A stranger with an old checkpoint finds nothing amiss, and a start neither.
    let [folder, vkey, kept] =
        ["data/log", "data/log/vkey", "kept.checkpoint"].map(|name| site.argument(name));
    let args = [
        "audit",
        "verify",
        &folder,
        "--key",
        &vkey,
        "--checkpoint",
        &kept,
    ];
    let ran = cambist(&args, &[], b"").await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let broker = InProcess::start(&site, clock, false).await;
    broker.issues(ask(peer(), "shop")).await;
    broker.stop().await;
}

/// What is removed does not come back when the clock is set right.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_old_by_a_clock_that_was_ahead_at_the_start() {
    let site = Site::with(|setup| set(setup, "segment_age = \"1m\"\nretention = \"1d\""));
    let clock = TestClock::at(NOW);
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    broker.issues(ask(peer(), "shop")).await;
    clock.advance(120);
    broker.issues(ask(peer(), "shop")).await;
    broker.stop().await;
    let clock = TestClock::at(NOW + 9 * DAY);
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    // It looks at what is old after each that it compresses.
    for packed in 1..4 {
        broker.issues(ask(peer(), "shop")).await;
        clock.advance(120);
        broker.issues(ask(peer(), "shop")).await;
        until("a compressed segment", async || {
            files(&broker)
                .iter()
                .filter(|name| name.ends_with(".zst"))
                .count()
                >= packed
        })
        .await;
    }
    assert_eq!(broker.records()[0]["seq"], 0);
    let mut admin = broker.inventory().await;
    admin.confirm_clock(ConfirmClockRequest {}).await.unwrap();
    until("the first segment to go", async || {
        broker.metric("log_begin").await > Some(0)
    })
    .await;
    broker.stop().await;
}

/// What an accepted rollback begins anew cannot be published where its first records are gone: no tree can be grown over them.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_of_a_log_that_begins_later_is_refused_with_the_way_out() {
    let site = Site::with(|setup| {
        set(setup, "segment_age = \"1m\"\nretention = \"1d\"");
        setup.config += "\n[[log.copy]]\nfile = \"other/checkpoint\"\n";
    });
    fs::create_dir(site.path("other")).unwrap();
    let clock = TestClock::at(NOW);
    let broker = InProcess::start(&site, Arc::clone(&clock), false).await;
    broker.issues(ask(peer(), "shop")).await;
    clock.advance(120);
    broker.issues(ask(peer(), "shop")).await;
    clock.advance(u32::try_from(2 * DAY).unwrap());
    until("the first segment to go", async || {
        broker.metric("log_begin").await > Some(0)
    })
    .await;
    broker.stop().await;
    copy_folder(&site.path("data"), &site.path("put-by"));
    let broker = InProcess::start(&site, clock, false).await;
    broker.issues(ask(peer(), "shop")).await;
    broker.stop().await;
    fs::remove_dir_all(site.path("data")).unwrap();
    copy_folder(&site.path("put-by"), &site.path("data"));

    let (code, said) = site.fails(&["--accept-rollback"]).await;
    assert_eq!(code, 1, "{said}");
    let way_out = format!("move {} away", site.argument("data/log"));
    assert!(said.contains(&way_out), "{said}");
    fs::rename(site.path("data/log"), site.path("log.away")).unwrap();
    let mut command = site.command();
    command.arg("--accept-rollback");
    let mut begun = site.run_unready(command).await;
    assert!(begun.terminate().await.success());
    site.verify_log(&mut Vec::new());
}

/// Far from its bound, the smallest one takes refusals like any other; near it, it leaves the room to tokens, and says so.
#[tokio::test]
async fn a_small_log_takes_refusals_until_it_nears_its_bound() {
    let bound = limits::SMALLEST_LOG;
    let site = Site::with(|setup| set(setup, &format!("max_bytes = {bound}")));
    let mut broker: Broker = site.start().await;
    let refused = async |broker: &Broker| broker.anybody().await.no(ask(peer(), "shop")).await;
    let recorded = |broker: &Broker| {
        let records = broker.records().into_iter();
        records
            .filter(|record| record["kind"] == "refusals")
            .count()
    };
    refused(&broker).await;
    until("a record of it", async || recorded(&broker) > 0).await;
    broker.terminate().await;

    let before = recorded(&broker);
    let large = File::create(site.path("data/log/of-somebody")).unwrap();
    large.set_len(bound / 100 * 92).unwrap();
    broker.restart().await;
    broker.says("max_bytes").await;
    broker.says("refusals are only counted").await;
    refused(&broker).await;
    broker.web().await.yes(ask(peer(), "shop")).await;
    broker.terminate().await;
    assert_eq!(recorded(&broker), before);

    fs::remove_file(site.path("data/log/of-somebody")).unwrap();
    broker.restart().await;
    refused(&broker).await;
    until("a record again", async || recorded(&broker) > before).await;
}

#[tokio::test]
async fn a_log_that_is_too_large_issues_nothing_and_says_so() {
    let bound = limits::SMALLEST_LOG;
    let site = Site::with(|setup| set(setup, &format!("max_bytes = {bound}")));
    let mut broker = site.start().await;
    assert_eq!(broker.metric("log_disk_bytes_limit").await, Some(bound));
    broker.terminate().await;
    // All that is in its folder counts.
    let large = File::create(site.path("data/log/of-somebody")).unwrap();
    large.set_len(bound / 100 * 90).unwrap();
    broker.restart().await;
    broker.says("max_bytes").await;
    broker.web().await.yes(ask(peer(), "shop")).await;
    broker.terminate().await;

    large.set_len(bound).unwrap();
    let command = site.command();
    let full = site.run_unready(command).await;
    assert!(full.metric("log_disk_bytes").await > Some(bound));
    let refused = full.web().await.exchange(ask(peer(), "shop")).await;
    assert_eq!(refusal(&refused.unwrap_err()), "log_unavailable");
    let told = full.until_ready(false).await;
    assert!(told.contains(r#""condition":"log""#), "{told}");
    drop(full);

    fs::remove_file(site.path("data/log/of-somebody")).unwrap();
    let broker: Broker = site.start().await;
    broker.web().await.yes(ask(peer(), "shop")).await;
}
