//! Records that were committed with changes of the store reach the log exactly once, in order.

use crate::audit::testing::{Effect, Memory, Step, context, minted, open};
use crate::audit::{Act, ActKind, Log, Outbox};
use crate::limits;
use crate::store::{
    Batch, CommitError, Cursor, Entry, Event, Incarnation, Key, LoadError, LogPosition,
    OutboxEntry, Page, Reply, Revision, Store, StoreFault,
};
use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

pub(super) fn revision(counter: u64) -> Revision {
    Revision {
        incarnation: Incarnation(7),
        counter,
    }
}

pub(in crate::audit) fn entry(log: &Log, counter: u64, action: &str) -> OutboxEntry {
    let record = log
        .encoder()
        .act(&Act::new(ActKind::Admin, action))
        .unwrap();
    OutboxEntry {
        revision: revision(counter),
        record: record.into(),
        effects: Vec::new(),
    }
}

/// A store that is nothing but an outbox.
#[derive(Debug, Default)]
struct OnlyOutbox {
    entries: Mutex<Vec<OutboxEntry>>,
    positions: Mutex<Vec<LogPosition>>,
    /// How many calls of `drained` fail.
    failures: Mutex<u32>,
    /// How many calls of `outbox` fail, and when each was made.
    unreadable: Mutex<u32>,
    asked: Mutex<Vec<tokio::time::Instant>>,
}

impl OnlyOutbox {
    fn push(&self, entry: OutboxEntry) {
        self.entries.lock().unwrap().push(entry);
    }

    fn ends(&self) -> Vec<u64> {
        let positions = self.positions.lock().unwrap();
        positions.iter().map(|position| position.counter).collect()
    }

    /// Waits until it is told that everything up to there is in the log.
    async fn told(&self, counter: u64) {
        let told = async {
            while self.ends().last() != Some(&counter) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, told).await.unwrap();
    }
}

fn no<T: Send + 'static>() -> Reply<'static, Result<T, StoreFault>> {
    Box::pin(async { Err(StoreFault("not here".to_owned())) })
}

impl Store for OnlyOutbox {
    fn revision(&self) -> Reply<'_, Result<Revision, StoreFault>> {
        no()
    }
    fn read<'a>(&'a self, _: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreFault>> {
        no()
    }
    fn load<'a>(&'a self, _: &'a str, _: Option<Cursor>) -> Reply<'a, Result<Page, LoadError>> {
        Box::pin(async { Err(LoadError::Restart) })
    }
    fn commit(&self, _: Batch) -> Reply<'_, Result<Revision, CommitError>> {
        Box::pin(async { Err(CommitError::Conflict) })
    }
    fn watch(&self, _: Revision) -> Reply<'_, Result<mpsc::Receiver<Event>, StoreFault>> {
        no()
    }
    fn outbox(&self, limit: usize) -> Reply<'_, Result<Vec<OutboxEntry>, StoreFault>> {
        self.asked.lock().unwrap().push(tokio::time::Instant::now());
        let mut unreadable = self.unreadable.lock().unwrap();
        if *unreadable > 0 {
            *unreadable -= 1;
            return no();
        }
        let entries = self.entries.lock().unwrap();
        let page = entries.iter().take(limit).cloned().collect();
        Box::pin(async { Ok(page) })
    }
    fn drained(&self, position: LogPosition) -> Reply<'_, Result<(), StoreFault>> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return no();
        }
        let mut entries = self.entries.lock().unwrap();
        entries.retain(|entry| entry.revision.counter > position.counter);
        self.positions.lock().unwrap().push(position);
        Box::pin(async { Ok(()) })
    }
    fn log_position(&self) -> Reply<'_, Result<Option<LogPosition>, StoreFault>> {
        no()
    }
}

fn actions(device: &Arc<Memory>) -> Vec<String> {
    let records = device.power_cut().records();
    let acts = records.iter().filter(|record| record["kind"] == "admin");
    acts.map(|act| {
        format!(
            "{} {}",
            act["store"]["rev"].as_str().unwrap(),
            act["action"].as_str().unwrap()
        )
    })
    .collect()
}

fn line(counter: u64, action: &str) -> String {
    format!("{} {action}", revision(counter))
}

