//! Recovery: a backup that was put back neither un-revokes nor un-spends.

mod compared;
mod monotone;

use crate::support::hostile_store::{Fault, HostileStore};
use crate::support::stores::{clock, key, open, put, value};
use cambist::store::embedded::{EmbeddedStore, restore};
use cambist::store::recovery::{
    CUTOFF, CutOff, Lineage, LogEnd, Recovery, RedoError, RollbackError, accept_rollback, decide,
    redo,
};
use cambist::store::{
    Batch, CommitError, Incarnation, LogId, LogPosition, Revision, Store, StoreMember,
};
use jiff::Timestamp;
use std::convert::Infallible;

const LOG: LogId = LogId(0xa);

fn at(incarnation: u128, counter: u64) -> Revision {
    Revision {
        incarnation: Incarnation(incarnation),
        counter,
    }
}

fn position(sequence: u64, counter: u64) -> Option<LogPosition> {
    Some(LogPosition {
        log: LOG,
        sequence,
        counter,
    })
}

fn end(sequence: u64, taken: Option<Revision>) -> Option<LogEnd> {
    Some(LogEnd {
        log: LOG,
        sequence,
        taken,
        taken_at: taken.map(|_| sequence),
    })
}

fn member(revision: Revision, batch: &Batch) -> String {
    let member = StoreMember {
        rev: revision,
        effect: batch.effects(),
    };
    serde_json::to_string(&member).unwrap()
}

type Members = Vec<Result<(u64, String), Infallible>>;

#[test]
fn a_log_that_cannot_be_complete_is_said_to_be() {
    let store = Lineage {
        revision: at(2, 3),
        ancestors: vec![at(1, 3)],
        log: None,
    };
    let plain = |counter| member(at(1, counter), &Batch::new());
    let ok: Members = vec![Ok((4, plain(3))), Ok((7, plain(4))), Ok((8, plain(6)))];
    assert!(redo(&store, at(1, 6), ok.clone()).unwrap().is_empty());
    // The log was begun anew after this backup, and what the one before it held is lost.
    let cut = Batch::new().put_lasting(key(CUTOFF), value("{}")).unwrap();
    let accepted: Members = vec![Ok((4, plain(4))), Ok((7, member(at(1, 6), &cut)))];
    let begun_anew = redo(&store, at(1, 6), accepted.clone());
    assert!(matches!(begun_anew, Err(RedoError::Lost(7))));
    let known = Lineage {
        log: position(3, 3),
        ..store.clone()
    };
    assert_eq!(redo(&known, at(1, 6), accepted).unwrap().len(), 1);
    let is_gap =
        |taken, members: Members| matches!(redo(&store, taken, members), Err(RedoError::Gap(_)));
    assert!(is_gap(at(1, 7), ok.clone()), "the last record is missing");
    assert!(is_gap(at(1, 6), vec![]), "nothing is there");
    assert!(
        is_gap(at(1, 4), vec![Ok((8, plain(6))), Ok((9, plain(4)))]),
        "revisions in disorder"
    );
    assert!(
        is_gap(at(1, 6), vec![Ok((8, plain(4))), Ok((8, plain(6)))]),
        "a sequence twice"
    );
    for wrong in [
        "",
        "{}",
        r#"{"rev":"1.2"}"#,
        r#"{"rev":"00000000000000000000000000000001.6","effect":[{"put":"k"}]}"#,
    ] {
        let members: Members = vec![Ok((4, wrong.to_owned()))];
        assert!(
            matches!(
                redo(&store, at(1, 6), members),
                Err(RedoError::Member { sequence: 4, .. })
            ),
            "{wrong}"
        );
    }
    let broken = vec![Ok((4, plain(3))), Err("checksum")];
    assert!(matches!(
        redo(&store, at(1, 6), broken),
        Err(RedoError::Log(_))
    ));
}

