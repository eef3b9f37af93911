//! kill -9 under load: every record that was acknowledged is in the log, in its place.

use crate::support::log::{RESERVE, open};
use crate::support::myself::{folder, myself};
use cambist::audit::{Act, ActKind, Disk, read};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const WRITERS: usize = 16;
const ROUNDS: u64 = 5;
const ACKNOWLEDGED_BEFORE_KILL: u64 = 200;

/// Appends until it is killed, and prints each acknowledged sequence with the target it was for.
#[tokio::main]
async fn append_until_killed(folder: &Path) {
    let (log, recovered) = open(folder).unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0_u64.. {
                let target = format!("{}-{writer}-{n}", recovered.next);
                let act = Act {
                    target: Some(&target),
                    ..Act::new(ActKind::Admin, "key.create")
                };
                let receipt = log.event(&act).await.unwrap();
                // One write, so that the parent never sees half a line of two.
                let line = format!("acknowledged {} {target}\n", receipt.index);
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill_in_its_place() {
    if let Some(folder) = folder() {
        return append_until_killed(&folder);
    }
    let test = "audit_kill::what_was_acknowledged_survives_a_kill_in_its_place";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 1..=ROUNDS {
        let mut child = myself(test, folder.path(), Command::new("env"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        for line in output.lines() {
            let line = line.unwrap();
            let mut words = line
                .split(' ')
                .skip_while(|word| *word != "acknowledged")
                .skip(1);
            if let (Some(sequence), Some(target)) = (words.next(), words.next()) {
                let sequence: u64 = sequence.parse().unwrap();
                assert_eq!(acknowledged.insert(sequence, target.to_owned()), None);
                seen += 1;
                if seen == ACKNOWLEDGED_BEFORE_KILL * round {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(
            seen >= ACKNOWLEDGED_BEFORE_KILL * round,
            "the child ended early"
        );
        runtime.block_on(verify(folder.path(), &acknowledged));
    }
}

async fn verify(folder: &Path, acknowledged: &BTreeMap<u64, String>) {
    // A start comes first: it is what makes a log out of what a crash left.
    let (log, recovered) = open(folder).unwrap();
    log.close().await;
    drop(log);
    let device = Arc::new(Disk::open(folder, RESERVE).unwrap());
    let records: Vec<_> = read::records(device, 0)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records.len() as u64, recovered.next);
    for (sequence, target) in acknowledged {
        let record = &records[usize::try_from(*sequence).unwrap()];
        assert_eq!(record.sequence, *sequence);
        let line: serde_json::Value = serde_json::from_slice(&record.line).unwrap();
        assert_eq!(line["target"], **target);
    }
}
