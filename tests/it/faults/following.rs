//! The calls that begin a segment after another one, and those that set the reserve aside again, fail one by one under the
//! running broker.
//!
//! What the device of the log's writer calls, and where each of them is failed:
//!
//! | for | calls | failed in |
//! |---|---|---|
//! | a commit | `write`, `fdatasync` | [`super::log`] |
//! | looking at the segment by its name | `statx` | [`super::calls`] |
//! | how much is free, once a second | `statfs` | here |
//! | another segment | `unlink` of what is left of a draft; `openat` of the folder and of the draft; `statx`, `write` and `fsync` of the draft; `rename`; `fsync` of the folder | here |
//! | the reserve | `openat`, `statx`, `ftruncate`, `fallocate`, `fsync` | here, and in [`super::opening`] |
//! | a start | `flock`, `getdents64`, `openat`, `read`, `ftruncate`, `lseek`, `write`, `fsync` | [`super::opening`] |

use super::injected::{Injected, disturb};
use super::load::{by_certificate, by_key, create, received, revoke};
use super::log::{assert_recorded, until_issued};
use super::seen::Seen;
use crate::support::broker::{LOOK, Site, ask, peer, refusal};
use crate::support::edge::{until, within};
use serde_json::Value;

/// What another segment is written as.
const DRAFT: &str = "next";
const RESERVE: &str = "reserve";

