//! kill -9: this test starts itself again as the process that is killed.

use crate::support::myself::{folder, myself};
use crate::support::stores::{key, load_all, open, put, value};
use cambist::store::{Batch, CommitError, Expect, Store};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

#[test]
fn what_was_acknowledged_before_kill_9_is_there() {
    if let Some(folder) = folder() {
        return write_until_killed(&folder.join("store.db"));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut pairs, mut spent) = (0_u64, Vec::new());
    for round in 0..6_usize {
        let test = "store_embedded::child::what_was_acknowledged_before_kill_9_is_there";
        let mut child = myself(test, folder.path(), Command::new("env"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after another number of acknowledgements each time, with more on the way.
        let mut left = 40 + round * 37;
        for line in lines.by_ref().map_while(Result::ok) {
            note(&line, &mut pairs, &mut spent, &mut left);
            if left == 0 {
                child.kill().unwrap();
                break;
            }
        }
        // What it had said before it died counts too.
        for line in lines.map_while(Result::ok) {
            note(&line, &mut pairs, &mut spent, &mut left);
        }
        child.wait().unwrap();
        assert_eq!(left, 0, "the child ended by itself");
        runtime.block_on(check(&path, pairs, &spent));
    }
    assert!(spent.len() > 6);
}

fn note(line: &str, pairs: &mut u64, spent: &mut Vec<String>, left: &mut usize) {
    match line.split_once(' ') {
        Some(("pair", number)) => *pairs = number.parse().unwrap(),
        Some(("spent", name)) => spent.push(name.to_owned()),
        _ => return,
    }
    *left = left.saturating_sub(1);
}

/// Opens what the killed process left.
async fn check(path: &Path, pairs: u64, spent: &[String]) {
    let store = open(path).unwrap();
    let number = |text: &str| {
        let (store, name) = (&store, key(text));
        async move {
            let entry = store.read(&name).await.unwrap().unwrap();
            String::from_utf8(entry.value.as_bytes().to_vec())
                .unwrap()
                .parse::<u64>()
                .unwrap()
        }
    };
    let (left, right) = (number("pair/left").await, number("pair/right").await);
    assert_eq!(left, right, "half of a batch");
    assert!(left >= pairs, "{left} is there, {pairs} was acknowledged");
    for name in spent {
        let again = put(name, "again")
            .expect(key(name), Expect::Absent)
            .unwrap();
        assert_eq!(
            store.commit(again).await,
            Err(CommitError::Conflict),
            "{name} spent twice"
        );
    }
    // As many records as pairs: each was committed with its own.
    let records = store.outbox(usize::MAX).await.unwrap();
    assert_eq!(u64::try_from(records.len()).unwrap(), left);
    load_all(&store, "").await;
    store.close().await;
}

#[tokio::main]
async fn write_until_killed(path: &Path) {
    let store = Arc::new(open(path).unwrap());
    let spender = Arc::clone(&store);
    tokio::spawn(async move {
        for number in 0_u64.. {
            let name = format!("spent/{number}");
            let spend = put(&name, "1").expect(key(&name), Expect::Absent);
            // An earlier run spent the first ones.
            if spender.commit(spend.unwrap()).await.is_ok() {
                say(&format!("spent {name}"));
            }
        }
    });
    let mut number = match store.read(&key("pair/left")).await.unwrap() {
        Some(entry) => String::from_utf8(entry.value.as_bytes().to_vec())
            .unwrap()
            .parse()
            .unwrap(),
        None => 0_u64,
    };
    loop {
        number += 1;
        let text = value(number.to_string());
        let batch = Batch::new().put(key("pair/left"), text.clone()).unwrap();
        let batch = batch.put(key("pair/right"), text).unwrap();
        store.commit(batch.record(*b"r").unwrap()).await.unwrap();
        say(&format!("pair {number}"));
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // One write a line, so that a killed process leaves no half of one before the next.
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}
