//! The processes of the bench: each is this binary again, in another role.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Tells the driver something: one word, and what belongs to it.
pub fn tell(word: &str, what: &str) {
    println!("{word} {what}");
    std::io::stdout().flush().unwrap();
}

/// A process in a role. Ended when dropped.
pub struct Role {
    /// The process.
    pub child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Role {
    /// Starts this binary again as `role`.
    pub fn start(role: &str, arguments: &[&str]) -> Self {
        let binary = std::env::current_exe().unwrap();
        let mut child = Command::new(binary)
            .arg(role)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// What the process tells after `word`; what it says before is skipped.
    pub fn line(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).unwrap();
            assert!(read > 0, "the process ended before it said `{word}`");
            if let Some(rest) = line.trim_end().strip_prefix(word) {
                return rest.trim_start().to_owned();
            }
        }
    }

    /// Says a line to the process.
    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
        self.input.flush().unwrap();
    }

    /// CPU time of each of its threads in nanoseconds, user and system together, as the scheduler counts it.
    pub fn cpu(&self) -> Cpu {
        let folder = format!("/proc/{}/task", self.child.id());
        let mut threads = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let id = entry.file_name().into_string().unwrap();
            if let Some(used) = run_time(&entry.path()) {
                threads.insert(id, used);
            }
        }
        Cpu(threads)
    }
}

/// CPU time by thread.
pub struct Cpu(BTreeMap<String, u64>);

impl Cpu {
    /// Nanoseconds that were used since `before`. None when a thread ended in between: what it used is not known.
    pub fn since(&self, before: &Self) -> Option<u64> {
        let ended = before.0.keys().any(|id| !self.0.contains_key(id));
        let used = |(id, now): (&String, &u64)| now - before.0.get(id).copied().unwrap_or_default();
        (!ended).then(|| self.0.iter().map(used).sum())
    }
}

/// The first number of `schedstat`. None when the thread is gone.
fn run_time(task: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
    text.split(' ').next()?.parse().ok()
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