#[test]
fn what_is_to_be_redone_fits_into_batches() {
    let store = Lineage {
        revision: at(2, 0),
        ancestors: vec![at(1, 0)],
        log: None,
    };
    let members = (1..=250_u64).map(|counter| {
        let batch =
            Batch::new().put_lasting(key(&format!("revoked/{counter}")), value(vec![b'x'; 9_000]));
        Ok::<_, Infallible>((counter, member(at(1, counter), &batch.unwrap())))
    });
    let missing = redo(&store, at(1, 250), members).unwrap();
    assert_eq!(missing.len(), 250);
    let batches = missing.batches().unwrap();
    assert_eq!(
        batches.iter().map(|batch| batch.ops().len()).sum::<usize>(),
        250
    );
    assert!(batches.len() >= 3);
}

/// A log in memory: takes over the outbox as the log writer does.
#[derive(Default)]
struct Log {
    members: Vec<(u64, String)>,
    end: Option<LogEnd>,
}

impl Log {
    async fn drain(&mut self, store: &dyn Store, tell: bool) {
        for entry in store.outbox(1_000).await.unwrap() {
            let taken = self.end.as_ref().and_then(|end| end.taken);
            if taken.is_some_and(|taken| taken.covers(&entry.revision)) {
                continue;
            }
            // Between the store's records there are others.
            let sequence = self.end.as_ref().map_or(5, |end| end.sequence + 3);
            let member = serde_json::to_string(&StoreMember::from(&entry)).unwrap();
            self.members.push((sequence, member));
            self.end = end(sequence, Some(entry.revision));
        }
        let end = self.end.as_ref().unwrap();
        if tell {
            let told = position(end.sequence, end.taken.unwrap().counter).unwrap();
            store.drained(told).await.unwrap();
        }
    }

    /// What the broker does at start, before it serves.
    async fn recover(&self, store: &EmbeddedStore) -> Recovery {
        let end = self.end.as_ref().unwrap();
        let decision = decide(&store.lineage().await.unwrap(), Some(end));
        if let Recovery::Untold(position) = decision {
            store.drained(position).await.unwrap();
        }
        if let Recovery::StoreBehind { from_sequence } = decision {
            let lineage = store.lineage().await.unwrap();
            let from = self
                .members
                .iter()
                .filter(|(sequence, _)| *sequence >= from_sequence);
            let members = from.cloned().map(Ok::<_, Infallible>);
            let missing = redo(&lineage, end.taken.unwrap(), members).unwrap();
            store.renew().await.unwrap();
            let held = missing.held;
            for batch in missing.batches().unwrap() {
                store.commit(batch).await.unwrap();
            }
            let told = position(end.sequence, held).unwrap();
            store.drained(told).await.unwrap();
        }
        decision
    }
}

fn lasting(name: &str, content: &str) -> Batch {
    let batch = Batch::new().put_lasting(key(name), value(content)).unwrap();
    batch
        .record(format!("{name} is {content}").into_bytes())
        .unwrap()
}

