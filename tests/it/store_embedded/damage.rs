//! Damaged, foreign and future files.

use super::{Content, furnished};
use crate::support::stores::{key, load_all, open, put};
use cambist::store::Store;
use cambist::store::embedded::OpenError;
use std::path::{Path, PathBuf};

/// Opens a file with `content` in a folder of its own; `Ok` when the content came back as `expected`.
async fn judge(content: &[u8], expected: &Content) -> Result<(), OpenError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    std::fs::write(&path, content).unwrap();
    match open(&path) {
        Ok(store) => {
            assert_eq!(
                &Content::of(&store).await,
                expected,
                "opened with wrong data"
            );
            store.close().await;
            Ok(())
        }
        Err(error) => {
            assert!(
                std::fs::read(&path).unwrap() == content,
                "refused, and changed: {error}"
            );
            Err(error)
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_or_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let expected = furnished(&path).await;
    let sound = std::fs::read(&path).unwrap();
    judge(&sound, &expected).await.unwrap();
    let (mut found, mut harmless) = (0, 0);
    // The whole header, and a coarse comb over the rest that meets every page.
    let offsets = (0..100).chain((100..sound.len()).step_by(sound.len() / 500));
    for offset in offsets {
        let mut content = sound.clone();
        content[offset] ^= 1 << (offset % 8);
        match judge(&content, &expected).await {
            Ok(()) => harmless += 1,
            Err(_) => found += 1,
        }
    }
    // Most of what is in use is values under a checksum; the rest is free space and counters.
    println!(
        "{found} found, {harmless} harmless, file of {} bytes",
        sound.len()
    );
    assert!(found > harmless, "{found} found, {harmless} harmless");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let expected = furnished(&path).await;
    let sound = std::fs::read(&path).unwrap();
    // The file may be longer than its pages.
    let pages = usize::try_from(u32::from_be_bytes(sound[28..32].try_into().unwrap())).unwrap();
    for length in [
        0,
        1,
        15,
        16,
        67,
        99,
        100,
        512,
        4095,
        4096,
        5000,
        sound.len() / 2,
        pages * 4096 - 4096,
        pages * 4096 - 1,
    ] {
        let refused = judge(&sound[..length], &expected).await;
        assert!(refused.is_err(), "{length} of {} bytes", sound.len());
    }
}

/// A store that is not closed properly: file and write-ahead log as a power cut leaves them.
async fn cut_off(folder: &Path) -> (PathBuf, Vec<u8>, Vec<u8>) {
    let path = folder.join("store.db");
    let store = open(&path).unwrap();
    for number in 0..30_u8 {
        let batch = put("pair/left", [number])
            .put(key("pair/right"), crate::support::stores::value([number]));
        store.commit(batch.unwrap()).await.unwrap();
    }
    let file = std::fs::read(&path).unwrap();
    let log = std::fs::read(folder.join("store.db-wal")).unwrap();
    store.close().await;
    (path, file, log)
}

#[tokio::test]
async fn a_write_ahead_log_cut_anywhere_leaves_whole_revisions() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file, log) = cut_off(folder.path()).await;
    let mut last = 0;
    for length in (0..=log.len()).step_by(1500).chain([log.len()]) {
        std::fs::write(&path, &file).unwrap();
        std::fs::write(folder.path().join("store.db-wal"), &log[..length]).unwrap();
        let store = open(&path).unwrap();
        let head = store.revision().await.unwrap().counter;
        let (entries, _, _) = load_all(&store, "pair/").await;
        // Revision n wrote n - 1 to both, or nothing was written.
        let expected = head
            .checked_sub(1)
            .map(|last| vec![u8::try_from(last).unwrap()]);
        let found: Vec<_> = entries
            .iter()
            .map(|entry| entry.value.as_bytes().to_vec())
            .collect();
        assert_eq!(
            found,
            expected.map_or(vec![], |content| vec![content.clone(), content])
        );
        assert!(head >= last, "a longer log holds no less");
        last = head;
        store.close().await;
    }
    assert_eq!(last, 30);
}

#[tokio::test]
async fn a_write_ahead_log_without_its_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _, log) = cut_off(folder.path()).await;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(folder.path().join("store.db-wal"), &log).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Orphaned(_))));
}

#[tokio::test]
async fn a_foreign_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.db");
    let foreign = rusqlite::Connection::open(&other).unwrap();
    foreign.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(foreign);
    let foreign = std::fs::read(&other).unwrap();
    let nothing = furnished(&folder.path().join("store.db")).await;
    for content in [foreign, b"# just a text\n".to_vec(), vec![0; 10_000]] {
        let refused = judge(&content, &nothing).await;
        assert!(
            matches!(refused, Err(OpenError::NotAStore { .. })),
            "{refused:?}"
        );
    }
    let alone = tempfile::tempdir().unwrap();
    let text = alone.path().join("notes.txt");
    std::fs::write(&text, "not a store").unwrap();
    assert!(open(&text).is_err());
    let beside = std::fs::read_dir(alone.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut beside: Vec<_> = beside.collect();
    beside.sort();
    assert_eq!(
        beside,
        ["notes.txt", "notes.txt-lock"],
        "nothing but the lock is put beside it"
    );
    assert!(
        matches!(open(folder.path()), Err(OpenError::Io { .. })),
        "a folder"
    );
    let nowhere = folder.path().join("no/such/folder/store.db");
    assert!(matches!(open(&nowhere), Err(OpenError::Io { .. })));
}

#[tokio::test]
async fn another_format_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let expected = furnished(&path).await;
    for version in [0_u32, 1, 77] {
        let other = rusqlite::Connection::open(&path).unwrap();
        other.pragma_update(None, "user_version", version).unwrap();
        drop(other);
        let refused = judge(&std::fs::read(&path).unwrap(), &expected).await;
        let Err(OpenError::Version { found, known, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((found, known), (version, 2));
    }
}

#[tokio::test]
async fn tables_that_are_not_ours_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    for change in [
        "CREATE TABLE extra (x)",
        "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM outbox; END",
        "DROP TABLE lineage",
        "DELETE FROM meta",
        "UPDATE entries SET value = x'00' WHERE key = 'k/05'",
        "UPDATE entries SET key = 'k/99' WHERE key = 'k/05'",
        "UPDATE outbox SET record = x'00'",
        "UPDATE meta SET counter = counter - 1",
        "UPDATE changes SET key = 'other'",
        "UPDATE lineage SET counter = 2",
    ] {
        std::fs::remove_file(&path).ok();
        let expected = furnished(&path).await;
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch(change).unwrap();
        drop(other);
        let refused = judge(&std::fs::read(&path).unwrap(), &expected).await;
        assert!(
            matches!(refused, Err(OpenError::Damaged { .. })),
            "{change}: {refused:?}"
        );
    }
}
