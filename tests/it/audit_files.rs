//! The log on real files: what is done to them under a running broker, and between two runs.

use crate::support::log::{RESERVE, open, until_writing};
use cambist::audit::{Act, ActKind, Device, Disk, Log, LogHealth, OpenError, Space, read};
use cambist::refusal::Denial;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const FIRST: &str = "00000000000000000000.seg";

async fn record(log: &Log, target: &str) -> Result<u64, Denial> {
    let act = Act {
        target: Some(target),
        ..Act::new(ActKind::Admin, "key.create")
    };
    log.event(&act).await.map(|receipt| receipt.index)
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .collect();
    all.sort();
    all
}

type Deed = fn(&Path);

/// What takes acknowledged records away.
const LOSSES: [(&str, Deed); 5] = [
    ("removed", |segment| fs::remove_file(segment).unwrap()),
    ("moved", |segment| {
        fs::rename(segment, segment.with_extension("old")).unwrap();
    }),
    ("truncated", |segment| {
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(segment)
            .unwrap();
    }),
    ("cut", |segment| {
        let file = OpenOptions::new().write(true).open(segment).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    }),
    ("replaced", |segment| {
        let copy = segment.with_extension("copy");
        fs::copy(segment, &copy).unwrap();
        fs::rename(copy, segment).unwrap();
    }),
];

/// Each is noticed before the next acknowledgement, and nothing is acknowledged any more, however often it is tried.
#[tokio::test]
async fn a_log_that_lost_records_under_the_running_writer_is_not_gone_on_with() {
    for (what, deed) in LOSSES {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = open(folder.path()).unwrap();
        assert_eq!(record(&log, "a").await.unwrap(), 0);
        deed(&folder.path().join(FIRST));
        for target in ["b", "c", "d", "e"] {
            let refused = record(&log, target).await.unwrap_err();
            assert_eq!(refused.code(), "log_unavailable", "{what}");
        }
        let health = log.health();
        assert!(
            matches!(&*health, LogHealth::Failed { .. }),
            "{what}: {health:?}"
        );
        assert!(
            segments(folder.path()).len() <= 1,
            "{what}: no other segment was begun"
        );
        assert_eq!(log.durable(), 1, "{what}");
        log.close().await;
    }
}

/// Nobody has to write for it to be noticed.
#[tokio::test]
async fn a_lost_segment_is_noticed_while_nothing_is_written() {
    for (what, deed) in LOSSES {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = open(folder.path()).unwrap();
        record(&log, "a").await.unwrap();
        let mut changes = log.health_changes();
        changes.mark_unchanged();
        log.tick();
        deed(&folder.path().join(FIRST));
        log.tick();
        let noticed = tokio::time::timeout(Duration::from_secs(30), changes.changed()).await;
        noticed.unwrap_or_else(|_| panic!("{what}")).unwrap();
        assert!(matches!(&*log.health(), LogHealth::Failed { .. }), "{what}");
        log.close().await;
    }
}

/// The file is what counts, not the accident.
#[tokio::test]
async fn a_segment_that_was_put_back_or_only_extended_is_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join(FIRST);
    let (log, _) = open(folder.path()).unwrap();
    record(&log, "a").await.unwrap();
    let away = first.with_extension("old");
    fs::rename(&first, &away).unwrap();
    assert!(record(&log, "b").await.is_err());
    fs::rename(&away, &first).unwrap();
    until_writing(&log).await;
    // The gap record has the place of the dropped one.
    assert_eq!(record(&log, "c").await.unwrap(), 2);
    let second = segments(folder.path()).pop().unwrap();
    let mut file = OpenOptions::new().append(true).open(second).unwrap();
    file.write_all(b"{}\n").unwrap();
    assert!(record(&log, "d").await.is_err());
    until_writing(&log).await;
    assert_eq!(record(&log, "e").await.unwrap(), 4);
    log.close().await;
    drop(log);
    let (log, recovered) = open(folder.path()).unwrap();
    assert_eq!(recovered.next, 5);
    log.close().await;
    let device = Arc::new(Disk::open(folder.path(), RESERVE).unwrap());
    let lines = read::records(device, 0).unwrap();
    let lines: Vec<_> = lines
        .map(|entry| String::from_utf8(entry.unwrap().line).unwrap())
        .collect();
    let gap = |line: &String| line.contains(r#""kind":"gap""#);
    assert_eq!(
        lines.iter().map(gap).collect::<Vec<_>>(),
        [false, true, false, true, false]
    );
}