#[tokio::test]
async fn a_change_has_passed_once_it_is_applied_and_its_record_is_durable() {
    let device = Memory::new();
    let opened = open(&device);
    let store = Arc::new(OnlyOutbox::default());
    store.push(entry(&opened.log, 1, "key.create"));
    store.push(entry(&opened.log, 2, "key.revoke"));
    let (apply, applied) = watch::channel(revision(1));
    let (outbox, drain) = Outbox::new(Arc::clone(&store) as _, opened.log.clone(), applied);
    let draining = tokio::spawn(drain.run());
    outbox.passed(revision(1)).await.unwrap();
    assert_eq!(actions(&device), [line(1, "key.create")]);
    apply.send_replace(revision(3));
    outbox.passed(revision(3)).await.unwrap();
    assert_eq!(
        actions(&device),
        [line(1, "key.create"), line(2, "key.revoke")]
    );
    drop(apply);
    draining.await.unwrap();
    assert!(outbox.passed(revision(4)).await.is_err());
    let last = store.positions.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.sequence, last.counter), (1, 2));
}

/// However many issues wait, a revocation finds its place.
#[tokio::test]
async fn a_full_queue_keeps_no_revocation_out() {
    let device = Memory::new();
    let opened = open(&device);
    let store = Arc::new(OnlyOutbox::default());
    store.push(entry(&opened.log, 1, "key.revoke"));
    device.hold(true);
    let flood: Vec<_> = (0..limits::LOG_QUEUE)
        .map(|n| opened.log.issue(minted(n as u128), &context()))
        .collect();
    assert!(opened.log.issue(minted(0), &context()).await.is_err());
    let (_apply, applied) = watch::channel(revision(1));
    let (outbox, drain) = Outbox::new(Arc::clone(&store) as _, opened.log.clone(), applied);
    let draining = tokio::spawn(drain.run());
    let passed = tokio::spawn(async move { outbox.passed(revision(1)).await });
    // It is in the queue, or was refused, before anything is written.
    while opened.log.stats().queued.load(Ordering::Acquire) <= limits::LOG_QUEUE
        && !passed.is_finished()
    {
        tokio::task::yield_now().await;
    }
    device.hold(false);
    passed.await.unwrap().unwrap();
    assert_eq!(actions(&device), [line(1, "key.revoke")]);
    drop(flood);
    draining.abort();
}

/// A store that was put back from a backup has a new incarnation, and in its outbox what waited there under the old one.
#[tokio::test]
async fn what_an_earlier_incarnation_left_is_drained_first() {
    for left in [1, u64::try_from(limits::LOG_OUTBOX_PAGE).unwrap()] {
        let device = Memory::new();
        let opened = open(&device);
        let store = Arc::new(OnlyOutbox::default());
        // Also when the store cannot be told of it at once.
        *store.failures.lock().unwrap() = 1;
        let before = |counter| Revision {
            incarnation: Incarnation(6),
            counter,
        };
        for counter in 1..=left {
            store.push(OutboxEntry {
                revision: before(counter),
                ..entry(&opened.log, counter, "key.revoke")
            });
        }
        store.push(entry(&opened.log, left + 1, "key.create"));
        store.push(entry(&opened.log, left + 2, "not.applied"));
        let (_apply, applied) = watch::channel(revision(left + 1));
        let (outbox, drain) = Outbox::new(Arc::clone(&store) as _, opened.log.clone(), applied);
        let draining = tokio::spawn(drain.run());
        store.told(left + 1).await;
        outbox.passed(revision(left + 1)).await.unwrap();
        let mut expected: Vec<_> = (1..=left)
            .map(|counter| format!("{} key.revoke", before(counter)))
            .collect();
        expected.push(line(left + 1, "key.create"));
        assert_eq!(actions(&device), expected);
        draining.abort();
    }
}

#[tokio::test]
async fn what_waits_is_drained_page_by_page_in_order() {
    let device = Memory::new();
    let opened = open(&device);
    let store = Arc::new(OnlyOutbox::default());
    let page = u64::try_from(limits::LOG_OUTBOX_PAGE).unwrap();
    let count = page * 2 + 1;
    for counter in 1..=count {
        store.push(entry(&opened.log, counter, "key.create"));
    }
    let (_apply, applied) = watch::channel(revision(count));
    let (outbox, drain) = Outbox::new(Arc::clone(&store) as _, opened.log.clone(), applied);
    let draining = tokio::spawn(drain.run());
    outbox.passed(revision(count)).await.unwrap();
    store.told(count).await;
    assert_eq!(store.ends(), [page, page * 2, count]);
    let expected: Vec<_> = (1..=count)
        .map(|counter| line(counter, "key.create"))
        .collect();
    assert_eq!(actions(&device), expected);
    draining.abort();
}