/// Call, error, file. On a full disk the reserve becomes the segment.
const FOLLOWING: &[(&str, &str, &str)] = &[
    ("unlink", "EIO", DRAFT),
    ("openat", "EMFILE", ""),
    ("openat", "EMFILE", DRAFT),
    ("statx", "EIO", DRAFT),
    ("write", "EIO", DRAFT),
    ("write", "ENOSPC", DRAFT),
    ("fsync", "EIO", DRAFT),
    ("rename", "EIO", DRAFT),
    ("fsync", "EIO", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_call_by_which_a_segment_follows_another_may_fail() {
    let site = Site::new();
    assert_eq!(site.start().await.terminate().await.code(), Some(0));
    let log = site.path("data/log");
    let seen = Seen::of(&log);
    // What a start calls as well is failed only when it is behind.
    let counted = Injected::new(&site, &["openat", "fsync"], &[""]);
    site.run(counted.command(&site)).await.kill9().await;
    let started = counted.most("openat").max(counted.most("fsync"));
    assert!(started > 0);
    let mut tokens = Vec::new();
    for (call, error, file) in FOLLOWING {
        let when = if file.is_empty() { started + 1 } else { 1 };
        let fault = format!("{call}:error={error}:when={when}");
        let injected = Injected::new(&site, &[&fault], &[file]);
        let mut broker = site.run(injected.command(&site)).await;
        let client = broker.web().await;
        let failing = async {
            while !injected.hit_writer(call) {
                disturb(&log);
                // It may have been noticed, and another segment begun, before this.
                match client.exchange(by_certificate()).await {
                    Ok(answer) => tokens.push(received(&answer)),
                    Err(status) => assert_eq!(refusal(&status), "log_unavailable"),
                }
                tokens.push(until_issued(&client, &by_certificate()).await);
            }
        };
        within(&format!("{fault} of {file:?}"), failing).await;
        // It comes back by itself.
        broker.until_ready(true).await;
        tokens.push(until_issued(&client, &by_certificate()).await);
        broker.kill9().await;
    }
    let mut broker = site.start().await;
    tokens.push(until_issued(&broker.web().await, &by_certificate()).await);
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert_recorded(&log, &tokens);
    seen.holds();
}

/// Has the reserve become a segment.
const USED_UP: &str = "rename:error=ENOSPC:when=1";

/// Call, and the faults by which it fails in setting the reserve aside; those before it, of drafts and names, succeed.
const RESERVING: &[(&str, &[&str])] = &[
    ("openat", &["openat:error=EMFILE:when=3..5"]),
    ("statx", &["statx:error=EIO:when=4..6"]),
    ("fallocate", &["fallocate:error=EIO:when=1..3"]),
    ("fsync", &["fsync:error=EIO:when=3..5"]),
    // It holds something only where it should have become a segment, failed, and could not be removed.
    (
        "unlink",
        &["fsync:error=EIO:when=2", "unlink:error=EIO:when=3..5"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_call_that_sets_the_reserve_aside_again_may_fail() {
    let site = Site::new();
    assert_eq!(site.start().await.terminate().await.code(), Some(0));
    let log = site.path("data/log");
    let seen = Seen::of(&log);
    let mut tokens = Vec::new();
    for (call, faults) in RESERVING {
        let faults = [&[USED_UP], *faults].concat();
        let injected = Injected::new(&site, &faults, &[DRAFT, RESERVE]);
        let mut broker = site.run(injected.command(&site)).await;
        let mut admin = broker.inventory().await;
        let (id, secret) = create(&mut admin, 0).await.unwrap();
        let client = broker.web().await;
        tokens.push(until_issued(&client, &by_certificate()).await);
        disturb(&log);
        until(&format!("{call} to fail"), async || {
            injected.hit_writer(call)
        })
        .await;
        revoke(&mut admin, &id).await.unwrap();
        broker.until_ready(true).await;
        tokens.push(until_issued(&client, &by_certificate()).await);
        let refused = broker.anybody().await.no(by_key(&secret)).await;
        assert_eq!(refused, "credential_refused", "{call}");
        broker.kill9().await;
    }
    assert_eq!(site.start().await.terminate().await.code(), Some(0));
    assert_recorded(&log, &tokens);
    seen.holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_reserve_cannot_be_set_aside_again_revocations_are_recorded_and_no_token_is() {
    let site = Site::new();
    assert_eq!(site.start().await.terminate().await.code(), Some(0));
    let log = site.path("data/log");
    let seen = Seen::of(&log);
    let faults = [USED_UP, "fallocate:error=EIO:when=1+"];
    let injected = Injected::new(&site, &faults, &[DRAFT, RESERVE]);
    let mut broker = site.run(injected.command(&site)).await;
    let mut admin = broker.inventory().await;
    let (id, secret) = create(&mut admin, 0).await.unwrap();
    let client = broker.web().await;
    let tokens = [until_issued(&client, &by_certificate()).await];
    disturb(&log);
    // It is no full disk that the operator has to look for.
    until("the reason to be told", async || {
        let told = broker.operations("/readyz").await;
        told.is_some_and(|(_, told)| {
            let words = ["reserve", "Input/output error", "only revocations"];
            words.iter().all(|word| told.contains(word))
        })
    })
    .await;
    assert!(injected.hit_writer("fallocate"));
    assert_eq!(client.no(by_certificate()).await, "log_unavailable");
    revoke(&mut admin, &id).await.unwrap();
    let is_revocation = |line: &Value| line["action"] == "key.revoke";
    assert!(site.records().iter().any(is_revocation));
    assert_eq!(client.no(by_certificate()).await, "log_unavailable");
    broker.kill9().await;
    let mut broker = site.start().await;
    until_issued(&broker.web().await, &by_certificate()).await;
    let refused = broker.anybody().await.no(by_key(&secret)).await;
    assert_eq!(refused, "credential_refused");
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert_recorded(&log, &tokens);
    seen.holds();
}

/// It only says whether refusals are still recorded: whoever cannot tell goes on.
#[tokio::test(flavor = "multi_thread")]
async fn where_it_cannot_be_told_how_much_is_free_everything_is_recorded() {
    let site = Site::new();
    assert_eq!(site.start().await.terminate().await.code(), Some(0));
    let log = site.path("data/log");
    let injected = Injected::new(&site, &["statfs:error=EIO:when=1+"], &[""]);
    let mut broker = site.run(injected.command(&site)).await;
    let client = broker.web().await;
    let mut tokens = Vec::new();
    // The first time before anything is written, and the second a second later.
    let twice = async {
        while injected.most("statfs") < 2 {
            let answer = client.exchange(by_certificate()).await.unwrap();
            tokens.push(received(&answer));
            tokio::time::sleep(LOOK).await;
        }
    };
    within("statfs to fail twice", twice).await;
    assert!(injected.hit_writer("statfs"));
    let elsewhere = client.no(ask(peer(), "nowhere")).await;
    site.record(|line| line["code"] == elsewhere.as_str()).await;
    broker.until_ready(true).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert_recorded(&log, &tokens);
}
