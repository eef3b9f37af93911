//! A store that is damaged, gone, or at the end of its disk.

use super::load::{by_certificate, by_key, create, key, revoke};
use crate::support::broker::{LOOK, Site, refusal, segments};
use crate::support::edge::{until, within};
use crate::support::stored_markers;
use cambist::clock::{SystemClock, SystemRandomness};
use cambist::limits;
use cambist::marker::Second;
use cambist::revocation::PREFIX as MARKER_PREFIX;
use cambist::store::embedded::EmbeddedStore;
use cambist::store::{Batch, Key, Store as _, Value, load_all};
use http::StatusCode;
use rustix::process::{Resource, Rlimit, prlimit};
use std::fs::{self, read, write};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_neither_opened_nor_touched() {
    let site = Site::new();
    let mut broker = site.start().await;
    create(&mut broker.inventory().await, 0).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    let path = site.path("data/store.db");
    let whole = read(&path).unwrap();
    let flip = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    // Space that nothing uses yet may be anything; what was written may not.
    let holds = |window: &[u8]| window == b"team-shop";
    let content = whole.windows(9).position(holds).unwrap();
    let damages = [
        flip(0),
        flip(4096 + 3),
        flip(content),
        flip(content + 30),
        whole[..content].to_vec(),
        whole[..50].to_vec(),
        Vec::new(),
    ];
    for (number, damaged) in damages.iter().enumerate() {
        println!("damage {number}");
        write(&path, damaged).unwrap();
        let (code, said) = site.fails(&["--accept-rollback"]).await;
        assert_eq!(code, 1, "damage {number}: {said}");
        assert!(said.contains("store.db"), "damage {number}: {said}");
        assert_eq!(
            &read(&path).unwrap(),
            damaged,
            "damage {number} was touched"
        );
    }
    write(&path, &whole).unwrap();
    site.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_not_replaced_by_an_empty_one() {
    let site = Site::new();
    let mut broker = site.start().await;
    let (id, secret) = create(&mut broker.inventory().await, 3).await.unwrap();
    broker.anybody().await.yes(by_key(&secret)).await;
    broker.kill9().await;
    for suffix in ["", "-wal", "-shm"] {
        // Which of them are there depends on when the process died.
        let _ = fs::remove_file(site.path(&format!("data/store.db{suffix}")));
    }
    site.refuses(&["--accept-rollback"]).await;

    let mut broker = site.accept_rollback().await;
    let client = broker.anybody().await;
    assert_eq!(client.no(by_key(&secret)).await, "credential_refused");
    assert!(key(&mut broker.inventory().await, &id).await.is_err());
    // What is done from now on is drained into the log as ever.
    let (_, secret) = create(&mut broker.inventory().await, 1).await.unwrap();
    client.yes(by_key(&secret)).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    let records = site.whole_log();
    let accepted = |record: &&serde_json::Value| record["action"] == "recovery.accept_rollback";
    assert_eq!(records.iter().filter(accepted).count(), 1);
    // Said once is enough.
    let broker = site.start().await;
    broker.web().await.yes(by_certificate()).await;
}

/// The signal that a file grew over its limit is ignored, so that writes fail instead.
const NO_SIGNAL: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_doubt_stops_issuance_when_its_state_is_too_old() {
    let site = Site::with(|setup| setup.config.push_str("[store]\nstaleness = \"2s\"\n"));
    let mut broker = site.run(site.wrapped(&NO_SIGNAL)).await;
    let mut admin = broker.inventory().await;
    let (id, secret) = create(&mut admin, 0).await.unwrap();
    let client = broker.anybody().await;
    client.yes(by_key(&secret)).await;
    let pid = Some(broker.pid());
    let limit = |current| Rlimit {
        current,
        maximum: None,
    };
    // Nothing can be written past the first page of any file: a commit breaks off half way.
    prlimit(pid, Resource::Fsize, limit(Some(4096))).unwrap();
    let refused = create(&mut admin, 0).await.unwrap_err();
    assert_eq!(refusal(&refused), "store_unavailable");
    prlimit(pid, Resource::Fsize, limit(None)).unwrap();
    let stale = async {
        loop {
            match client.exchange(by_key(&secret)).await {
                Err(status) if refusal(&status) == "state_stale" => return,
                Ok(_) => tokio::time::sleep(LOOK).await,
                Err(status) => assert_eq!(refusal(&status), "log_unavailable"),
            }
        }
    };
    within("a stale state", stale).await;
    assert!(broker.until_ready(false).await.contains("store"));
    // Reading goes on, and so does the key set.
    assert_eq!(key(&mut admin, &id).await.unwrap().state, "active");
    let mut http = broker.http("http/1.1").await;
    let (status, _, _) = http.get("/.well-known/openid-configuration").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    broker.terminate().await;
    let broker = site.start().await;
    broker.anybody().await.yes(by_key(&secret)).await;
}

/// What was written stands; that the uses of the key cannot be counted takes nothing from the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_told_also_where_the_uses_cannot_be_counted() {
    let site = Site::new();
    let mut broker = site.start().await;
    let (id, _) = create(&mut broker.inventory().await, 3).await.unwrap();
    assert_eq!(broker.terminate().await.code(), Some(0));
    let path = site.path("data/store.db");
    let (clock, random) = (SystemClock::shared(), SystemRandomness::shared());
    let store = EmbeddedStore::open(&path, clock, random).unwrap();
    let counter = Key::new(&format!("uses/{id}")).unwrap();
    let batch = Batch::new().put(counter, Value::new(*b"no number").unwrap());
    store.commit(batch.unwrap()).await.unwrap();
    store.close().await;
    let broker = site.start().await;
    let mut admin = broker.inventory().await;
    let unknown = key(&mut admin, &id).await.unwrap_err();
    assert_eq!(refusal(&unknown), "store_unavailable");
    revoke(&mut admin, &id).await.unwrap();
}