/// The crash comes between the log's commit and the store's; also with a log that begins a new segment
/// in between, so that only its header remembers.
#[tokio::test]
async fn after_a_crash_nothing_is_written_twice() {
    for rotated in [false, true] {
        let device = Memory::new();
        let opened = open(&device);
        let waiting = [entry(&opened.log, 1, "a"), entry(&opened.log, 2, "b")];
        opened.log.take_over(&waiting).await.unwrap();
        if rotated {
            device.fail(Step::Sync, Effect::Fails, ErrorKind::Other);
            let event = opened.log.event(&Act::new(ActKind::Start, "start"));
            assert!(event.await.is_err());
        }
        opened.log.close().await;
        let device = device.power_cut();
        let again = open(&device);
        let drained = again.recovered.drained.unwrap();
        assert_eq!((drained.revision, drained.sequence), (revision(2), 1));
        let store = Arc::new(OnlyOutbox::default());
        waiting.into_iter().for_each(|entry| store.push(entry));
        store.push(entry(&again.log, 3, "c"));
        let (_apply, applied) = watch::channel(revision(3));
        let (outbox, drain) = Outbox::new(Arc::clone(&store) as _, again.log.clone(), applied);
        let draining = tokio::spawn(drain.run());
        outbox.passed(revision(3)).await.unwrap();
        assert_eq!(actions(&device), [line(1, "a"), line(2, "b"), line(3, "c")]);
        draining.abort();
    }
}

#[tokio::test]
async fn a_fault_is_told_and_then_overcome() {
    let device = Memory::new();
    let opened = open(&device);
    let store = Arc::new(OnlyOutbox::default());
    *store.failures.lock().unwrap() = 1;
    store.push(entry(&opened.log, 1, "key.revoke"));
    device.fail(Step::Append, Effect::Short, ErrorKind::Other);
    device.break_down(Step::Create);
    let (_apply, applied) = watch::channel(revision(1));
    let (outbox, drain) = Outbox::new(Arc::clone(&store) as _, opened.log.clone(), applied);
    let draining = tokio::spawn(drain.run());
    assert!(outbox.passed(revision(1)).await.is_err());
    device.mend();
    while outbox.passed(revision(1)).await.is_err() {
        tokio::task::yield_now().await;
    }
    while store.positions.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(actions(&device), [line(1, "key.revoke")]);
    draining.abort();
}

#[tokio::test]
async fn an_entry_that_is_no_record_holds_nothing_up_and_breaks_nothing() {
    let device = Memory::new();
    let opened = open(&device);
    for (counter, bytes) in [
        (1, &b"{\"kind\":\"issue\"}"[..]),
        (2, b"{\"kind\":\"admin\"}\n{\"kind\":\"admin\"}"),
        (3, b"{\"kind\":\"admin\",}"),
        (4, b"\xff"),
    ] {
        let bad = OutboxEntry {
            revision: revision(counter),
            record: bytes.into(),
            effects: Vec::new(),
        };
        opened.log.take_over(&[bad]).await.unwrap();
    }
    opened.log.close().await;
    let records = device.power_cut().records();
    assert_eq!(records.len(), 4);
    for record in records {
        assert_eq!(record["kind"], "recovery");
        assert_eq!(record["action"], "outbox.unreadable");
        assert_eq!(record["change"]["sha256"].as_str().unwrap().len(), 43);
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_after_the_first_pause_and_then_twice_as_late_each_time() {
    let device = Memory::new();
    let opened = open(&device);
    let store = Arc::new(OnlyOutbox::default());
    *store.unreadable.lock().unwrap() = 9;
    let (_applied, at) = watch::channel(revision(0));
    let (outbox, drain) = Outbox::new(store.clone(), opened.log.clone(), at);
    let draining = tokio::spawn(drain.run());
    while outbox.passed(revision(0)).await.is_err() {
        tokio::time::sleep(limits::LOG_RETRY_MIN).await;
    }
    draining.abort();
    let asked = store.asked.lock().unwrap().clone();
    let pauses: Vec<_> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    let expected = (0..9).map(|n| (limits::LOG_RETRY_MIN * (1 << n)).min(limits::LOG_RETRY_MAX));
    assert_eq!(pauses, expected.collect::<Vec<_>>());
}
