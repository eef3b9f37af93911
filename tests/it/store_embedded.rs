//! The embedded store against the world: crashes, damaged files, full disks, other processes.

mod backup;
mod child;
mod damage;
mod full_disk;
mod held_writer;
mod limits_kept;

use crate::support::stores::{key, load_all, open, put, value};
use cambist::store::embedded::{EmbeddedStore, OpenError};
use cambist::store::recovery::Lineage;
use cambist::store::{CommitError, Event, Op, Revision, Store};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).unwrap();
    let revision = store
        .commit(put("a", "1").record(*b"r").unwrap())
        .await
        .unwrap();
    store.close().await;
    let refused = store.commit(put("a", "2")).await;
    assert!(matches!(refused, Err(CommitError::Refused(_))));
    let store = open(&path).unwrap();
    assert_eq!(store.revision().await.unwrap(), revision);
    assert_eq!(
        store.read(&key("a")).await.unwrap().unwrap().value,
        value("1")
    );
    assert_eq!(store.outbox(9).await.unwrap()[0].revision, revision);
    // A watcher from before the restart goes on where it was.
    let start = Revision {
        counter: 0,
        ..revision
    };
    let mut events = store.watch(start).await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Changed { .. })));
}

#[tokio::test]
async fn all_files_are_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).unwrap();
    store.commit(put("a", "1")).await.unwrap();
    store.backup(&folder.path().join("copy.db")).await.unwrap();
    let mut names = Vec::new();
    for file in folder.path().read_dir().unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    let expected = [
        "copy.db",
        "store.db",
        "store.db-lock",
        "store.db-reserve",
        "store.db-shm",
        "store.db-wal",
    ];
    assert_eq!(names, expected);
    store.close().await;
    // A mode that was widened meanwhile is narrowed.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    store.close().await;
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).unwrap();
    assert!(matches!(open(&path), Err(OpenError::InUse(_))));
    // Through another name of the folder as well.
    let alias = folder.path().join("alias");
    std::os::unix::fs::symlink(folder.path(), &alias).unwrap();
    assert!(matches!(
        open(&alias.join("store.db")),
        Err(OpenError::InUse(_))
    ));
    let restored = cambist::store::embedded::restore(&path, &path, true);
    assert!(matches!(restored, Err(OpenError::InUse(_))));
    store.commit(put("a", "1")).await.unwrap();
    store.close().await;
    open(&path).unwrap().close().await;
}

#[tokio::test]
async fn another_programs_write_ends_our_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).unwrap();
    store.commit(put("a", "1")).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute("UPDATE meta SET counter = counter + 1", [])
        .unwrap();
    drop(other);
    // What the store believes and what the file holds differ: it cannot say what happened, and stops.
    let outcome = store.commit(put("a", "2")).await;
    assert!(
        matches!(outcome, Err(CommitError::Unknown(_))),
        "{outcome:?}"
    );
    let outcome = store.commit(put("a", "3").reserved()).await;
    assert!(
        matches!(outcome, Err(CommitError::Refused(_))),
        "{outcome:?}"
    );
    assert!(store.watch(store.revision().await.unwrap()).await.is_err());
    assert_eq!(
        store.read(&key("a")).await.unwrap().unwrap().value,
        value("1")
    );
    store.close().await;
    assert!(
        matches!(open(&path), Err(OpenError::Damaged { .. })),
        "the row's checksum is not theirs"
    );
}

#[tokio::test]
async fn a_new_incarnation_lets_everyone_load_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db")).unwrap();
    let before = store.commit(put("a", "1")).await.unwrap();
    let mut events = store.watch(before).await.unwrap();
    let after = store.renew().await.unwrap();
    assert_ne!(after.incarnation, before.incarnation);
    assert_eq!(after.counter, before.counter);
    loop {
        match events.recv().await {
            Some(Event::Current { .. }) => {}
            other => break assert!(matches!(other, Some(Event::LoadAgain))),
        }
    }
    let lineage = store.lineage().await.unwrap();
    assert!(lineage.holds(&before) && lineage.holds(&after));
    assert_eq!(lineage.ancestors, [before]);
    let next = store.commit(put("a", "2")).await.unwrap();
    assert_eq!(
        (next.incarnation, next.counter),
        (after.incarnation, after.counter + 1)
    );
    store.close().await;
}

/// All that a store can tell.
#[derive(Debug, PartialEq)]
struct Content {
    entries: Vec<cambist::store::Entry>,
    records: Vec<cambist::store::OutboxEntry>,
    history: Vec<(Revision, Vec<Op>)>,
    lineage: Lineage,
}

impl Content {
    async fn of(store: &EmbeddedStore) -> Self {
        let lineage = store.lineage().await.unwrap();
        let mut from = lineage.revision;
        from.counter = lineage.ancestors.last().map_or(0, |last| last.counter);
        let mut events = store.watch(from).await.unwrap();
        let mut history = Vec::new();
        while let Some(Event::Changed { revision, ops }) = events.recv().await {
            history.push((revision, ops.to_vec()));
        }
        Self {
            entries: load_all(store, "").await.0,
            records: store.outbox(usize::MAX).await.unwrap(),
            history,
            lineage,
        }
    }
}

/// A store with entries of many sizes, history, records, and an ancestor; closed, so all of it is in one file.
async fn furnished(path: &Path) -> Content {
    let store = open(path).unwrap();
    store.commit(put("early", "")).await.unwrap();
    store.renew().await.unwrap();
    for number in 0..40_usize {
        let content = vec![u8::try_from(number).unwrap(); number * number * 4];
        let batch = put(&format!("k/{number:02}"), content).record(vec![b'r'; number]);
        store.commit(batch.unwrap()).await.unwrap();
    }
    let content = Content::of(&store).await;
    assert_eq!(
        (
            content.entries.len(),
            content.history.len(),
            content.records.len()
        ),
        (41, 40, 40)
    );
    store.close().await;
    content
}
