//! Writes that fail: a full disk (a small file system of its own, in a mount namespace that ends with the child
//! process), and a disk that breaks off in the middle (a limit on the size of files).

use crate::support::disk::fill;
use crate::support::myself::{folder, myself};
use crate::support::stores::{key, open, put, value};
use cambist::limits;
use cambist::store::{Batch, CommitError, Event, LogId, LogPosition, Store};
use std::path::Path;
use std::process::Command;

const MOUNT: &str =
    "mount -t tmpfs -o size=32m,mode=0700 tmpfs \"$CAMBIST_TEST_FOLDER\" && exec \"$@\"";

#[test]
fn a_revocation_succeeds_on_a_full_disk() {
    if let Some(folder) = folder() {
        return on_a_small_disk(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c", MOUNT, "sh"]);
    let test = "store_embedded::full_disk::a_revocation_succeeds_on_a_full_disk";
    run(myself(test, folder.path(), unshare));
}

fn run(mut child: Command) {
    let output = child.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}");
    assert!(out.contains("1 passed"), "the child ran no test: {out}");
}

/// Files end at ten MiB in the child; the signal that says so is ignored, so that writes fail.
const LIMIT: &str = "trap '' XFSZ; ulimit -f 20480; exec \"$@\"";

#[test]
fn a_commit_that_fails_half_way_ends_writing_until_the_store_is_opened_again() {
    if let Some(folder) = folder() {
        return on_a_failing_disk(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    limited.args(["-c", LIMIT, "sh"]);
    let test = "store_embedded::full_disk::a_commit_that_fails_half_way_ends_writing_until_the_store_is_opened_again";
    run(myself(test, folder.path(), limited));
}

#[tokio::main]
async fn on_a_failing_disk(folder: &Path) {
    let path = folder.join("store.db");
    let store = open(&path).unwrap();
    // A load in progress keeps the write-ahead log growing, until it cannot.
    for number in 0..=limits::STORE_PAGE {
        store
            .commit(put(&format!("small/{number}"), ""))
            .await
            .unwrap();
    }
    assert!(store.load("", None).await.unwrap().next.is_some());
    let mut last = store.revision().await.unwrap();
    let mut events = store.watch(last).await.unwrap();
    let content = |revision: u64| vec![u8::try_from(revision % 251).unwrap(); limits::STORE_VALUE];
    let outcome = loop {
        match store.commit(put("large", content(last.counter + 1))).await {
            Ok(revision) => last = revision,
            Err(error) => break error,
        }
    };
    assert!(matches!(outcome, CommitError::Unknown(_)), "{outcome:?}");
    // Nothing is written any more, not even with the reserve, and nothing is confirmed; reading goes on.
    for batch in [put("a", ""), revocation(1)] {
        let outcome = store.commit(batch).await;
        assert!(
            matches!(outcome, Err(CommitError::Refused(_))),
            "{outcome:?}"
        );
    }
    assert!(store.watch(last).await.is_err());
    assert_eq!(store.revision().await.unwrap(), last);
    assert_eq!(
        store.read(&key("large")).await.unwrap().unwrap().value,
        value(content(last.counter))
    );
    store.close().await;
    while let Some(event) = events.recv().await {
        if let Event::Changed { revision, .. } | Event::Current { revision, .. } = event {
            assert!(last.covers(&revision));
        }
    }
    // Opened again, the unknown one has happened or has not, whole.
    let store = open(&path).unwrap();
    let head = store.revision().await.unwrap().counter;
    assert!(head == last.counter || head == last.counter + 1);
    assert_eq!(
        store.read(&key("large")).await.unwrap().unwrap().value,
        value(content(head))
    );
    store.commit(put("a", "")).await.unwrap();
    store.close().await;
}

fn revocation(number: u32) -> Batch {
    let batch = Batch::new().put_lasting(key(&format!("revoked/{number}")), value("1"));
    batch.unwrap().record(vec![b'r'; 300]).unwrap().reserved()
}

fn reserve(folder: &Path) -> u64 {
    folder.join("store.db-reserve").metadata().unwrap().len()
}

#[tokio::main]
async fn on_a_small_disk(folder: &Path) {
    let (path, junk) = (folder.join("store.db"), folder.join("junk"));
    let store = open(&path).unwrap();
    store.commit(put("a", "1")).await.unwrap();
    assert_eq!(reserve(folder), limits::STORE_RESERVE);
    fill(&junk);

    // An ordinary commit fails sooner or later, cleanly, and everything goes on being readable.
    let mut last = store.revision().await.unwrap();
    let large = vec![b'x'; limits::STORE_VALUE];
    let refused = loop {
        match store.commit(put("large", &large)).await {
            Ok(revision) => last = revision,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&refused, CommitError::Refused(why) if why.contains("full")),
        "{refused:?}"
    );
    assert_eq!(store.revision().await.unwrap(), last);
    assert_eq!(
        store.read(&key("a")).await.unwrap().unwrap().value,
        value("1")
    );
    assert_eq!(
        reserve(folder),
        limits::STORE_RESERVE,
        "an ordinary commit took from the reserve"
    );

    // Revocations go on.
    for number in 0..300 {
        last = store.commit(revocation(number)).await.unwrap();
        fill(&junk);
    }
    // Whatever else takes the room that is freed, most of the reserve is left.
    let left = reserve(folder);
    assert!(
        left < limits::STORE_RESERVE && left > limits::STORE_RESERVE / 2,
        "{left}"
    );
    let refused = store.commit(put("large", &large)).await;
    assert!(
        matches!(&refused, Err(CommitError::Refused(why)) if why.contains("reserve")),
        "{refused:?}"
    );
    let refused = store.commit(put("small", "")).await;
    assert!(
        matches!(refused, Err(CommitError::Refused(_))),
        "what is left is not for this"
    );

    // So they do after a restart on the full disk.
    store.close().await;
    fill(&junk);
    let store = open(&path).unwrap();
    assert_eq!(store.revision().await.unwrap(), last);
    last = store.commit(revocation(300)).await.unwrap();
    store
        .drained(LogPosition {
            log: LogId(1),
            sequence: 7,
            counter: last.counter,
        })
        .await
        .unwrap();
    for number in 0..=300 {
        let name = key(&format!("revoked/{number}"));
        assert!(store.read(&name).await.unwrap().is_some());
    }

    // The reserve ends at some point, which is said and harms nothing.
    let mut number = 1_000;
    let refused = loop {
        let filler = Batch::new().put(key(&format!("revoked/{number}")), value(&large));
        match store.commit(filler.unwrap().reserved()).await {
            Ok(revision) => last = revision,
            Err(error) => break error,
        }
        fill(&junk);
        number += 1;
    };
    assert!(
        matches!(&refused, CommitError::Refused(why) if why.contains("used up")),
        "{refused:?}"
    );
    assert_eq!(store.revision().await.unwrap(), last);

    // With room, everything is as before, the reserve too.
    std::fs::remove_file(&junk).unwrap();
    store.commit(put("small", "")).await.unwrap();
    assert_eq!(reserve(folder), limits::STORE_RESERVE);
    store.close().await;
    let store = open(&path).unwrap();
    assert_eq!(store.revision().await.unwrap().counter, last.counter + 1);
    store.close().await;
}
