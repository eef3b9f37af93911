//! The store's contract (`src/store.rs`), held against every implementation.

mod bounds;
mod model;

use crate::support::hostile_store::{HostileStore, Hostility};
use crate::support::stores::{PATIENCE, change, clock, event, key, load_all, open, put, value};
use cambist::limits;
use cambist::store::{
    Batch, CommitError, Event, Expect, LoadError, LogId, LogPosition, Revision, Store,
};
use std::sync::Arc;

macro_rules! conformance {
    ($($check:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let folder = tempfile::tempdir().unwrap();
                let store = std::sync::Arc::new(super::open(&folder.path().join("store.db")).unwrap());
                tokio::time::timeout(super::PATIENCE, super::$check(store.clone())).await.unwrap();
                store.close().await;
            })*
        }
        mod hostile {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let store = super::HostileStore::new(11, super::Hostility::CALM, super::clock());
                tokio::time::timeout(super::PATIENCE, super::$check(std::sync::Arc::new(store))).await.unwrap();
            })*
        }
    };
}

conformance! {
    values_at_their_bounds_come_back
    several_are_read_in_the_order_they_are_asked_for
    a_compare_holds_or_nothing_changes
    revisions_rise_by_one_and_carry_over
    a_watch_delivers_every_revision_whole_and_in_order
    a_quiet_store_goes_on_confirming
    a_load_is_at_one_revision_over_all_its_pages
    a_page_holds_entries_up_to_its_bound
    a_load_gives_one_prefix_in_order
    abandoned_loads_do_not_use_up_the_store
    the_outbox_is_drained_in_order
    a_log_position_does_not_go_back
    a_lasting_change_needs_a_record
    a_slow_watcher_loads_again
    a_compacted_watch_loads_again
    a_foreign_revision_loads_again
    watchers_are_bounded
    one_of_many_racing_commits_wins
}

async fn values_at_their_bounds_come_back(store: Arc<dyn Store>) {
    let long = key(&"ü".repeat(limits::STORE_KEY / 2));
    let large = value(vec![b'x'; limits::STORE_VALUE]);
    let batch = Batch::new().put(long.clone(), large.clone()).unwrap();
    let batch = batch.put(key("nothing"), value("")).unwrap();
    let batch = batch.put(key("zero\0byte"), value([0, 255])).unwrap();
    let revision = store.commit(batch).await.unwrap();
    for (key, value) in [
        (long, large),
        (key("nothing"), value("")),
        (key("zero\0byte"), value([0, 255])),
    ] {
        let entry = store.read(&key).await.unwrap().unwrap();
        assert_eq!((entry.value, entry.modified), (value, revision.counter));
    }
    assert_eq!(store.read(&key("zero")).await.unwrap(), None);
}

async fn several_are_read_in_the_order_they_are_asked_for(store: Arc<dyn Store>) {
    let batch = put("a", "1").put(key("b"), value("2")).unwrap();
    store.commit(batch).await.unwrap();
    let read = store.read_each(&["b", "none", "a", "b"].map(key)).await;
    let read = read.unwrap().into_iter();
    let values = read.map(|entry| entry.map(|entry| entry.value));
    let expected = [Some("2"), None, Some("1"), Some("2")];
    assert_eq!(Vec::from_iter(values), expected.map(|some| some.map(value)));
    assert_eq!(store.read_each(&[]).await.unwrap(), []);
}

async fn a_compare_holds_or_nothing_changes(store: Arc<dyn Store>) {
    let absent = |batch: Batch, name: &str| batch.expect(key(name), Expect::Absent).unwrap();
    let first = store.commit(absent(put("a", "1"), "a")).await.unwrap();
    assert_eq!(
        store.commit(absent(put("a", "2"), "a")).await,
        Err(CommitError::Conflict)
    );
    // One of several compares fails: none of the changes happens, nor the record.
    let several = absent(put("b", "1"), "b").record(*b"r").unwrap();
    let several = several
        .expect(key("a"), Expect::Unmodified(first.counter + 1))
        .unwrap();
    assert_eq!(store.commit(several).await, Err(CommitError::Conflict));
    assert_eq!(store.read(&key("b")).await.unwrap(), None);
    assert_eq!(store.outbox(9).await.unwrap(), []);
    assert_eq!(store.revision().await.unwrap(), first);
    let unmodified = |at| {
        put("a", "3")
            .expect(key("a"), Expect::Unmodified(at))
            .unwrap()
    };
    let second = store.commit(unmodified(first.counter)).await.unwrap();
    assert_eq!(
        store.commit(unmodified(first.counter)).await,
        Err(CommitError::Conflict)
    );
    store
        .commit(Batch::new().delete(key("a")).unwrap())
        .await
        .unwrap();
    assert_eq!(
        store.commit(unmodified(second.counter)).await,
        Err(CommitError::Conflict)
    );
    store.commit(absent(put("a", "4"), "a")).await.unwrap();
}

