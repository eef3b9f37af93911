//! Backup while the store is written to, and restore.

use super::{Content, furnished};
use crate::support::edge::within;
use crate::support::stores::{key, load_all, open, put, value};
use cambist::store::embedded::{OpenError, restore};
use cambist::store::{Batch, LogId, LogPosition, Store};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_one_moment_and_a_new_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder.path().join("store.db")).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let pair = |number: u32| {
        let (left, text) = (
            key(&format!("left/{}", number % 50)),
            value(number.to_string()),
        );
        let batch = Batch::new().put(left, text.clone()).unwrap();
        let batch = batch
            .put(key(&format!("right/{}", number % 50)), text)
            .unwrap();
        batch.record(number.to_string().into_bytes()).unwrap()
    };
    for number in 0..50 {
        store.commit(pair(number)).await.unwrap();
    }
    store
        .drained(LogPosition {
            log: LogId(1),
            sequence: 11,
            counter: 20,
        })
        .await
        .unwrap();
    let writers: Vec<_> = (0..4_u32)
        .map(|writer| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut number = writer;
                while !stop.load(Ordering::Relaxed) {
                    store.commit(pair(number)).await.unwrap();
                    number += 4;
                }
            })
        })
        .collect();
    let copies: Vec<_> = (0..3)
        .map(|copy| folder.path().join(format!("copy-{copy}.db")))
        .collect();
    let mut revisions = Vec::new();
    for copy in &copies {
        revisions.push(store.backup(copy).await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let head = store.revision().await.unwrap();
    assert!(revisions.is_sorted_by_key(|revision| revision.counter));
    assert!(revisions.iter().all(|revision| head.covers(revision)));
    store.close().await;

    for (copy, revision) in copies.iter().zip(revisions) {
        let opened = open(copy).unwrap();
        let (entries, at, _) = load_all(&opened, "").await;
        assert_eq!(
            (at.counter, at.incarnation == revision.incarnation),
            (revision.counter, false)
        );
        assert_eq!(entries.len(), 100);
        for (left, right) in entries.iter().take(50).zip(entries.iter().skip(50)) {
            assert_eq!(
                (&left.value, left.modified),
                (&right.value, right.modified),
                "half of a batch"
            );
        }
        let lineage = opened.lineage().await.unwrap();
        assert!(lineage.holds(&revision));
        // The last copy may have been made after the last commit.
        assert_eq!(lineage.holds(&head), revision.covers(&head));
        assert_eq!(lineage.log.unwrap().sequence, 11);
        // The records that wait say under which incarnation they were committed.
        let records = opened.outbox(usize::MAX).await.unwrap();
        assert!(records.iter().all(|entry| revision.covers(&entry.revision)));
        assert_eq!(
            records.len(),
            usize::try_from(revision.counter - 20).unwrap()
        );
        opened.close().await;
        // The mark is used up: opened again, it is the same incarnation.
        let opened = open(copy).unwrap();
        assert_eq!(opened.revision().await.unwrap(), at);
        opened.close().await;
    }
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db")).unwrap();
    store.commit(put("a", "1")).await.unwrap();
    let copy = folder.path().join("copy.db");
    std::fs::write(&copy, "precious").unwrap();
    assert!(matches!(
        store.backup(&copy).await,
        Err(OpenError::Exists(_))
    ));
    assert_eq!(std::fs::read(&copy).unwrap(), b"precious");
    let nowhere = folder.path().join("no/such/folder");
    assert!(store.backup(&nowhere).await.is_err());
    // What an interrupted backup left does not stop the next one.
    std::fs::write(folder.path().join("second.db.partial"), "half").unwrap();
    store
        .backup(&folder.path().join("second.db"))
        .await
        .unwrap();
    let names = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .all(|name| !name.to_string_lossy().contains("partial"))
    );
    store.close().await;
}

