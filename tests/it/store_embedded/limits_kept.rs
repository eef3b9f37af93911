//! Bounds of the embedded store that its contract leaves to it.

use crate::support::clock::testing::TestClock;
use crate::support::stores::{change, event, open, put};
use cambist::clock::SystemRandomness;
use cambist::limits;
use cambist::store::embedded::EmbeddedStore;
use cambist::store::{Event, LoadError, Revision, Store};

#[tokio::test]
async fn the_history_is_bounded_in_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).unwrap();
    let start = store.revision().await.unwrap();
    let large = vec![b'x'; limits::STORE_VALUE];
    let fits = limits::STORE_HISTORY_BYTES / (limits::STORE_VALUE + 1);
    for _ in 0..fits {
        store.commit(put("k", &large)).await.unwrap();
    }
    let mut events = store.watch(start).await.unwrap();
    assert!(
        matches!(change(&mut events).await, Some(Event::Changed { .. })),
        "all that fits is kept"
    );
    drop(events);
    for _ in 0..fits / 8 + 2 {
        store.commit(put("k", &large)).await.unwrap();
    }
    let head = store.revision().await.unwrap();
    let kept = |back: usize| Revision {
        counter: head.counter - back as u64,
        ..head
    };
    let mut events = store.watch(start).await.unwrap();
    assert!(matches!(event(&mut events).await, Some(Event::LoadAgain)));
    let mut events = store.watch(kept(fits - 1)).await.unwrap();
    assert!(matches!(
        event(&mut events).await,
        Some(Event::Changed { .. })
    ));
    store.close().await;
    // Opened again, it knows what it has.
    let store = open(&path).unwrap();
    let mut events = store.watch(start).await.unwrap();
    assert!(matches!(event(&mut events).await, Some(Event::LoadAgain)));
    store.close().await;
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db")).unwrap();
    let full = limits::STORE_PAGE_BYTES / limits::STORE_VALUE;
    for number in 0..full {
        store
            .commit(put(&format!("k/{number:02}"), vec![0; limits::STORE_VALUE]))
            .await
            .unwrap();
    }
    let page = store.load("k/", None).await.unwrap();
    assert_eq!((page.entries.len(), page.next.is_none()), (full, true));
    store.commit(put("k/99", "")).await.unwrap();
    let page = store.load("k/", None).await.unwrap();
    assert_eq!(page.entries.len(), full);
    assert_eq!(store.load("k/", page.next).await.unwrap().entries.len(), 1);
    store.close().await;
}

#[tokio::test]
async fn a_load_that_nobody_goes_on_with_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let time = TestClock::at(1_000);
    let path = folder.path().join("store.db");
    let store = EmbeddedStore::open(&path, time.clone(), SystemRandomness::shared()).unwrap();
    for number in 0..limits::STORE_PAGE * 2 + 1 {
        store.commit(put(&format!("k/{number}"), "")).await.unwrap();
    }
    let first = store.load("k/", None).await.unwrap();
    let head = store.commit(put("k/0", "new")).await.unwrap();
    let idle = u32::try_from(limits::STORE_SNAPSHOT_IDLE.as_secs()).unwrap();
    let ticks = async |count: usize| {
        let mut events = store.watch(head).await.unwrap();
        // The first confirmation comes with the watch; each later one is a tick.
        for _ in 0..=count {
            assert!(matches!(
                event(&mut events).await,
                Some(Event::Current { .. })
            ));
        }
    };
    time.advance(idle);
    ticks(2).await;
    let second = store.load("k/", first.next).await.unwrap();
    assert_eq!(second.revision, first.revision);
    time.advance(idle + 1);
    ticks(2).await;
    assert!(matches!(
        store.load("k/", second.next).await,
        Err(LoadError::Restart)
    ));
    store.close().await;
}