async fn content(store: &dyn Store, name: &str) -> Option<String> {
    let entry = store.read(&key(name)).await.unwrap()?;
    Some(String::from_utf8(entry.value.as_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn a_restored_backup_gets_back_what_must_not_be_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (
        folder.path().join("store.db"),
        folder.path().join("copy.db"),
    );
    let mut log = Log::default();
    let store = open(&path).unwrap();
    store.commit(lasting("uses/k", "3")).await.unwrap();
    log.drain(&store, true).await;
    store.commit(lasting("uses/k", "2")).await.unwrap();
    // Suspended, and taken back before the backup: that stays as the backup has it.
    store.commit(lasting("suspended/k", "yes")).await.unwrap();
    let resumed = Batch::new().delete(key("suspended/k")).unwrap();
    store
        .commit(resumed.record(*b"resumed").unwrap())
        .await
        .unwrap();
    // The record of the second spend waits in the backup's outbox, and is in the log soon after.
    store.backup(&copy).await.unwrap();
    store.commit(lasting("uses/k", "1")).await.unwrap();
    store.commit(lasting("revoked/x", "yes")).await.unwrap();
    store
        .commit(put("label", "late").record(*b"label").unwrap())
        .await
        .unwrap();
    log.drain(&store, true).await;
    store.close().await;
    restore(&copy, &path, true).unwrap();

    let store = open(&path).unwrap();
    assert_eq!(content(&store, "uses/k").await.unwrap(), "2");
    assert!(matches!(
        log.recover(&store).await,
        Recovery::StoreBehind { .. }
    ));
    assert_eq!(content(&store, "uses/k").await.unwrap(), "1");
    assert_eq!(content(&store, "revoked/x").await.unwrap(), "yes");
    assert_eq!(content(&store, "suspended/k").await, None);
    assert_eq!(
        content(&store, "label").await,
        None,
        "only what lasts is redone"
    );
    assert_eq!(
        store.outbox(9).await.unwrap(),
        [],
        "the log had this record already"
    );
    assert_eq!(log.recover(&store).await, Recovery::InStep);
    // Life goes on, and the two stay in step.
    let records = log.members.len();
    store.commit(lasting("uses/k", "0")).await.unwrap();
    log.drain(&store, true).await;
    assert_eq!(log.members.len(), records + 1);
    assert_eq!(log.recover(&store).await, Recovery::InStep);
    store.close().await;
}

/// The same backup, an older one and one of the time between: each gets back everything that was taken away since.
#[tokio::test]
async fn a_backup_may_be_put_back_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let copies = ["older", "newer", "between"].map(|name| folder.path().join(name));
    let mut log = Log::default();
    let mut store = open(&path).unwrap();
    store.commit(lasting("uses/k", "5")).await.unwrap();
    log.drain(&store, true).await;
    store.backup(&copies[0]).await.unwrap();
    store.commit(lasting("uses/k", "4")).await.unwrap();
    // The record of the last spend waits in the backup's outbox.
    store.backup(&copies[1]).await.unwrap();
    store.commit(lasting("revoked/x", "yes")).await.unwrap();
    log.drain(&store, true).await;
    for (round, copy) in [1, 1, 0, 2, 1, 0].into_iter().enumerate() {
        store.close().await;
        restore(&copies[copy], &path, true).unwrap();
        store = open(&path).unwrap();
        let decision = log.recover(&store).await;
        assert!(
            matches!(decision, Recovery::StoreBehind { .. }),
            "round {round}: {decision:?}"
        );
        let left = format!("{}", 4_usize.saturating_sub(round));
        assert_eq!(content(&store, "uses/k").await.unwrap(), left);
        assert_eq!(content(&store, "revoked/x").await.unwrap(), "yes");
        for n in 0..round {
            let revoked = format!("revoked/{n}");
            assert_eq!(content(&store, &revoked).await.unwrap(), "yes");
        }
        assert_eq!(
            store.outbox(9).await.unwrap(),
            [],
            "the log had these records already"
        );
        assert_eq!(log.recover(&store).await, Recovery::InStep);
        let spent = format!("{}", 3_usize.saturating_sub(round));
        store.commit(lasting("uses/k", &spent)).await.unwrap();
        log.drain(&store, true).await;
        if round == 1 {
            store.backup(&copies[2]).await.unwrap();
        }
        let revoked = lasting(&format!("revoked/{round}"), "yes");
        store.commit(revoked).await.unwrap();
        log.drain(&store, true).await;
    }
    store.close().await;
}

/// The crash came between the log's commit and the store's, with records of two incarnations in one page: none of them is
/// appended again.
#[tokio::test]
async fn what_the_log_has_leaves_the_outbox_before_it_is_drained() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (
        folder.path().join("store.db"),
        folder.path().join("copy.db"),
    );
    let mut log = Log::default();
    let store = open(&path).unwrap();
    store.commit(lasting("uses/k", "2")).await.unwrap();
    store.backup(&copy).await.unwrap();
    store.close().await;
    restore(&copy, &path, true).unwrap();
    let store = open(&path).unwrap();
    let last = store.commit(lasting("uses/k", "1")).await.unwrap();
    log.drain(&store, false).await;
    assert_eq!(store.outbox(9).await.unwrap().len(), 2);
    let told = position(8, last.counter).unwrap();
    assert_eq!(log.recover(&store).await, Recovery::Untold(told));
    assert_eq!(store.outbox(9).await.unwrap(), []);
    assert_eq!(log.recover(&store).await, Recovery::InStep);
    store.close().await;
}

