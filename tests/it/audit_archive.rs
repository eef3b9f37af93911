//! Sealed segments on a real disk: compressed and indexed, with each call to the system failing in turn, and with the process
//! killed at each.

use crate::support::log::{ORIGIN, RESERVE, headers};
use crate::support::long;
use crate::support::myself::{folder, myself};
use cambist::audit::{
    Act, ActKind, Archive, Archivist, Disk, DiskReader, Form, Log, Options, read,
};
use cambist::clock::{SystemClock, SystemRandomness};
use cambist::revocation::HotSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Fills a log of three segments.
async fn fill(folder: &Path) {
    let options = Options {
        segment_bytes: 100_000,
        ..Options::default()
    };
    let (log, _) = Log::open(
        Arc::new(Disk::open(folder, RESERVE).unwrap()),
        ORIGIN,
        Arc::<HotSet>::default(),
        SystemClock::shared(),
        SystemRandomness::shared(),
        headers(),
        options,
    )
    .unwrap();
    while read_dir(folder)
        .iter()
        .filter(|name| name.ends_with(".seg"))
        .count()
        < 3
    {
        let acts = (0..50).map(|_| log.event(&Act::new(ActKind::Admin, "key.create")));
        for act in acts.collect::<Vec<_>>() {
            act.await.unwrap();
        }
    }
    log.close().await;
}

fn read_dir(folder: &Path) -> Vec<String> {
    let all = fs::read_dir(folder).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut all: Vec<String> = all.map(|entry| name(entry.unwrap())).collect();
    all.sort();
    all
}

fn lines(folder: &Path) -> Vec<Vec<u8>> {
    let all = read::records(Arc::new(DiskReader::new(folder)), 0).unwrap();
    all.map(|entry| entry.unwrap().line).collect()
}

/// Does all there is to do, and goes on behind what fails.
fn keep(folder: &Path) -> usize {
    let disk: Arc<dyn Archive> = Arc::new(Disk::open(folder, RESERVE).unwrap());
    let mut archivist = Archivist::new(disk);
    let mut failed = 0;
    loop {
        match archivist.step(u64::MAX) {
            Ok(Some(_)) => {}
            Ok(None) => return failed,
            Err(_) => failed += 1,
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in read_dir(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[tokio::test]
async fn any_decompressor_gives_the_durable_bytes_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder).await;
    let before = lines(folder);
    let plain: Vec<Vec<u8>> = read_dir(folder)
        .iter()
        .filter(|name| name.ends_with(".seg"))
        .map(|name| fs::read(folder.join(name)).unwrap())
        .collect();
    assert_eq!(keep(folder), 0);
    assert_eq!(lines(folder), before);
    let packed: Vec<String> = read_dir(folder);
    let packed = packed.iter().filter(|name| name.ends_with(".seg.zst"));
    let packed: Vec<_> = packed.map(|name| folder.join(name)).collect();
    assert_eq!(packed.len(), 2);
    for (packed, plain) in packed.iter().zip(&plain) {
        let unpacked = Command::new("zstd")
            .arg("-dc")
            .arg(packed)
            .output()
            .unwrap();
        assert!(unpacked.status.success(), "{unpacked:?}");
        assert!(unpacked.stdout == *plain);
        assert_eq!(
            fs::metadata(packed).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

/// What is done to a call: it fails, or the process does not live to see it.
const FAULTS: [&str; 3] = ["error=EIO", "error=ENOSPC", "signal=KILL"];
/// The calls that touch the folder's files.
const CALLS: [&str; 9] = [
    "openat",
    "write",
    "fsync",
    "fadvise64",
    "read",
    "rename",
    "unlink",
    "lseek",
    "fstatfs,statfs",
];

/// How many of one call, in the short form.
const FIRST_CALLS: usize = 5;

/// For each call to the system that the work on segments makes, and each fault: afterwards the log reads as before, and the
/// work is done when it is tried again.
#[test]
fn each_call_may_fail_and_the_process_end_at_each_and_nothing_is_lost() {
    let test = "audit_archive::each_call_may_fail_and_the_process_end_at_each_and_nothing_is_lost";
    if let Some(folder) = folder() {
        keep(&folder);
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill(&whole));
    let before = lines(&whole);
    // All of one segment's life; the second goes on after the first has failed.
    let first = "00000000000000000000";
    let files = [
        "draft".to_owned(),
        format!("{first}.seg"),
        format!("{first}.seg.zst"),
        format!("{first}.idx"),
    ];
    let mut met = 0;
    let most = if long() { usize::MAX } else { FIRST_CALLS };
    for call in CALLS {
        for fault in FAULTS {
            for at in 1..=most {
                let folder = scratch.path().join("log");
                copy(&whole, &folder);
                let told = scratch.path().join("told");
                let mut strace = Command::new("strace");
                strace.args(["-f", "-qq", "-o"]).arg(&told);
                strace.arg(format!("--trace={call}"));
                strace.arg(format!("--inject={call}:{fault}:when={at}"));
                for file in &files {
                    strace.arg(format!("--trace-path={}", folder.join(file).display()));
                }
                strace.arg(format!("--trace-path={}", folder.display()));
                let ended = myself(test, &folder, strace)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .unwrap();
                let is_met = match fault {
                    "signal=KILL" => !ended.success(),
                    _ => fs::read_to_string(&told).unwrap().contains("(INJECTED)"),
                };
                assert!(lines(&folder) == before, "{call} {at} {fault}");
                assert_eq!(keep(&folder), 0, "{call} {at} {fault}");
                assert!(lines(&folder) == before, "{call} {at} {fault}");
                let left = read_dir(&folder);
                let plain = left.iter().filter(|name| name.ends_with(".seg")).count();
                assert_eq!(plain, 1, "{call} {at} {fault}: {left:?}");
                assert!(!left.contains(&"draft".to_owned()), "{call} {at} {fault}");
                fs::remove_dir_all(&folder).unwrap();
                if !is_met {
                    break;
                }
                met += 1;
            }
        }
    }
    assert!(met > 3 * CALLS.len(), "{met} faults were met");
}

#[test]
fn the_forms_of_a_segment_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::open(folder.path(), RESERVE).unwrap();
    for form in [Form::Plain, Form::Packed, Form::Index] {
        assert!(!disk.has(0, form).unwrap());
        disk.put(0, form, &mut |output| output.write_all(b"x"), &mut |_| {
            Ok(())
        })
        .unwrap();
        assert!(disk.has(0, form).unwrap());
        disk.remove(0, form).unwrap();
        disk.remove(0, form).unwrap();
        assert!(!disk.has(0, form).unwrap());
    }
}
