//! Offline verification: every tampering is found and named, by the library and by the command.

mod lacks;
mod late;
mod told;

use crate::support::command::cambist;
use crate::support::log::{ORIGIN, open};
use crate::support::terminal::Terminal;
use cambist::audit::{
    Act, ActKind, Checkpoint, DiskReader, DiskShelf, Finding, NoteKey, Publisher, Sound, verify,
    verify_from,
};
use cambist::clock::SystemRandomness;
use cambist::keys::{Kek, LogKey};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use zeroize::Zeroizing;

const SEGMENT: &str = "00000000000000000000.seg";

/// A log of 300 records with a checkpoint of 280 of them, and its key as somebody keeps it who is told it at the start.
struct Published {
    folder: TempDir,
    key: NoteKey,
    /// Of 100 records, from before.
    earlier: Checkpoint,
}

async fn append(folder: &Path, records: u64) -> u64 {
    let (log, _) = open(folder).unwrap();
    let act = Act::new(ActKind::Admin, "key.create");
    let mut last = None;
    for _ in 0..records {
        last = Some(log.event(&act));
    }
    let durable = last.unwrap().await.unwrap().index + 1;
    log.close().await;
    durable
}

fn publisher(folder: &Path, durable: u64) -> Publisher {
    let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
    let random = SystemRandomness::shared();
    let key = match LogKey::open(&folder.join("key"), ORIGIN, &kek).unwrap() {
        Some(key) => key,
        None => LogKey::create(&folder.join("key"), ORIGIN, Some(0), &kek, &*random).unwrap(),
    };
    let segments = Arc::new(DiskReader::new(folder));
    let shelf = Arc::new(DiskShelf::new(folder));
    Publisher::open(segments, shelf, key, ORIGIN, durable).unwrap()
}