#[tokio::test]
async fn a_store_that_lost_its_newest_revisions_gets_them_back_under_a_new_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut log = Log::default();
    let store = open(&path).unwrap();
    store.commit(lasting("uses/k", "3")).await.unwrap();
    log.drain(&store, true).await;
    store.close().await;
    // The file as it was, without what the write-ahead log gets from now on: a disk that lied.
    let early = std::fs::read(&path).unwrap();
    let store = open(&path).unwrap();
    let lost = store.commit(lasting("uses/k", "2")).await.unwrap();
    log.drain(&store, false).await;
    store.close().await;
    std::fs::write(&path, early).unwrap();

    let store = open(&path).unwrap();
    assert!(matches!(
        log.recover(&store).await,
        Recovery::StoreBehind { .. }
    ));
    assert_eq!(content(&store, "uses/k").await.unwrap(), "2");
    // The lost counter was served with other content: it must not come again.
    assert_ne!(
        store.revision().await.unwrap().incarnation,
        lost.incarnation
    );
    assert_eq!(log.recover(&store).await, Recovery::InStep);
    store.close().await;
}

#[tokio::test]
async fn an_accepted_rollback_suspends_and_never_moves_the_cut_off_back() {
    let store = HostileStore::calm(clock());
    let cutoff = async || -> Option<Timestamp> {
        let entry = store.read(&key(CUTOFF)).await.unwrap()?;
        Some(
            serde_json::from_slice::<CutOff>(entry.value.as_bytes())
                .unwrap()
                .at,
        )
    };
    let second = |second| Timestamp::from_second(second).unwrap();
    let suspend = || {
        vec![
            lasting("key/one", "suspended"),
            lasting("key/two", "suspended"),
        ]
    };
    // While a suspension is not certain, there is no cut-off: the next start asks again.
    for fault in [Fault::Refused, Fault::UnknownLost, Fault::UnknownHappened] {
        store.script([fault]);
        let outcome = accept_rollback(&store, second(50), suspend(), b"r").await;
        assert!(matches!(
            outcome,
            Err(RollbackError::Commit(
                CommitError::Refused(_) | CommitError::Unknown(_)
            ))
        ));
        assert_eq!(cutoff().await, None);
    }
    store.fill(Some(100));
    let accepted = accept_rollback(&store, second(100), suspend(), b"accepted").await;
    assert_eq!(accepted.unwrap().at, second(100));
    let revision = store.revision().await.unwrap();
    assert_eq!(cutoff().await, Some(second(100)));
    for name in ["key/one", "key/two"] {
        assert_eq!(content(&store, name).await.unwrap(), "suspended");
    }
    let records = store.outbox(99).await.unwrap();
    let last = records.last().unwrap();
    assert_eq!(
        (last.revision, &*last.record, last.effects.len()),
        (revision, &b"accepted"[..], 1)
    );
    let accepted = accept_rollback(&store, second(90), vec![], b"r").await;
    assert_eq!(accepted.unwrap().at, second(100));
    assert_eq!(cutoff().await, Some(second(100)));
    accept_rollback(&store, second(110), vec![], b"r")
        .await
        .unwrap();
    assert_eq!(cutoff().await, Some(second(110)));
    // An unreadable cut-off is not overwritten.
    store.fill(None);
    store.commit(put(CUTOFF, "what?")).await.unwrap();
    let outcome = accept_rollback(&store, second(120), vec![], b"r").await;
    assert!(matches!(outcome, Err(RollbackError::Value(_))));
}
