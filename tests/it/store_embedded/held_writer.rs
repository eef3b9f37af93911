//! What queues up behind a busy writer: how much of it is taken, and in what transactions it is written.

use crate::support::stores::{PATIENCE, key, put, value};
use cambist::clock::{Clock, SystemClock, SystemRandomness};
use cambist::limits;
use cambist::store::embedded::EmbeddedStore;
use cambist::store::{Batch, CommitError, Reply, Revision, Store};
use jiff::Timestamp;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The writer's clock: whoever asks it for the time while it is armed tells so, and waits.
#[derive(Debug)]
struct Gate {
    clock: Arc<SystemClock>,
    armed: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            clock: SystemClock::shared(),
            armed: Mutex::default(),
        })
    }

    /// Holds the writer at its next confirmation, when it has nothing else to do. Dropping the answer lets it go.
    fn hold(&self) -> Sender<()> {
        let (entered, held) = channel();
        let (release, released) = channel();
        *self.armed.lock().unwrap() = Some((entered, released));
        held.recv_timeout(PATIENCE).unwrap();
        release
    }
}

impl Clock for Gate {
    fn now(&self) -> Timestamp {
        let armed = self.armed.lock().unwrap().take();
        if let Some((entered, released)) = armed {
            entered.send(()).unwrap();
            // Until the other end is gone.
            released.recv().unwrap_err();
        }
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

fn open(path: &Path, gate: &Arc<Gate>) -> EmbeddedStore {
    EmbeddedStore::open(path, Arc::<Gate>::clone(gate), SystemRandomness::shared()).unwrap()
}

type Commit<'a> = Reply<'a, Result<Revision, CommitError>>;

/// Hands a commit to the store: it waits now, or the answer is there at once.
fn begin(store: &EmbeddedStore, batch: Batch) -> Result<Commit<'_>, CommitError> {
    let mut commit = store.commit(batch);
    match commit
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Pending => Ok(commit),
        Poll::Ready(answer) => Err(answer.unwrap_err()),
    }
}

/// Commits as many as the queue holds.
fn fill(store: &EmbeddedStore) -> Vec<Commit<'_>> {
    let commits = (0..limits::STORE_QUEUE).map(|_| begin(store, Batch::new()).unwrap());
    commits.collect()
}

#[tokio::test]
async fn commits_beyond_the_queue_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new();
    let store = open(&folder.path().join("store.db"), &gate);
    let held = gate.hold();
    let queued = fill(&store);
    let refused = begin(&store, Batch::new()).err();
    assert!(
        matches!(refused, Some(CommitError::Refused(_))),
        "{refused:?}"
    );
    drop(held);
    for commit in queued {
        commit.await.unwrap();
    }
    let counter = store.revision().await.unwrap().counter;
    assert_eq!(counter, limits::STORE_QUEUE as u64);
    store.close().await;
}

fn revocation() -> Batch {
    let batch = Batch::new().put_lasting(key("revoked"), value("1"));
    batch.unwrap().record(*b"r").unwrap().reserved()
}

/// Whoever takes something away waits its turn where others are refused, and has the next place that is free.
#[tokio::test]
async fn a_revocation_waits_for_its_place_so_long_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new();
    let store = open(&folder.path().join("store.db"), &gate);
    let held = gate.hold();
    let queued = fill(&store);
    // Time passes only while there is nothing else to do.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let refused = store.commit(revocation()).await;
    assert!(
        matches!(refused, Err(CommitError::Refused(_))),
        "{refused:?}"
    );
    let waited = began.elapsed();
    assert!(waited >= limits::STORE_PLACE && waited < 2 * limits::STORE_PLACE);

    let waits = begin(&store, revocation()).unwrap();
    tokio::time::advance(limits::STORE_PLACE - Duration::from_millis(1)).await;
    drop(held);
    for commit in queued {
        // Not for a timer, or it would be late.
        within_this_instant(commit).await.unwrap();
    }
    within_this_instant(waits).await.unwrap();
    let counter = store.revision().await.unwrap().counter;
    assert_eq!(counter, limits::STORE_QUEUE as u64 + 1);
    store.close().await;
}

/// Waits for what another thread does, while no time passes.
async fn within_this_instant<T>(mut work: impl Future<Output = T> + Unpin) -> T {
    let busy = |context: &mut Context<'_>| {
        let polled = Pin::new(&mut work).poll(context);
        context.waker().wake_by_ref();
        polled
    };
    std::future::poll_fn(busy).await
}

#[tokio::test]
async fn a_group_of_commits_shares_its_fsync_up_to_its_bound_and_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let gate = Gate::new();
    let store = open(&path, &gate);
    let mut counter = 0;
    for (count, expected) in [(limits::STORE_GROUP, 1), (limits::STORE_GROUP + 1, 2)] {
        let before = transactions(&path);
        let held = gate.hold();
        let queued: Vec<_> = (0..count)
            .map(|number| begin(&store, put("k", number.to_string())).unwrap())
            .collect();
        drop(held);
        for commit in queued {
            counter += 1;
            assert_eq!(commit.await.unwrap().counter, counter);
        }
        assert_eq!(transactions(&path) - before, expected, "{count} commits");
    }
    store.close().await;
}

/// The commit frames of the write-ahead log (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
fn transactions(store: &Path) -> usize {
    let log = std::fs::read(store.with_extension("db-wal")).unwrap();
    let Some((header, frames)) = log.split_at_checked(32) else {
        return 0;
    };
    let page = u32::from_be_bytes(header[8..12].try_into().unwrap());
    let frame = 24 + usize::try_from(page).unwrap();
    let is_commit = |frame: &&[u8]| frame[4..8] != [0; 4] && frame[8..16] == header[16..24];
    frames.chunks_exact(frame).filter(is_commit).count()
}
