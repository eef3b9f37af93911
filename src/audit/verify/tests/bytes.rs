//! A log's folder, of which bytes are changed one by one.

use super::{look, publisher, value};
use crate::audit::acknowledged::Acknowledged;
use crate::audit::segment::Headers;
use crate::audit::testing::{ORIGIN, context, minted, options};
use crate::audit::tests::outbox::entry;
use crate::audit::{
    Act, ActKind, Archivist, Device as _, Disk, DiskReader, DiskShelf, Done, Log, NoteKey, Options,
    Segments,
};
use crate::clock::SystemRandomness;
use crate::clock::testing::TestClock;
use crate::revocation::HotSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that are no evidence, and why. Any byte of them may change.
const OTHERS: [(&str, &str); 4] = [
    ("lock", "who has it is the process that writes"),
    ("reserve", "space that is set aside; it has no content"),
    (
        "key",
        "the log's key, sealed; what it signed says whether it is the one",
    ),
    (
        "tile/1/000.p/200",
        "a tile wider than the checkpoint: a crash left it, and it comes again",
    ),
];

/// Bytes within a file that are no evidence, and why.
fn is_other(path: &str, at: usize, content: &[u8]) -> Option<&'static str> {
    let of = |name: &str| path.ends_with(name);
    if of(".seg") && value(content, "created").contains(&at) {
        Some("when a segment was begun is said by nothing else")
    } else if of(".seg") && value(content, "mac").contains(&at) {
        Some("the header's tag; a start has the key of it")
    } else if of(".idx") && at < 76 {
        Some("no search asks an index whose header is not its segment's, and it is made again")
    } else if of("vkey") && at + 1 == content.len() {
        Some("the end of the line")
    } else {
        None
    }
}

fn files(folder: &Path, below: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => files(folder, &path, all),
            false => all.push(path),
        }
    }
}

/// Some segments, the first of them compressed; tiles of two levels, and narrower ones of checkpoints from before.
async fn fill(folder: &Path) {
    let disk = Arc::new(Disk::open(folder, 4096).unwrap());
    let options = Options {
        segment_bytes: 50_000,
        ..options()
    };
    let (log, _) = Log::open(
        Arc::clone(&disk) as _,
        ORIGIN,
        Arc::<HotSet>::default(),
        TestClock::at(crate::audit::testing::NOW),
        SystemRandomness::shared(),
        Headers::testing(),
        options,
    )
    .unwrap();
    for round in 0..9_u64 {
        let issues = (0..30).map(|n| log.issue(minted((round * 30 + n).into()), &context()));
        for issued in issues.collect::<Vec<_>>() {
            issued.await.unwrap();
        }
        let entry = entry(&log, round + 1, "key.create");
        log.take_over(&[entry]).await.unwrap();
    }
    log.event(&Act::new(ActKind::Stop, "broker.stop"))
        .await
        .unwrap();
    let publisher = publisher(folder, Arc::clone(&disk) as _, log.durable());
    for size in [100, 258, 270, log.durable()] {
        publisher.advance(size).unwrap();
    }
    // As after records that were gone are put back, before the next start. Each digit is even, so that a changed one is more.
    let acknowledged = Acknowledged {
        log: log.id(),
        records: log.durable(),
    };
    assert_eq!(acknowledged.records, 280);
    let kept = disk.keep_acknowledged(&acknowledged.encode().unwrap());
    kept.unwrap();
    log.close().await;
    let mut archivist = Archivist::new(disk);
    while !matches!(
        archivist.step(log.durable()).unwrap(),
        Some(Done::Packed(_)) | None
    ) {}
    let beyond = folder.join("tile/1/000.p/200");
    fs::write(beyond, [0; 32]).unwrap();
}

/// What is found in a folder by somebody who has no more than it.
fn found(folder: &Path) -> Result<(), String> {
    let key = fs::read_to_string(folder.join(DiskShelf::KEY)).map_err(|error| error.to_string())?;
    let key: Result<NoteKey, _> = key.trim_end().parse();
    let key = key.map_err(|error| error.to_string())?;
    let segments = Arc::new(DiskReader::new(folder)) as Arc<dyn Segments>;
    let sound = look(folder, segments, &key).map_err(|finding| finding.to_string())?;
    assert_eq!(sound.records, sound.checkpoint.size);
    Ok(())
}

#[tokio::test]
async fn a_changed_byte_of_any_evidence_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder).await;
    found(folder).unwrap();
    let mut all = Vec::new();
    files(folder, Path::new(""), &mut all);
    all.sort();
    let names: Vec<_> = all.iter().map(|path| path.to_str().unwrap()).collect();
    let count = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    assert_eq!((count(".seg.zst"), count(".idx")), (1, 1), "{names:?}");
    assert!(count(".seg") >= 3, "{names:?}");
    for tile in [
        "0/000",
        "0/001.p/2",
        "0/001.p/14",
        "0/001.p/24",
        "1/000.p/1",
    ] {
        assert_eq!(count(tile), 1, "{tile}: {names:?}");
    }
    let mut unmet: Vec<_> = OTHERS.iter().map(|(name, _)| *name).collect();
    for name in names {
        let path = folder.join(name);
        let good = fs::read(&path).unwrap();
        let other = OTHERS.iter().find(|(other, _)| *other == name);
        unmet.retain(|unmet| other.is_none_or(|(other, _)| unmet != other));
        let last = good.len().saturating_sub(1);
        let mut places: Vec<usize> = (0..good.len()).step_by(good.len() / 9 + 1).collect();
        places.extend(if good.is_empty() { None } else { Some(last) });
        for at in places {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            let is_evidence = other.is_none() && is_other(name, at, &good).is_none();
            assert_eq!(found(folder).is_err(), is_evidence, "byte {at} of {name}");
        }
        fs::write(&path, good).unwrap();
    }
    assert!(unmet.is_empty(), "{unmet:?} are not there");
    found(folder).unwrap();
}