#[tokio::test]
async fn a_restore_replaces_only_when_told_and_keeps_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (
        folder.path().join("store.db"),
        folder.path().join("copy.db"),
    );
    let store = open(&path).unwrap();
    let early = store.commit(put("a", "early")).await.unwrap();
    assert_eq!(store.backup(&copy).await.unwrap(), early);
    let late = store.commit(put("a", "late")).await.unwrap();
    // As after a crash: the newest revision is only in the write-ahead log.
    let aside = folder.path().join("crashed");
    std::fs::create_dir(&aside).unwrap();
    let crashed = aside.join("store.db");
    std::fs::copy(&path, &crashed).unwrap();
    std::fs::copy(
        folder.path().join("store.db-wal"),
        aside.join("store.db-wal"),
    )
    .unwrap();
    store.close().await;

    assert!(matches!(
        restore(&copy, &crashed, false),
        Err(OpenError::Exists(_))
    ));
    let restored = restore(&copy, &crashed, true).unwrap();
    assert_eq!(restored.revision, early);
    let opened = open(&crashed).unwrap();
    assert_eq!(
        opened.read(&key("a")).await.unwrap().unwrap().value,
        value("early")
    );
    let head = opened.revision().await.unwrap();
    assert!(head.counter == early.counter && head.incarnation != early.incarnation);
    opened.close().await;

    // What was replaced is whole, with what its write-ahead log had.
    let replaced = open(&restored.replaced.unwrap()).unwrap();
    assert_eq!(replaced.revision().await.unwrap(), late);
    assert_eq!(
        replaced.read(&key("a")).await.unwrap().unwrap().value,
        value("late")
    );
    replaced.close().await;
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (
        folder.path().join("store.db"),
        folder.path().join("copy.db"),
    );
    let expected = furnished(&path).await;
    let store = open(&path).unwrap();
    store.backup(&copy).await.unwrap();
    store.close().await;
    let sound = std::fs::read(&copy).unwrap();
    let mut damaged = sound.clone();
    // One bit in the largest value; it stands in the history too, and may stand in pages that are free.
    let places = sound.windows(64).enumerate();
    let places: Vec<_> = places
        .filter(|(_, bytes)| *bytes == [39; 64])
        .map(|(at, _)| at)
        .collect();
    places.iter().for_each(|at| damaged[*at] = 38);
    assert!(!places.is_empty());
    for content in [&damaged[..], &sound[..sound.len() / 2]] {
        std::fs::write(&copy, content).unwrap();
        let refused = restore(&copy, &path, true);
        assert!(
            matches!(refused, Err(OpenError::Damaged { .. })),
            "{refused:?}"
        );
    }
    // Nothing was moved.
    let store = open(&path).unwrap();
    assert_eq!(Content::of(&store).await, expected);
    store.close().await;
    // Into an empty place, a sound one goes without asking.
    std::fs::write(&copy, sound).unwrap();
    let fresh = folder.path().join("fresh.db");
    assert_eq!(restore(&copy, &fresh, false).unwrap().replaced, None);
    let store = open(&fresh).unwrap();
    let restored = Content::of(&store).await;
    assert_eq!(
        (restored.entries, restored.records),
        (expected.entries, expected.records)
    );
    store.close().await;
}

#[tokio::test]
async fn one_backup_is_made_at_a_time_also_when_its_caller_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db")).unwrap();
    store.commit(put("one", "1")).await.unwrap();
    let copy = folder.path().join("copy.db");
    // Begun, and given up by whoever asked for it.
    let mut first = Box::pin(store.backup(&copy));
    assert!(polled(first.as_mut()).is_pending());
    drop(first);
    let refused = store.backup(&copy).await;
    assert!(matches!(refused, Err(OpenError::Copying)), "{refused:?}");
    let next = folder.path().join("next.db");
    let turn = async {
        while let Err(error) = store.backup(&next).await {
            assert!(matches!(error, OpenError::Copying), "{error}");
            tokio::task::yield_now().await;
        }
    };
    within("the next one's turn", turn).await;
    // The first was finished, and nothing of it was taken away meanwhile.
    assert!(copy.exists() && next.exists());
    restore(&copy, &folder.path().join("restored.db"), false).unwrap();
}

fn polled<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