async fn revisions_rise_by_one_and_carry_over(store: Arc<dyn Store>) {
    let mut last = store.revision().await.unwrap();
    assert_eq!(last.counter, 0);
    for batch in [
        put("a", "1"),
        Batch::new(),
        Batch::new().delete(key("a")).unwrap(),
    ] {
        let revision = store.commit(batch).await.unwrap();
        assert_eq!(
            revision,
            Revision {
                counter: last.counter + 1,
                ..last
            }
        );
        assert_eq!(store.revision().await.unwrap(), revision);
        last = revision;
    }
}

async fn a_watch_delivers_every_revision_whole_and_in_order(store: Arc<dyn Store>) {
    let start = store.revision().await.unwrap();
    let write = |number: u32| {
        let batch = put("pair/left", number.to_string());
        batch
            .put(key("pair/right"), value(number.to_string()))
            .unwrap()
    };
    for number in 0..20 {
        store.commit(write(number)).await.unwrap();
    }
    store.commit(Batch::new()).await.unwrap();
    // Part of it is history when the watch begins, part comes while it runs.
    let mut events = store.watch(start).await.unwrap();
    let writer = Arc::clone(&store);
    let racing = tokio::spawn(async move {
        for number in 20..40 {
            writer.commit(write(number)).await.unwrap();
        }
    });
    for counter in 1..=41 {
        let Some(Event::Changed { revision, ops }) = change(&mut events).await else {
            panic!("no revision {counter}");
        };
        assert_eq!(revision, Revision { counter, ..start });
        let number = if counter > 21 {
            counter - 2
        } else {
            counter - 1
        };
        let whole =
            [write(u32::try_from(number).unwrap()).ops(), &[]][usize::from(counter == 21)].to_vec();
        assert_eq!(ops.to_vec(), whole, "revision {counter}");
    }
    racing.await.unwrap();
}

async fn a_quiet_store_goes_on_confirming(store: Arc<dyn Store>) {
    let head = store.commit(put("a", "1")).await.unwrap();
    let mut events = store.watch(head).await.unwrap();
    let mut last = None;
    for _ in 0..3 {
        let Some(Event::Current { revision, as_of }) = event(&mut events).await else {
            panic!("no confirmation");
        };
        assert_eq!(revision, head);
        assert!(last < Some(as_of), "a confirmation must be new");
        last = Some(as_of);
    }
}

async fn a_load_is_at_one_revision_over_all_its_pages(store: Arc<dyn Store>) {
    let count = limits::STORE_PAGE * 2 + 5;
    for start in (0..count).step_by(100) {
        let batch = (start..count.min(start + 100)).fold(Batch::new(), |batch, number| {
            batch
                .put(key(&format!("k/{number:06}")), value("old"))
                .unwrap()
        });
        store.commit(batch).await.unwrap();
    }
    let first = store.load("k/", None).await.unwrap();
    // What is written after the first page is not part of the load, wherever it falls.
    for name in ["k/000000", "k/000000x", "k/002003"] {
        store.commit(put(name, "new")).await.unwrap();
    }
    store
        .commit(Batch::new().delete(key("k/002004")).unwrap())
        .await
        .unwrap();
    let (mut entries, mut next) = (first.entries, first.next);
    while let Some(cursor) = next {
        let page = store.load("k/", Some(cursor)).await.unwrap();
        assert_eq!(page.revision, first.revision);
        entries.extend(page.entries);
        next = page.next;
    }
    assert_eq!(entries.len(), count);
    assert!(entries.iter().all(|entry| entry.value == value("old")));
    assert!(entries.is_sorted_by(|a, b| a.key < b.key));
    let (entries, revision, pages) = load_all(store.as_ref(), "k/").await;
    assert_eq!(
        (entries.len(), revision, pages),
        (count, store.revision().await.unwrap(), 3)
    );
}

