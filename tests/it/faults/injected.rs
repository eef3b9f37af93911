//! Faults put into the system calls of the real broker that concern certain files of its log.

use crate::support::broker::{Site, segments};
use crate::support::edge::within;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tokio::process::{Child, Command};

/// The first segment, which most of these tests never leave.
pub(super) const SEGMENT: &str = "00000000000000000000.seg";
/// What the log's writer is called.
const WRITER: &str = "<audit-log>";

/// Faults to run a broker under, and what came of them.
pub(super) struct Injected {
    told: PathBuf,
    options: Vec<String>,
}

/// What puts them into a process that runs.
pub(super) struct Tracer(Child);

impl Tracer {
    /// Lets it go on without faults.
    pub(super) async fn detach(mut self) {
        let pid = Pid::from_raw(self.0.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        within("the tracer's end", self.0.wait()).await.unwrap();
    }
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
        let mut options: Vec<String> = ["-f", "-qq", "-Y", "-o"].map(str::to_owned).into();
        options.push(told.to_str().unwrap().to_owned());
        options.extend(["-e".to_owned(), format!("trace={calls}")]);
        for fault in faults.iter().filter(|fault| fault.contains(':')) {
            options.extend(["-e".to_owned(), format!("inject={fault}")]);
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
                options.extend(["-P".to_owned(), path.to_str().unwrap().to_owned()]);
            }
        }
        Self { told, options }
    }

    pub(super) fn command(&self, site: &Site) -> Command {
        let options = self.options.iter().map(String::as_str);
        let wrapper: Vec<&str> = ["strace", "--seccomp-bpf", "-D"]
            .into_iter()
            .chain(options)
            .collect();
        site.wrapped(&wrapper)
    }

    /// Puts the faults into a broker that runs.
    pub(super) fn attach(&self, broker: Pid) -> Tracer {
        let mut command = Command::new("strace");
        let pid = broker.as_raw_pid().to_string();
        command
            .args(&self.options)
            .args(["-p", &pid])
            .kill_on_drop(true);
        Tracer(command.spawn().unwrap())
    }

    fn lines(&self) -> Vec<String> {
        let told = fs::read_to_string(&self.told).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    /// Whether a fault has come to such a call.
    pub(super) fn hit(&self, call: &str) -> bool {
        self.hits(call) > 0
    }

    /// How many such calls a fault has come to.
    pub(super) fn hits(&self, call: &str) -> usize {
        let hit = |line: &&String| line.contains("(INJECTED)") && line.contains(call);
        self.lines().iter().filter(hit).count()
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