/// Each write takes five seconds to fail.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_looked_at_each_second_while_a_revocation_waits_for_a_store_that_hangs() {
    let site = Site::new();
    let broker = site.start().await;
    let mut admin = broker.inventory().await;
    let (id, _) = create(&mut admin, 0).await.unwrap();
    let held = rusqlite::Connection::open(site.path("data/store.db")).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    revoke(&mut admin, &id).await.unwrap();
    // Set by each look.
    let age = async || {
        let (_, metrics) = broker.operations("/metrics").await.unwrap();
        let name = "cambist_store_staleness_seconds ";
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.unwrap().to_owned()
    };
    let mut seen = vec![age().await];
    let looks = async {
        while seen.len() < 5 {
            let now = age().await;
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(15), looks).await;
    assert!(looked.is_ok(), "{seen:?}");
    assert_eq!(broker.metric("revocations_waiting").await, Some(1));
    held.execute_batch("ROLLBACK").unwrap();
}

/// However much there is to remove of what has ended, and however slow the store is at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fails_is_noticed_while_what_has_ended_is_removed() {
    let site = Site::new();
    let mut broker = site.start().await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    let path = site.path("data/store.db");
    let ended = 2 * limits::MARKERS_EXPIRED;
    let store = stored_markers::open(&path);
    stored_markers::fill(&*store, 0..ended, Second::FIRST).await;
    store.close().await;

    let mut broker = site.start().await;
    // They leave memory first, half of them at once.
    until("the removal", async || {
        let left = broker.metric("markers").await.unwrap();
        usize::try_from(left).unwrap() < ended
    })
    .await;
    let last = segments(&site.path("data/log")).pop().unwrap();
    let away = site.path("away");
    fs::rename(&last, &away).unwrap();
    let told = broker.until_ready(false).await;
    assert!(told.contains(r#""condition":"log""#), "{told}");
    fs::rename(&away, &last).unwrap();
    broker.until_ready(true).await;
    assert_eq!(broker.terminate().await.code(), Some(0));

    let store = stored_markers::open(&path);
    let left = load_all(&*store, MARKER_PREFIX).await.unwrap().len();
    assert!((1..ended).contains(&left), "{left}");
    store.close().await;
}
