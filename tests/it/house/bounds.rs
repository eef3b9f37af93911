//! Every bound protects something, and every "no" was said to someone.

use super::source::{self, Named};
use cambist::refusal::{Code, Fault};
use std::collections::BTreeSet;
use std::fs;

/// Bounds that no test names, and why.
const UNTESTED: &[(&str, &str)] = &[
    (
        "APPLY",
        "a wait for a change on its way; tests meet the wait itself with other times",
    ),
    (
        "BACKLOG",
        "a size that we ask of the kernel, which keeps it",
    ),
    (
        "CLIENT_ADDRESSES",
        "a share of the time to connect, kept by the HTTP client; a dead first address is tested",
    ),
    (
        "CONNECTIONS_PER_SOURCE",
        "a default: tests meet the configured value",
    ),
    (
        "CONNECTION_AGE",
        "a default: tests meet the configured value",
    ),
    (
        "CONNECTION_GRACE",
        "passed in with the listener's settings: tests meet a shorter one",
    ),
    (
        "CONNECTION_WINDOW",
        "a size that we give HTTP/2, which keeps it",
    ),
    (
        "FEED_SILENCE",
        "passed in with the feed's settings: tests meet a shorter one",
    ),
    (
        "FETCH",
        "a wait of seconds for a peer that does not answer, kept by the HTTP client",
    ),
    ("FILE_POLL", "a pace: tests look more often"),
    ("HANDSHAKE", "a default: tests meet the configured value"),
    ("IDLE", "a default: tests meet the configured value"),
    (
        "LOG_ARCHIVE_FLOOR_BYTES",
        "free space of a real disk, which no test fills to the byte; that any write may fail for want of room is tested",
    ),
    (
        "LOG_PARTING",
        "a wait of seconds at the stop, for a server that does not answer",
    ),
    (
        "LOG_PARTY_CALL",
        "a wait of seconds for a peer that does not answer, kept by the HTTP client; one that hangs is tested",
    ),
    (
        "LOG_PARTY_RETRY_MAX",
        "a pause that nothing remote prolongs",
    ),
    (
        "LOG_PARTY_RETRY_MIN",
        "a pace: tests wait for what comes after it",
    ),
    (
        "LOG_REFUSAL_FLOOR_BYTES",
        "passed in with the log's options: tests meet a smaller one",
    ),
    (
        "LOG_RESERVE_BYTES",
        "a size that we keep, not one that input reaches; tests keep a smaller one",
    ),
    ("LOG_SEGMENT_AGE", "a default: tests meet a shorter one"),
    (
        "POLICY_STACK",
        "what policies at POLICY_NESTING and POLICY_OPERATORS need; with less the process would end",
    ),
    (
        "PRUNE_AT_ONCE",
        "passed in with the look at what is old: tests meet a smaller one",
    ),
    (
        "PROOF_WAIT",
        "passed in with what is waited for: tests meet a shorter one",
    ),
    (
        "READER_PATIENCE",
        "passed in with what is sent to a reader: tests meet a shorter one",
    ),
    (
        "READER_TIME",
        "passed in with what is sent to a reader: tests meet a shorter one",
    ),
    ("REPLICA_RETRY", "a pause that nothing remote prolongs"),
    (
        "SPEND_ATTEMPTS",
        "a race lost sixteen times in a row; how races end is tested",
    ),
    (
        "STORE_BUSY",
        "a wait of seconds for another program on this machine, kept by SQLite",
    ),
    ("STORE_CHUNK", "how a file grows, not how far"),
    (
        "STORE_HEARTBEAT",
        "a pace: tests wait for confirmations, not for seconds",
    ),
    (
        "STORE_READERS",
        "a read beyond it waits its turn and is answered alike: nothing to be seen from outside",
    ),
    ("STORE_REDO", "ten million keys in memory"),
    (
        "STORE_RESERVE_STEP",
        "how a reserve is given up, not how large it is",
    ),
    ("STREAMS", "a default: tests meet the configured value"),
    (
        "STREAM_WINDOW",
        "a size that we give HTTP/2, which keeps it",
    ),
    (
        "UNREAD",
        "two items of our own making: no input adds to them",
    ),
    (
        "WRITE_ATTEMPTS",
        "a race lost sixteen times in a row; how races end is tested",
    ),
];

/// A bound that no code applies protects nothing, and one that no test meets may be deleted unseen (invariant 7).
#[test]
fn every_limit_is_applied_and_tested() {
    let (limits, others): (Vec<_>, Vec<_>) = source::rust()
        .into_iter()
        .partition(|source| ["src/limits.rs", "src/limits/log.rs"].contains(&&*source.path));
    let (mut applied, mut tested) = (BTreeSet::new(), BTreeSet::new());
    for source in &others {
        if source.path.starts_with("src/") {
            applied.extend(limits_among(source.names()));
        }
        // What tests lean on tests nothing itself.
        if !source.path.starts_with("tests/it/support/") {
            tested.extend(limits_among(source.test_names()));
        }
    }
    let all: Vec<_> = limits.iter().flat_map(|one| constants(&one.text)).collect();
    assert!(all.len() > 100, "found {} limits only", all.len());
    let named = |names: &BTreeSet<String>, name: &&str| names.contains(*name);
    let idle: Vec<_> = all.iter().filter(|name| !named(&applied, name)).collect();
    assert!(idle.is_empty(), "nothing applies {idle:?} of src/limits.rs");
    let untested: BTreeSet<_> = all
        .into_iter()
        .filter(|name| !named(&tested, name))
        .collect();
    let excused: BTreeSet<_> = UNTESTED.iter().map(|(name, _)| *name).collect();
    assert_eq!(untested, excused, "without a test, and excused from one");
}

/// The limits that paths name.
fn limits_among(names: Vec<Named>) -> impl Iterator<Item = String> {
    names.into_iter().filter_map(|named| {
        let (before, name) = named.path.rsplit_once("::")?;
        (before == "limits" || before.ends_with("::limits")).then(|| name.to_owned())
    })
}

/// Every code is met by a test, by its name or as it is on the wire, or told of where users look.
#[test]
fn every_code_is_seen_in_a_test_or_told_in_the_readme() {
    let readme = fs::read_to_string(source::root().join("README.md")).unwrap();
    let tests = source::rust()
        .into_iter()
        .filter(|source| !source.path.contains("/house"));
    let tests: Vec<String> = tests
        .map(|source| source.test_code().split_whitespace().collect())
        .collect();
    let is_seen = |kind: &str, name: &str, code: &str| {
        let name = format!("{kind}::{name}");
        let quoted = format!("\"{code}\"");
        let is_named = |test: &String| {
            test.match_indices(&name)
                .any(|(at, _)| !test[at + name.len()..].starts_with(char::is_alphanumeric))
        };
        readme.contains(&format!("`{code}`"))
            || tests
                .iter()
                .any(|test| test.contains(&quoted) || is_named(test))
    };
    let codes = Code::ALL
        .iter()
        .filter(|code| !is_seen("Code", &format!("{code:?}"), code.code()))
        .map(|code| code.code());
    let faults = Fault::ALL
        .iter()
        .filter(|fault| !is_seen("Fault", &format!("{fault:?}"), fault.code()))
        .map(|fault| fault.code());
    let unseen: Vec<_> = codes.chain(faults).collect();
    assert!(unseen.is_empty(), "no test meets {unseen:?}");
}

fn constants(text: &str) -> Vec<&str> {
    let names = text.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("pub const ")?.split_once(':')?;
        Some(name)
    });
    names.collect()
}