impl Published {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let durable = append(path, 300).await;
        let publisher = publisher(path, durable);
        publisher.advance(100).unwrap();
        let earlier = publisher.published().unwrap().checkpoint.clone();
        fs::write(path.join("earlier"), &publisher.published().unwrap().note).unwrap();
        publisher.advance(280).unwrap();
        let key = publisher.verifier().clone();
        Self {
            folder,
            key,
            earlier,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn verify(&self) -> Result<Sound, Finding> {
        let segments = Arc::new(DiskReader::new(self.folder.path()));
        let shelf = DiskShelf::new(self.folder.path());
        let earlier = std::slice::from_ref(&self.earlier);
        verify(segments, &shelf, &self.key, earlier, |_| ())
    }

    /// What came after the checkpoint from before.
    fn verify_rest(&self) -> Result<Sound, Finding> {
        let segments = Arc::new(DiskReader::new(self.folder.path()));
        let shelf = DiskShelf::new(self.folder.path());
        verify_from(segments, &shelf, &self.key, &self.earlier, &[], |_| ())
    }

    /// Changes a byte of a file.
    fn flip(&self, name: &str, at: usize) {
        let path = self.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    /// Appends to the segment.
    fn append(&self, bytes: &[u8]) {
        let path = self.path().join(SEGMENT);
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// Does something to the lines of the segment, the header first.
    fn tamper(&self, deed: impl FnOnce(&mut Vec<String>)) {
        let path = self.path().join(SEGMENT);
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        deed(&mut lines);
        fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
}

#[tokio::test]
async fn a_log_that_nobody_touched_is_sound() {
    let log = Published::new().await;
    let sound = log.verify().unwrap();
    assert_eq!((sound.records, sound.checkpoint.size), (300, 280));
    // Tiles can be made again: without them nothing is said of a single record, but all of it still of all.
    fs::remove_dir_all(log.path().join("tile")).unwrap();
    assert_eq!(log.verify().unwrap(), sound);
    log.tamper(|lines| lines[200] = lines[200].replace("key.create", "key.delete"));
    assert!(matches!(log.verify(), Err(Finding::Forked(280))));
}

#[tokio::test]
async fn every_tampering_is_found_and_named() {
    type Deed = fn(&mut Vec<String>);
    type Found = fn(&Finding) -> bool;
    let deeds: [(&str, Deed, Found); 6] = [
        (
            "a byte of a record",
            |lines| lines[11] = lines[11].replace("key.create", "key.creatE"),
            |found| matches!(found, Finding::Changed(10)),
        ),
        (
            "a record left out",
            |lines| drop(lines.remove(11)),
            |found| matches!(found, Finding::Unreadable { sequence: 10, .. }),
        ),
        (
            "two records swapped",
            |lines| lines.swap(11, 12),
            |found| matches!(found, Finding::Unreadable { sequence: 10, .. }),
        ),
        (
            "two records swapped, with their numbers",
            |lines| {
                let (a, b) = (lines[11].clone(), lines[12].clone());
                lines[11] = b.replace("\"seq\":11,", "\"seq\":10,");
                lines[12] = a.replace("\"seq\":10,", "\"seq\":11,");
            },
            |found| matches!(found, Finding::Changed(10)),
        ),
        (
            "the end cut off",
            |lines| lines.truncate(1 + 279),
            |found| {
                matches!(
                    found,
                    Finding::Missing {
                        records: 279,
                        checkpoint: 280
                    }
                )
            },
        ),
        (
            "the end cut off before what was seen earlier",
            |lines| lines.truncate(1 + 99),
            |found| {
                matches!(
                    found,
                    Finding::Missing {
                        records: 99,
                        checkpoint: 100
                    }
                )
            },
        ),
    ];
    for (name, deed, found) in deeds {
        let log = Published::new().await;
        log.tamper(deed);
        let finding = log.verify().unwrap_err();
        assert!(found(&finding), "{name}: {finding}");
    }
}

/// Who holds the log's key can sign another past, but not for those who saw a checkpoint of the first.
#[tokio::test]
async fn another_past_is_found_by_a_checkpoint_from_before() {
    let log = Published::new().await;
    let honest = log.earlier.clone();
    log.tamper(|lines| lines[50] = lines[50].replace("key.create", "key.delete"));
    fs::remove_dir_all(log.path().join("tile")).unwrap();
    fs::remove_file(log.path().join("checkpoint")).unwrap();
    publisher(&log.path(), 300).advance(300).unwrap();
    assert!(matches!(log.verify(), Err(Finding::Forked(100))));
    let alone = verify(
        Arc::new(DiskReader::new(&log.path())),
        &DiskShelf::new(&log.path()),
        &log.key,
        &[],
        |_| (),
    );
    assert!(alone.is_ok(), "by itself it is a log like any other");
    // One of another log.
    let other = Checkpoint {
        origin: "https://elsewhere.example.org/n".into(),
        ..honest
    };
    let foreign = verify(
        Arc::new(DiskReader::new(&log.path())),
        &DiskShelf::new(&log.path()),
        &log.key,
        &[other],
        |_| (),
    );
    assert!(matches!(foreign, Err(Finding::Forked(100))));
}

/// The signed root says which of the two is wrong.
#[tokio::test]
async fn a_tile_that_was_changed_accuses_no_record() {
    for (tile, at) in [
        ("tile/0/000", 32 * 7),
        ("tile/0/001.p/24", 0),
        ("tile/1/000.p/1", 31),
    ] {
        let log = Published::new().await;
        log.flip(tile, at);
        let found = log.verify();
        assert!(
            matches!(&found, Err(Finding::Tile(found)) if found.to_string() == tile),
            "{tile}: {found:?}"
        );
        // Made again, it is the one it was.
        fs::remove_file(log.path().join(tile)).unwrap();
        log.verify().unwrap();
    }
}

/// What a crash left beside the tiles is no finding, and no later checkpoint makes it one.
#[tokio::test]
async fn tiles_that_no_checkpoint_is_of_are_passed_over_and_swept_away() {
    let log = Published::new().await;
    let beyond = log.path().join("tile/0/001.p/25");
    fs::write(&beyond, "").unwrap();
    log.verify().unwrap();
    publisher(&log.path(), 300).advance(290).unwrap();
    assert!(!beyond.exists());
    log.verify().unwrap();
    assert!(
        log.path().join("tile/0/001.p/24").exists(),
        "somebody may have its checkpoint"
    );
}

#[tokio::test]
async fn after_a_checkpoint_only_what_came_since_is_read() {
    let log = Published::new().await;
    let sound = log.verify_rest().unwrap();
    assert_eq!((sound.read_from, sound.records), (100, 300));
    assert_eq!(
        log.verify().unwrap(),
        Sound {
            read_from: 0,
            ..sound
        }
    );
    // Of what is before there are the hashes, and nothing else is looked at.
    log.tamper(|lines| lines[51] = lines[51].replace("key.create", "key.delete"));
    log.verify_rest().unwrap();
    assert!(matches!(log.verify(), Err(Finding::Changed(50))));
    for record in [100, 150, 279] {
        let log = Published::new().await;
        log.tamper(|lines| lines[record + 1] = lines[record + 1].replace("create", "delete"));
        let found = log.verify_rest();
        let record = u64::try_from(record).unwrap();
        assert!(
            matches!(found, Err(Finding::Changed(at)) if at == record),
            "{found:?}"
        );
    }
    // The hashes must be those of the checkpoint, and be there.
    let log = Published::new().await;
    log.flip("tile/0/000", 32 * 7);
    assert!(matches!(log.verify_rest(), Err(Finding::Forked(100))));
    fs::remove_file(log.path().join("tile/0/000")).unwrap();
    assert!(matches!(log.verify_rest(), Err(Finding::Gone(0))));
    let log = Published::new().await;
    log.flip("tile/1/000.p/1", 0);
    assert!(matches!(log.verify_rest(), Err(Finding::Tile(_))));
    // A log that is behind it has lost what came since.
    let log = Published::new().await;
    log.tamper(|lines| lines.truncate(1 + 99));
    fs::copy(log.path().join("earlier"), log.path().join("checkpoint")).unwrap();
    assert!(matches!(
        log.verify_rest(),
        Err(Finding::Missing { records: 99, .. })
    ));
}

/// A line that was cut off, or is being written, is no record; one that was whole, and is no longer, is a finding.
#[tokio::test]
async fn what_is_behind_the_last_record_is_told() {
    let log = Published::new().await;
    let rest = br#"{"v":1,"seq":300,"kind":"#;
    log.append(rest);
    let torn = u64::try_from(rest.len()).unwrap();
    assert_eq!(log.verify().unwrap().torn, torn);
    let dir = log.path().to_str().unwrap().to_owned();
    let args = ["audit", "verify", &dir];
    let told = cambist(&args, &[], b"").await;
    let text = format!("The {torn} bytes after the last record");
    assert!(
        told.code == Some(0) && told.stdout.contains(&text),
        "{told:?}"
    );
    let told = cambist(&[&args[..], &["--json"]].concat(), &[], b"").await;
    assert_eq!(told.json()["torn_bytes"], torn);
    log.append(b"\n");
    assert!(matches!(
        log.verify(),
        Err(Finding::Unreadable { sequence: 300, .. })
    ));
    // Under the checkpoint nothing is torn.
    let log = Published::new().await;
    log.tamper(|lines| lines.truncate(1 + 279));
    log.append(br#"{"v":1,"seq":279,"kind":"#);
    assert!(matches!(
        log.verify(),
        Err(Finding::Missing { records: 279, .. })
    ));
}

#[tokio::test]
async fn how_far_it_is_is_shown_on_a_terminal_and_nowhere_else() {
    let log = Published::new().await;
    let dir = log.path();
    let Terminal {
        mut outside,
        inside,
    } = Terminal::of_columns(80);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_cambist"));
    command.args(["audit", "verify"]).arg(&dir).env_clear();
    command.env("TERM", "xterm").stdout(Stdio::null());
    let mut running = command.stderr(Stdio::from(inside)).spawn().unwrap();
    drop(command);
    let ended = tokio::time::timeout(Duration::from_secs(60), running.wait());
    assert!(ended.await.unwrap().unwrap().success());
    let mut shown = Vec::new();
    // Nobody has the terminal any more: it ends with an error, or at its end.
    let _ = outside.read_to_end(&mut shown);
    let shown = String::from_utf8_lossy(&shown);
    for text in ["reading the log [", "0 of 280", "256 of 280"] {
        assert!(shown.contains(text), "{text}: {shown:?}");
    }
    let dir = dir.to_str().unwrap();
    let elsewhere = cambist(&["audit", "verify", dir], &[], b"").await;
    assert!(!elsewhere.stderr.contains("280"), "{elsewhere:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_no_finding() {
    let log = Published::new().await;
    let segment = log.path().join(SEGMENT);
    fs::remove_file(&segment).unwrap();
    fs::create_dir(&segment).unwrap();
    assert!(matches!(log.verify(), Err(Finding::Io(_))));
}

#[tokio::test]
async fn a_checkpoint_that_is_missing_or_not_the_keys_is_a_finding() {
    let log = Published::new().await;
    let path = log.path().join("checkpoint");
    let good = fs::read_to_string(&path).unwrap();
    for bad in [good.replace("280", "281"), String::new()] {
        fs::write(&path, bad).unwrap();
        assert!(matches!(log.verify(), Err(Finding::Checkpoint(_))));
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(log.verify(), Err(Finding::Checkpoint(_))));
}

#[tokio::test]
async fn the_command_says_so_by_its_exit_code() {
    let log = Published::new().await;
    let folder = log.path();
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let kept = at("kept");
    fs::write(&kept, log.key.to_string()).unwrap();
    let (dir, earlier) = (at(""), at("earlier"));
    let run = async |more: &[&str]| {
        let args = [&["audit", "verify", &dir][..], more].concat();
        cambist(&args, &[], b"").await
    };
    let ran = run(&[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.contains("300 records") && ran.stdout.contains("280"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("--key"), "{ran:?}");
    assert!(!ran.stdout.contains("Read from"), "{ran:?}");
    let rest = run(&["--key", &kept, "--from", &earlier]).await;
    assert!(rest.stdout.contains("Read from record 100 on"), "{rest:?}");
    let rest = run(&["--key", &kept, "--from", &earlier, "--json"]).await;
    assert_eq!(
        (rest.code, &rest.json()["read_from"]),
        (Some(0), &100.into())
    );
    let told = run(&["--key", &kept, "--checkpoint", &earlier, "--json"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(
        (&told.json()["records"], &told.json()["checkpoint"]),
        (&300.into(), &280.into())
    );
    assert_eq!(told.stderr, "");

    let (other, note) = (at("other"), at("note"));
    fs::write(&other, NoteKey::new(ORIGIN, [1; 32]).unwrap().to_string()).unwrap();
    fs::write(&note, "no checkpoint\n").unwrap();
    for (args, code) in [
        (&["--key", &other][..], 5),
        (&["--checkpoint", &note], 5),
        (&["--from", &note], 5),
        (&["--from", "nowhere"], 2),
        (&["--key", &note], 2),
        (&["--key", "nowhere"], 2),
    ] {
        assert_eq!(run(args).await.code, Some(code), "{args:?}");
    }
    assert_eq!(
        cambist(&["audit", "verify", "nowhere"], &[], b"")
            .await
            .code,
        Some(2)
    );

    log.tamper(|lines| lines[11] = lines[11].replace("key.create", "key.creatE"));
    let ran = run(&["--key", &kept, "--json"]).await;
    assert_eq!((ran.code, &*ran.stdout), (Some(5), ""), "{ran:?}");
    let cause = ran.error()["cause"].as_str().unwrap().to_owned();
    assert!(cause.contains("record 10 "), "{cause}");
    assert!(ran.error()["help"].is_null(), "{ran:?}");
    log.flip("tile/0/000", 0);
    let ran = run(&["--key", &kept, "--from", &earlier, "--json"]).await;
    let help = ran.error()["help"].as_str().unwrap().to_owned();
    assert!(
        ran.code == Some(5) && help.contains("without --from"),
        "{ran:?}"
    );
}
