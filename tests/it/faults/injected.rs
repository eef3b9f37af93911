//! Faults put into the system calls of the real broker that concern certain files of its log.

use crate::support::broker::{Site, segments};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The first segment, which most of these tests never leave.
pub(super) const SEGMENT: &str = "00000000000000000000.seg";
/// What the log's writer is called.
const WRITER: &str = "<audit-log>";

/// Faults to run a broker under, and what came of them.
pub(super) struct Injected {
    told: PathBuf,
    wrapper: Vec<String>,
}

impl Injected {
    /// `faults` are as strace has them, each counted by thread, or a call alone, which is only counted. They concern these
    /// files of the log's folder and no others; a name that is empty is the folder itself.
    pub(super) fn new(site: &Site, faults: &[&str], files: &[&str]) -> Self {
        let told = site.path("calls");
        fs::remove_file(&told).ok();
        let calls = faults.iter().map(|fault| fault.split(':').next().unwrap());
        let calls = calls.collect::<Vec<_>>().join(",");
        // Each thread is told with its name.
        let mut wrapper: Vec<String> = ["strace", "--seccomp-bpf", "-D", "-f", "-qq", "-Y", "-o"]
            .map(str::to_owned)
            .into();
        wrapper.push(told.to_str().unwrap().to_owned());
        wrapper.extend(["-e".to_owned(), format!("trace={calls}")]);
        for fault in faults.iter().filter(|fault| fault.contains(':')) {
            wrapper.extend(["-e".to_owned(), format!("inject={fault}")]);
        }
        // Calls name a file as the configuration has it, or by a number, which stands for its real path. strace finds that out by
        // itself only where the file is there.
        let log = site.path("data/log");
        let real = log.canonicalize().unwrap();
        for folder in [log, real] {
            for file in files {
                let path = match file.is_empty() {
                    true => folder.clone(),
                    false => folder.join(file),
                };
                wrapper.extend(["-P".to_owned(), path.to_str().unwrap().to_owned()]);
            }
        }
        Self { told, wrapper }
    }

    pub(super) fn command(&self, site: &Site) -> Command {
        let wrapper: Vec<&str> = self.wrapper.iter().map(String::as_str).collect();
        site.wrapped(&wrapper)
    }

    fn lines(&self) -> Vec<String> {
        let told = fs::read_to_string(&self.told).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    /// Whether a fault has come to such a call.
    pub(super) fn hit(&self, call: &str) -> bool {
        let hit = |line: &String| line.contains("(INJECTED)") && line.contains(call);
        self.lines().iter().any(hit)
    }

    /// Whether it has in the log's writer.
    pub(super) fn hit_writer(&self, call: &str) -> bool {
        let hit = |line: &String| {
            line.contains(WRITER) && line.contains("(INJECTED)") && line.contains(call)
        };
        self.lines().iter().any(hit)
    }

    /// How often any one thread has made such a call, at most.
    pub(super) fn most(&self, call: &str) -> usize {
        let call = format!(" {call}(");
        let mut counts = BTreeMap::<String, usize>::new();
        for line in self.lines().iter().filter(|line| line.contains(&call)) {
            let thread = line.split(' ').next().unwrap().to_owned();
            *counts.entry(thread).or_default() += 1;
        }
        counts.into_values().max().unwrap_or(0)
    }
}

/// Somebody else writes to the last segment, which ends it: another one follows.
pub(super) fn disturb(log: &Path) {
    let last = segments(log).pop().unwrap();
    let mut last = File::options().append(true).open(last).unwrap();
    last.write_all(b"{}\n").unwrap();
}
