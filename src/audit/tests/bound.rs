//! A log at its bound: as on a full disk, and back when there is room again.

use crate::audit::segment::Headers;
use crate::audit::testing::{NOW, ORIGIN, context, minted, token_id, until};
use crate::audit::{
    Act, ActKind, Archive, Archivist, Device, Disk, Log, LogHealth, Options, PRUNE, read,
};
use crate::clock::SystemRandomness;
use crate::clock::testing::TestClock;
use crate::limits;
use crate::revocation::HotSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Room for a commit, and for two megabytes of records.
const BOUND: u64 = 6 << 20;

fn open(folder: &Path) -> (Arc<Disk>, Log) {
    let disk = Disk::open(folder, 1 << 20).unwrap().bounded(Some(BOUND));
    let disk = Arc::new(disk.unwrap());
    let options = Options {
        segment_bytes: 1 << 20,
        retry: Duration::from_millis(1),
        refusal_floor: 0,
        ..Options::default()
    };
    let opened = Log::open(
        Arc::clone(&disk) as _,
        ORIGIN,
        Arc::<HotSet>::default(),
        TestClock::at(NOW),
        SystemRandomness::shared(),
        Headers::testing(),
        options,
    );
    (disk, opened.unwrap().0)
}

fn is_writing(health: &LogHealth) -> bool {
    *health == LogHealth::Writing
}

#[tokio::test]
async fn at_its_bound_the_log_takes_revocations_only_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, log) = open(folder.path());
    let mut issued = 0_u128;
    while log.issue(minted(issued), &context()).await.is_ok() {
        issued += 1;
        assert!(disk.size() <= BOUND);
    }
    assert!(disk.size() <= BOUND && disk.size() + limits::LOG_BATCH_BYTES as u64 > BOUND);
    until(&log, |health| !is_writing(health)).await;
    let revoke = super::outbox::entry(&log, 5, "key.revoke");
    log.take_over(&[revoke]).await.unwrap();
    assert!(log.issue(minted(issued), &context()).await.is_err());
    // Room can be made: what is removed is told first.
    let prune = Act::new(ActKind::Retention, PRUNE);
    log.event(&prune).await.unwrap();
    let other = Act::new(ActKind::Recovery, "recovery.test");
    assert!(log.event(&other).await.is_err());
    log.close().await;
    drop((disk, log));

    // A start finds it as it was, and takes the same.
    let (disk, log) = open(folder.path());
    assert!(!is_writing(&log.health()));
    let revoke = super::outbox::entry(&log, 6, "key.revoke");
    log.take_over(&[revoke]).await.unwrap();
    assert!(log.issue(minted(issued), &context()).await.is_err());

    // Compressed it takes less.
    let mut archivist = Archivist::new(Arc::clone(&disk) as Arc<dyn Archive>);
    while archivist.step(log.durable()).unwrap().is_some() {}
    disk.measure().unwrap();
    assert!(disk.size() + limits::LOG_BATCH_BYTES as u64 <= BOUND);
    until(&log, is_writing).await;
    log.issue(minted(issued), &context()).await.unwrap();
    let all = read::records(disk as Arc<dyn Device>, 0).unwrap();
    let all: Vec<_> = all
        .map(|entry| String::from_utf8(entry.unwrap().line).unwrap())
        .collect();
    let acts = all.iter().filter(|line| line.contains("key.revoke"));
    assert_eq!(acts.count(), 2);
    let tokens: Vec<_> = all
        .iter()
        .filter(|line| line.contains(r#""kind":"issue""#))
        .collect();
    assert_eq!(tokens.len() as u128, issued + 1);
    for (n, line) in tokens.into_iter().enumerate() {
        assert!(line.contains(&token_id(n as u128).to_string()), "{n}");
    }
    log.close().await;
}