async fn a_page_holds_entries_up_to_its_bound(store: Arc<dyn Store>) {
    for start in (0..limits::STORE_PAGE).step_by(limits::STORE_BATCH) {
        let batch = (start..start + limits::STORE_BATCH).fold(Batch::new(), |batch, number| {
            batch.put(key(&format!("k/{number}")), value("")).unwrap()
        });
        store.commit(batch).await.unwrap();
    }
    let page = store.load("k/", None).await.unwrap();
    assert_eq!(page.entries.len(), limits::STORE_PAGE);
    assert!(page.next.is_none());
    store.commit(put("k/more", "")).await.unwrap();
    let page = store.load("k/", None).await.unwrap();
    assert_eq!(page.entries.len(), limits::STORE_PAGE);
    let rest = store.load("k/", page.next).await.unwrap();
    assert_eq!((rest.entries.len(), rest.next.is_none()), (1, true));
}

async fn a_load_gives_one_prefix_in_order(store: Arc<dyn Store>) {
    let names = ["a", "a/", "a/b", "a/é", "a0", "b", "Z"];
    for name in names {
        store.commit(put(name, name)).await.unwrap();
    }
    for (prefix, expected) in [
        ("a/", vec!["a/", "a/b", "a/é"]),
        ("", vec!["Z", "a", "a/", "a/b", "a/é", "a0", "b"]),
        ("c", vec![]),
    ] {
        let (entries, _, _) = load_all(store.as_ref(), prefix).await;
        let found: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(found, expected, "prefix {prefix:?}");
    }
}

async fn abandoned_loads_do_not_use_up_the_store(store: Arc<dyn Store>) {
    for start in 0..11 {
        let batch = (0..100).fold(Batch::new(), |batch, number| {
            batch
                .put(key(&format!("k/{start}/{number}")), value(""))
                .unwrap()
        });
        store.commit(batch).await.unwrap();
    }
    let mut cursors = Vec::new();
    for round in 0..limits::STORE_SNAPSHOTS + 1 {
        cursors.push(store.load("k/", None).await.unwrap().next.unwrap());
        store.commit(put("other", round.to_string())).await.unwrap();
    }
    // The oldest gave way; all others can still be had.
    let mut cursors = cursors.into_iter();
    let gone = store.load("k/", cursors.next()).await;
    assert!(matches!(gone, Err(LoadError::Restart)));
    for cursor in cursors {
        assert_eq!(
            store.load("k/", Some(cursor)).await.unwrap().entries.len(),
            100
        );
    }
}

async fn the_outbox_is_drained_in_order(store: Arc<dyn Store>) {
    let record = |number: u8| put("k", [number]).record([number]).unwrap();
    let mut revisions = Vec::new();
    for number in 0..5 {
        revisions.push(store.commit(record(number)).await.unwrap());
        store.commit(put("k", "without a record")).await.unwrap();
    }
    let numbers = |entries: &[cambist::store::OutboxEntry]| -> Vec<u8> {
        entries.iter().map(|entry| entry.record[0]).collect()
    };
    assert_eq!(numbers(&store.outbox(3).await.unwrap()), [0, 1, 2]);
    let waiting = store.outbox(100).await.unwrap();
    assert_eq!(numbers(&waiting), [0, 1, 2, 3, 4]);
    assert!(
        waiting
            .iter()
            .map(|entry| entry.revision)
            .eq(revisions.iter().copied())
    );
    assert_eq!(store.log_position().await.unwrap(), None);
    let position = LogPosition {
        log: LogId(1),
        sequence: 41,
        counter: revisions[2].counter,
    };
    store.drained(position).await.unwrap();
    assert_eq!(numbers(&store.outbox(100).await.unwrap()), [3, 4]);
    assert_eq!(store.log_position().await.unwrap(), Some(position));
    // Telling it twice does no harm, and draining is no revision.
    let head = store.revision().await.unwrap();
    store.drained(position).await.unwrap();
    assert_eq!(store.revision().await.unwrap(), head);
    assert_eq!(numbers(&store.outbox(100).await.unwrap()), [3, 4]);
}

async fn a_log_position_does_not_go_back(store: Arc<dyn Store>) {
    for _ in 0..3 {
        store
            .commit(put("k", "").record(*b"r").unwrap())
            .await
            .unwrap();
    }
    let at = |sequence, counter| LogPosition {
        log: LogId(1),
        sequence,
        counter,
    };
    store.drained(at(10, 2)).await.unwrap();
    for wrong in [at(9, 2), at(10, 1), at(11, 4)] {
        assert!(store.drained(wrong).await.is_err(), "{wrong:?}");
        assert_eq!(store.log_position().await.unwrap(), Some(at(10, 2)));
        assert_eq!(store.outbox(9).await.unwrap().len(), 1);
    }
}

