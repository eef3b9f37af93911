//! One kind of system call after the other fails now and then under the running broker: those of the log's writer, of its
//! publisher and of the store.

use super::load::{Received, by_certificate, received};
use super::log::assert_recorded;
use crate::support::broker::{LOOK, Site, refusal};
use crate::support::edge::within;
use crate::support::long;
use std::fs;
use std::path::Path;

/// Kind of call, error, whether each run tries it.
const CALLS: &[(&str, &str, bool)] = &[
    ("statx", "EIO", true),
    ("openat", "EMFILE", true),
    ("syncfs", "EIO", true),
    ("rename", "EIO", false),
    ("fsync", "EIO", false),
    ("mkdir", "ENOSPC", false),
    ("getdents64", "EIO", false),
    ("lseek", "EIO", false),
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