#[tokio::test]
async fn a_folder_that_is_gone_is_healed_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, away) = (folder.path().join("log"), folder.path().join("away"));
    let (log, _) = open(&path).unwrap();
    record(&log, "a").await.unwrap();
    fs::rename(&path, &away).unwrap();
    assert!(record(&log, "b").await.is_err());
    assert!(record(&log, "c").await.is_err());
    fs::rename(&away, &path).unwrap();
    until_writing(&log).await;
    record(&log, "d").await.unwrap();
    log.close().await;
    drop(log);
    let device = Arc::new(Disk::open(&path, RESERVE).unwrap());
    let lines: Vec<_> = read::records(device, 0)
        .unwrap()
        .map(|entry| String::from_utf8(entry.unwrap().line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains(r#""target":"a""#) && lines[2].contains(r#""target":"d""#));
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let segment = folder.path().join(FIRST);
    let (log, _) = open(folder.path()).unwrap();
    record(&log, "a").await.unwrap();
    log.close().await;
    drop(log);
    let whole = fs::metadata(&segment).unwrap().len();
    for torn in [&b"{"[..], br#"{"v":1,"seq":1,"kind":"adm"#, &[0; 4096]] {
        let mut file = OpenOptions::new().append(true).open(&segment).unwrap();
        file.write_all(torn).unwrap();
        let (log, recovered) = open(folder.path()).unwrap();
        assert_eq!((recovered.next, recovered.torn), (1, torn.len() as u64));
        log.close().await;
        drop(log);
        assert_eq!(fs::metadata(&segment).unwrap().len(), whole);
    }
}

#[tokio::test]
async fn a_folder_is_private_and_has_one_owner() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("log");
    let (log, _) = open(&folder).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    match open(&folder) {
        Err(OpenError::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        other => panic!("{other:?}"),
    }
    log.close().await;
    drop(log);
    open(&folder).unwrap();
}

#[test]
fn the_reserve_is_kept_on_disk_and_becomes_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path(), RESERVE).unwrap();
    let allocated = |name: &str| {
        let file = fs::metadata(folder.path().join(name)).unwrap();
        (file.len(), file.blocks() * 512 >= RESERVE)
    };
    disk.keep_reserve().unwrap();
    disk.keep_reserve().unwrap();
    assert_eq!(allocated("reserve"), (0, true));
    let mut segment = disk.create(0, b"head\n", Space::Reserve).unwrap();
    assert_eq!(allocated(FIRST), (5, true));
    segment.append(b"more\n").unwrap();
    segment.sync().unwrap();
    assert_eq!(segment.size().unwrap(), 10);
    assert_eq!(allocated(FIRST), (10, true));
    assert!(!folder.path().join("reserve").exists());
    // A leftover of a creation that failed half-way is in nobody's way.
    fs::write(folder.path().join("next"), b"half").unwrap();
    let again = disk.create(0, b"again\n", Space::Free).unwrap();
    assert_eq!(again.size().unwrap(), 6);
}

/// A crash came after the reserve had taken a segment's header, and before its name.
#[test]
fn a_reserve_that_holds_something_is_set_aside_anew() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path(), RESERVE).unwrap();
    disk.keep_reserve().unwrap();
    let reserve = folder.path().join("reserve");
    let mut file = OpenOptions::new().append(true).open(&reserve).unwrap();
    file.write_all(b"head\n").unwrap();
    disk.keep_reserve().unwrap();
    let metadata = fs::metadata(&reserve).unwrap();
    assert_eq!(metadata.len(), 0);
    assert!(metadata.blocks() * 512 >= RESERVE);
    disk.create(0, b"head\n", Space::Reserve).unwrap();
}

/// Makes a link, the second path, to the first.
const LINKS: [fn(&Path, &Path) -> std::io::Result<()>; 2] = [
    |file, link| symlink(file, link),
    |file, link| fs::hard_link(file, link),
];

/// Whoever can write to the log's folder, and to nothing else, could destroy any file of the broker's user otherwise.
#[tokio::test]
async fn nothing_is_written_through_a_link() {
    for link in LINKS {
        let parent = tempfile::tempdir().unwrap();
        let (folder, other) = (parent.path().join("log"), parent.path().join("other"));
        let (log, _) = open(&folder).unwrap();
        record(&log, "a").await.unwrap();
        log.close().await;
        drop(log);
        let put = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            fs::write(&other, content).unwrap();
            // Some are not there between two runs.
            let _ = fs::rename(&path, folder.join("aside"));
            link(&other, &path).unwrap();
        };
        let is_as_it_was = |content: &[u8]| assert_eq!(fs::read(&other).unwrap(), content);
        let refused = || match open(&folder) {
            Err(OpenError::Io(error)) => error.to_string(),
            opened => panic!("{opened:?}"),
        };
        // What is of no value makes way for what was meant to be there.
        put("reserve", b"a key");
        let (log, _) = open(&folder).unwrap();
        log.close().await;
        drop(log);
        is_as_it_was(b"a key");
        let reserve = fs::symlink_metadata(folder.join("reserve")).unwrap();
        assert!(reserve.is_file() && reserve.nlink() == 1);
        // What is not, is not believed.
        put("lock", b"a key");
        assert!(refused().contains("lock is "));
        is_as_it_was(b"a key");
        fs::rename(folder.join("aside"), folder.join("lock")).unwrap();
        let torn = [&fs::read(folder.join(FIRST)).unwrap()[..], b"torn"].concat();
        put(FIRST, &torn);
        assert!(refused().contains("seg is "));
        is_as_it_was(&torn);
        fs::rename(folder.join("aside"), folder.join(FIRST)).unwrap();
        // Put there while the broker runs, and as empty as a reserve.
        let disk = Disk::open(&folder, RESERVE).unwrap();
        disk.keep_reserve().unwrap();
        put("reserve", b"");
        assert!(disk.create(9, b"head\n", Space::Reserve).is_err());
        is_as_it_was(b"");
        put("next", b"");
        disk.create(9, b"head\n", Space::Free).unwrap();
        is_as_it_was(b"");
    }
}

#[tokio::test]
async fn a_folder_in_the_place_of_the_reserve_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let reserve = folder.path().join("reserve");
    fs::create_dir(&reserve).unwrap();
    let refused = open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains(reserve.to_str().unwrap()), "{refused}");
}
