//! A test that starts itself again, as the process that is killed or whose disk is small.

use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = "CAMBIST_TEST_FOLDER";

/// The folder that the parent gave, if this process is the child of such a test.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// This test binary, to run `test` alone as a child in `folder`.
pub(crate) fn myself(test: &str, folder: &Path, mut through: Command) -> Command {
    through
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder);
    through
}

/// Runs `test` alone, in a process of its own, where what other tests take is not counted; what it printed.
pub(crate) fn alone(test: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut command = myself(test, dir.path(), Command::new("env"));
    // One arena: what one thread gives back, the next one takes.
    let ran = command.env("MALLOC_ARENA_MAX", "1").output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{text}{error}");
    text
}

/// Bytes of memory of its own that this process has resident: not what it has of files.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}
