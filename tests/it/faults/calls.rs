//! One kind of system call after the other fails now and then under the running broker: those of the log's writer, of its
//! publisher and of the store.

use super::load::{Received, by_certificate, received};
use super::log::{assert_recorded, until_issued};
use crate::support::broker::{LOOK, Site, refusal, segments};
use crate::support::edge::{until, within};
use crate::support::long;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Kind of call, error, whether each run tries it. What only those make who read the log again, a start or a query, is not
/// among them: `lseek`. What the writer calls only when another segment follows, or at a start, is failed in
/// [`super::following`] and [`super::opening`].
const CALLS: &[(&str, &str, bool)] = &[
    ("statx", "EIO", true),
    ("openat", "EMFILE", true),
    ("syncfs", "EIO", true),
    ("rename", "EIO", false),
    ("fsync", "EIO", false),
    ("mkdir", "ENOSPC", false),
    ("getdents64", "EIO", false),
];

/// Tokens asked for in one run.
const ASKED: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_now_and_then_loses_nothing_that_was_told() {
    for (call, error, always) in CALLS {
        if *always || long() {
            under(call, error).await;
        }
    }
}

async fn under(call: &str, error: &str) {
    let site = Site::new();
    assert_eq!(site.start().await.terminate().await.code(), Some(0));
    // How often it is called by the time that the broker is ready: what is meant is how it runs, not how it starts.
    let (told, started) = (site.path("calls"), site.path("started"));
    let trace = format!("trace={call}");
    let traced = |out: &Path, more: &[&str]| {
        let out = out.to_str().unwrap().to_owned();
        // Only the calls that are meant are stopped at: the others would take many times as long.
        let mut wrapper = vec![
            "strace",
            "--seccomp-bpf",
            "-D",
            "-f",
            "-qq",
            "-e",
            &trace,
            "-o",
            &out,
        ];
        wrapper.extend(more);
        site.wrapped(&wrapper)
    };
    let mut broker = site.run(traced(&started, &[])).await;
    broker.kill9().await;
    let started = fs::read_to_string(&started).unwrap();
    let before = started.matches(&format!("{call}(")).count();
    let inject = format!("inject={call}:error={error}:when={}+5", before + 1);
    let mut broker = site.run_unready(traced(&told, &["-e", &inject])).await;
    let client = broker.web().await;
    let mut tokens: Vec<Received> = Vec::new();
    let mut checkpoints = Vec::new();
    let injected = || fs::read_to_string(&told).is_ok_and(|text| text.contains("(INJECTED)"));
    // Some are called by the publisher alone, once a second.
    let asked = async {
        for asked in 0.. {
            match client.exchange(by_certificate()).await {
                Ok(answer) => tokens.push(received(&answer)),
                Err(status) => {
                    let code = refusal(&status);
                    let faults = ["log_unavailable", "state_stale", "store_unavailable"];
                    assert!(faults.contains(&code.as_str()), "{call}: {status:?}");
                    tokio::time::sleep(LOOK).await;
                }
            }
            checkpoints.extend(site.checkpoint());
            if asked >= ASKED {
                if injected() {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    within(&format!("{call} to fail"), asked).await;
    println!("{call} {error}: {} tokens", tokens.len());
    broker.kill9().await;
    let mut broker = site.start().await;
    broker.web().await.yes(by_certificate()).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert_recorded(&site.path("data/log"), &tokens);
    checkpoints.dedup();
    site.verify_log(&mut checkpoints);
}

/// What the power leaves of a new segment is a matter of the order of these calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_durable_before_it_has_its_name_and_its_name_before_it_is_used() {
    let site = Site::new();
    let out = site.path("calls");
    let (calls, to) = ("trace=write,fsync,fdatasync,rename", out.to_str().unwrap());
    let strace = ["strace", "-D", "-f", "-qq", "-y", "-e", calls, "-o", to];
    let mut broker = site.run(site.wrapped(&strace)).await;
    let client = broker.web().await;
    client.yes(by_certificate()).await;
    // The next one, with a gap record, follows a segment that somebody else wrote to.
    let log = site.path("data/log");
    let last = segments(&log).pop().unwrap();
    let mut last = File::options().append(true).open(last).unwrap();
    last.write_all(b"{}\n").unwrap();
    // Whoever asks is refused, unless that was noticed before.
    until_issued(&client, &by_certificate()).await;
    until("another segment", async || segments(&log).len() == 2).await;
    broker.kill9().await;
    let told = fs::read_to_string(&out).unwrap();
    let told: Vec<_> = told
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let named = |call: &str| call.trim_start().starts_with("rename(") && call.contains(".seg\"");
    let renames: Vec<_> = (0..told.len()).filter(|at| named(told[*at].1)).collect();
    assert_eq!(renames.len(), 2, "{told:#?}");
    for at in renames {
        let thread = told[at].0;
        let is_own = |(_, call): &(usize, &(&str, &str))| call.0 == thread;
        let own: Vec<_> = told.iter().enumerate().filter(is_own).collect();
        // Of one that others interrupt the beginning counts: in one thread it ends before the next begins.
        let begun = |call: &&str| !call.contains("resumed>");
        let own = own.iter().map(|(at, call)| (*at, call.1.trim_start()));
        let own: Vec<_> = own.filter(|(_, call)| begun(call)).collect();
        let rename = own.iter().position(|(line, _)| *line == at).unwrap();
        let is = |index: usize, call: &str, path: &str| {
            let text = own[index].1;
            assert!(text.starts_with(call) && text.contains(path), "{text}");
        };
        is(rename - 2, "write(", "/next>");
        is(rename - 1, "fsync(", "/next>");
        is(rename + 1, "fsync(", "/data/log>");
        // Whoever writes to it begins after that.
        let name = own[rename].1.rsplit('/').next().unwrap();
        let name = format!("/{}>", name.split('"').next().unwrap());
        let used = told.iter().position(|(_, call)| call.contains(&name));
        assert!(used.unwrap() > own[rename + 1].0, "{name}");
    }
}
