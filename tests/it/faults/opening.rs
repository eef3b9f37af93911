//! The calls by which a start opens the log fail one by one: the start is refused, with the file that it is about, and the
//! next one finds everything; or it goes on as it should.

use super::injected::{Injected, SEGMENT};
use super::load::{by_certificate, by_key, create, received, revoke};
use super::log::assert_recorded;
use super::seen::Seen;
use crate::support::broker::Site;
use crate::support::edge::within;
use crate::support::long;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

const RESERVE: &str = "reserve";

/// What a crash left.
type Left = fn(&Path);

/// A tail that no reply depended on.
fn torn(log: &Path) {
    let segment = File::options().append(true).open(log.join(SEGMENT));
    segment.unwrap().write_all(b"{\"torn").unwrap();
}

/// No reserve.
fn gone(log: &Path) {
    fs::remove_file(log.join(RESERVE)).unwrap();
}

/// A reserve that was to become a segment.
fn begun(log: &Path) {
    fs::write(log.join(RESERVE), "{}").unwrap();
}

fn nothing(_: &Path) {}

/// Call, error, file, what was left, what the start says, whether each run tries it.
const OPENING: &[(&str, &str, &str, Left, &str, bool)] = &[
    ("flock", "ENOLCK", "lock", nothing, "data/log", false),
    ("getdents64", "EIO", "", nothing, "data/log", false),
    ("openat", "EMFILE", SEGMENT, nothing, SEGMENT, false),
    ("read", "EIO", SEGMENT, nothing, SEGMENT, false),
    // The last batch is made durable once more.
    ("ftruncate", "EIO", SEGMENT, torn, SEGMENT, true),
    ("lseek", "EIO", SEGMENT, torn, SEGMENT, false),
    ("write", "EIO", SEGMENT, torn, SEGMENT, true),
    ("fsync", "EIO", SEGMENT, torn, SEGMENT, true),
    ("fsync", "EIO", "", nothing, SEGMENT, false),
    ("openat", "EMFILE", RESERVE, nothing, RESERVE, false),
    ("statx", "EIO", RESERVE, nothing, RESERVE, false),
    ("unlink", "EIO", RESERVE, begun, RESERVE, true),
    ("fallocate", "EIO", RESERVE, gone, RESERVE, true),
    ("fallocate", "EOPNOTSUPP", RESERVE, gone, RESERVE, false),
    ("fsync", "EIO", RESERVE, gone, RESERVE, false),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_call_that_opens_the_log_may_fail_at_a_start() {
    let site = Site::new();
    let log = site.path("data/log");
    let mut tokens = Vec::new();
    let mut seen = None;
    for (call, error, file, left, word, always) in OPENING {
        if !always && !long() {
            continue;
        }
        let mut broker = site.start().await;
        seen.get_or_insert_with(|| Seen::of(&log));
        let answer = broker.web().await.yes(by_certificate()).await;
        tokens.push(received(&answer));
        broker.kill9().await;
        left(&log);
        let fault = format!("{call}:error={error}:when=1+");
        let injected = Injected::new(&site, &[&fault], &[file]);
        let mut command = injected.command(&site);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let ended = within("a start to fail", child.wait_with_output()).await;
        let ended = ended.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{fault} of {file:?}: {said}");
        assert!(injected.hit(call), "{fault} of {file:?} came to nothing");
        // In what it ends with, and not only somewhere in what it says on the way.
        let why = said.lines().last().unwrap();
        assert!(why.contains(word), "{fault}: no `{word}` in {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let mut broker = site.start().await;
    broker.web().await.yes(by_certificate()).await;
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert_recorded(&log, &tokens);
    seen.unwrap().holds();
}

/// Nor does another one that is left without.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_has_no_room_for_the_reserve_revokes_and_does_not_issue() {
    let site = Site::new();
    let log = site.path("data/log");
    let mut broker = site.start().await;
    let seen = Seen::of(&log);
    let (id, secret) = create(&mut broker.inventory().await, 0).await.unwrap();
    let answer = broker.anybody().await.yes(by_key(&secret)).await;
    let tokens = [received(&answer)];
    broker.kill9().await;
    gone(&log);
    let injected = Injected::new(&site, &["fallocate:error=ENOSPC:when=1+"], &[RESERVE]);
    let mut broker = site.run_unready(injected.command(&site)).await;
    let told = broker.until_ready(false).await;
    assert!(told.contains("the disk is full"), "{told}");
    assert!(injected.hit("fallocate"));
    let refused = broker.anybody().await.no(by_key(&secret)).await;
    assert_eq!(refused, "log_unavailable");
    revoke(&mut broker.inventory().await, &id).await.unwrap();
    broker.kill9().await;
    let mut broker = site.start().await;
    let refused = broker.anybody().await.no(by_key(&secret)).await;
    assert_eq!(refused, "credential_refused");
    assert_eq!(broker.terminate().await.code(), Some(0));
    assert_recorded(&log, &tokens);
    seen.holds();
}