async fn a_lasting_change_needs_a_record(store: Arc<dyn Store>) {
    let lasting = || {
        Batch::new()
            .put_lasting(key("revoked/x"), value("1"))
            .unwrap()
    };
    assert!(matches!(
        store.commit(lasting()).await,
        Err(CommitError::Refused(_))
    ));
    assert_eq!(store.read(&key("revoked/x")).await.unwrap(), None);
    let batch = lasting().put(key("plain"), value("2")).unwrap();
    let batch = batch
        .delete_lasting(key("y"))
        .unwrap()
        .record(*b"r")
        .unwrap();
    let effects = batch.effects();
    assert_eq!(effects.len(), 2);
    store.commit(batch).await.unwrap();
    assert_eq!(store.outbox(9).await.unwrap()[0].effects, effects);
}

async fn a_slow_watcher_loads_again(store: Arc<dyn Store>) {
    let mut events = store.watch(store.revision().await.unwrap()).await.unwrap();
    commit_many(&store, limits::STORE_WATCH_QUEUE + 10).await;
    // It gets a whole run from the start, and then is told, or finds the watch closed.
    let (mut expected, mut confirmed) = (0, 0);
    loop {
        match event(&mut events).await {
            Some(Event::Changed { revision, .. }) => {
                expected += 1;
                assert_eq!(revision.counter, expected);
            }
            Some(Event::LoadAgain) | None => break,
            Some(Event::Current { .. }) => confirmed += 1,
        }
    }
    // The confirmation that begins the watch has its own place; later ones wait as changes do.
    let waited = usize::try_from(expected).unwrap() + confirmed;
    assert_eq!(waited, limits::STORE_WATCH_QUEUE + 1);
}

async fn a_compacted_watch_loads_again(store: Arc<dyn Store>) {
    let start = store.revision().await.unwrap();
    let kept = usize::try_from(limits::STORE_HISTORY).unwrap();
    commit_many(&store, kept).await;
    let mut events = store.watch(start).await.unwrap();
    assert!(
        matches!(change(&mut events).await, Some(Event::Changed { .. })),
        "all that the bound allows is kept"
    );
    drop(events);
    commit_many(&store, 600).await;
    let head = store.revision().await.unwrap();
    let near = Revision {
        counter: head.counter - 1,
        ..head
    };
    let mut events = store.watch(near).await.unwrap();
    assert!(matches!(
        change(&mut events).await,
        Some(Event::Changed { .. })
    ));
    let mut events = store.watch(start).await.unwrap();
    assert!(matches!(event(&mut events).await, Some(Event::LoadAgain)));
    assert!(event(&mut events).await.is_none());
}

async fn a_foreign_revision_loads_again(store: Arc<dyn Store>) {
    let head = store.commit(put("a", "1")).await.unwrap();
    let other = cambist::store::Incarnation(!head.incarnation.0);
    let ahead = Revision {
        counter: head.counter + 1,
        ..head
    };
    for foreign in [
        Revision {
            incarnation: other,
            ..head
        },
        ahead,
    ] {
        let mut events = store.watch(foreign).await.unwrap();
        assert!(matches!(event(&mut events).await, Some(Event::LoadAgain)));
        assert!(event(&mut events).await.is_none());
    }
}

async fn watchers_are_bounded(store: Arc<dyn Store>) {
    let head = store.revision().await.unwrap();
    let mut watchers = Vec::new();
    for _ in 0..limits::STORE_WATCHERS {
        watchers.push(store.watch(head).await.unwrap());
    }
    assert!(store.watch(head).await.is_err());
    watchers.pop();
    assert!(store.watch(head).await.is_ok());
}

async fn one_of_many_racing_commits_wins(store: Arc<dyn Store>) {
    for round in 0..5 {
        let name = format!("once/{round}");
        let tasks: Vec<_> = (0..64)
            .map(|number: u32| {
                let (store, name) = (Arc::clone(&store), name.clone());
                let batch = put(&name, number.to_string()).expect(key(&name), Expect::Absent);
                tokio::spawn(async move { (number, store.commit(batch.unwrap()).await) })
            })
            .collect();
        let mut won = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (number, Ok(_)) => won.push(number),
                (_, outcome) => assert_eq!(outcome, Err(CommitError::Conflict)),
            }
        }
        let entry = store.read(&key(&name)).await.unwrap().unwrap();
        assert_eq!(won.len(), 1);
        assert_eq!(entry.value, value(won[0].to_string()));
    }
    assert_eq!(store.revision().await.unwrap().counter, 5);
}

async fn commit_many(store: &Arc<dyn Store>, count: usize) {
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for number in (task..count).step_by(64) {
                    let batch = put(&format!("many/{task}"), number.to_string());
                    store.commit(batch).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
