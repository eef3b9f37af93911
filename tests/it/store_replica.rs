//! The replica: whatever the store does that it may do, the state ends up equal, and never lies about itself.

use crate::support::clock::testing::TestClock;
use crate::support::hostile_store::{Fault, HostileStore, Hostility};
use crate::support::stores::{PATIENCE, clock, key, open, put, value};
use cambist::clock::Clock;
use cambist::limits;
use cambist::revocation::{HotSet, Label};
use cambist::store::recovery::CUTOFF;
use cambist::store::replica::{Apply, NotApplied, Replica, StartError};
use cambist::store::{Batch, CommitError, Entry, Key, Op, Revision, Store, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A part that keeps what it is given, refuses the value `bad`, and checks that revisions do not go back.
#[derive(Debug)]
struct Part {
    prefix: &'static str,
    state: Mutex<(BTreeMap<Key, Value>, Option<Revision>)>,
}

impl Part {
    fn new(prefix: &'static str) -> Arc<Self> {
        Arc::new(Self {
            prefix,
            state: Mutex::default(),
        })
    }

    fn content(&self) -> BTreeMap<Key, Value> {
        self.state.lock().unwrap().0.clone()
    }
}

fn readable(value: &Value) -> Result<(), String> {
    match value.as_bytes() {
        b"bad" => Err("not readable".to_owned()),
        _ => Ok(()),
    }
}

impl Apply for Part {
    fn prefix(&self) -> &str {
        self.prefix
    }

    fn reset(&self, entries: &[Entry], revision: Revision) -> Result<(), String> {
        assert!(
            entries
                .iter()
                .all(|entry| entry.key.as_str().starts_with(self.prefix))
        );
        entries
            .iter()
            .try_for_each(|entry| readable(&entry.value))?;
        let mut state = self.state.lock().unwrap();
        let content = entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.clone()));
        *state = (content.collect(), Some(revision));
        Ok(())
    }

    fn apply(&self, op: &Op, revision: Revision) -> Result<(), String> {
        assert!(op.key().as_str().starts_with(self.prefix));
        let mut state = self.state.lock().unwrap();
        if let Some(last) = state
            .1
            .filter(|last| last.incarnation == revision.incarnation)
        {
            assert!(revision.counter >= last.counter, "{revision} after {last}");
        }
        match op {
            Op::Put(key, value) => {
                readable(value)?;
                state.0.insert(key.clone(), value.clone());
            }
            Op::Delete(key) => {
                state.0.remove(key);
            }
        }
        state.1 = Some(revision);
        Ok(())
    }
}

async fn start(
    store: &HostileStore,
    parts: &[Arc<Part>],
    clock: Arc<dyn Clock>,
) -> (Replica, CancellationToken) {
    let stop = CancellationToken::new();
    let parts = parts
        .iter()
        .map(|part| Arc::clone(part) as Arc<dyn Apply>)
        .collect();
    let started = Replica::start(Arc::new(store.clone()), parts, clock, stop.clone());
    (started.await.unwrap().0, stop)
}

/// Waits until `done` holds at some applied revision or confirmation.
async fn until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test]
async fn the_state_converges_whatever_the_store_does() {
    for seed in 0..16 {
        let store = HostileStore::new(seed, Hostility::FULL, clock());
        store.commit(put("a/0", "early")).await.ok();
        let parts = [Part::new("a/"), Part::new("ab/"), Part::new("")];
        let (replica, stop) = start(&store, &parts, clock()).await;
        let writers: Vec<_> = (0..3)
            .map(|writer: u32| {
                let store = store.clone();
                tokio::spawn(async move {
                    for number in 0..60_u32 {
                        let name =
                            format!("{}/{}", ["a", "ab", "c"][(number % 3) as usize], number % 7);
                        let batch = match number % 5 {
                            0 => Batch::new().delete(key(&name)).unwrap(),
                            _ => put(&name, format!("{writer}-{number}")),
                        };
                        store.commit(batch).await.ok();
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        store.become_as(Hostility::CALM);
        let last = store.commit(put("last", "1")).await.unwrap();
        replica.applied(last, PATIENCE).await.unwrap();
        let content = store.content();
        for part in &parts {
            let expected: BTreeMap<_, _> = content
                .iter()
                .filter(|(key, _)| key.as_str().starts_with(part.prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(
                part.content(),
                expected,
                "seed {seed}, part {:?}",
                part.prefix
            );
        }
        assert_eq!(replica.rejected(), Vec::<String>::new());
        stop.cancel();
    }
}

#[tokio::test]
async fn a_change_that_was_not_delivered_is_noticed() {
    let gaps = Hostility {
        gaps: 30,
        ..Hostility::CALM
    };
    let store = HostileStore::new(5, gaps, clock());
    let part = Part::new("");
    let (replica, stop) = start(&store, std::slice::from_ref(&part), clock()).await;
    for number in 0..60 {
        store.commit(put(&format!("k/{number}"), "")).await.unwrap();
        tokio::task::yield_now().await;
    }
    store.become_as(Hostility::CALM);
    let last = store.commit(put("last", "1")).await.unwrap();
    replica.applied(last, PATIENCE).await.unwrap();
    assert_eq!(part.content(), store.content());
    stop.cancel();
}

#[tokio::test]
async fn it_is_fresh_only_as_long_as_the_store_confirms() {
    let time = TestClock::at(1_000);
    let store = HostileStore::calm(time.clone());
    let part = Part::new("");
    let (replica, stop) = start(&store, &[part], time.clone()).await;
    until(|| replica.as_of().is_some()).await;
    let as_of = replica.as_of().unwrap();
    assert_eq!(as_of, time.now());
    let budget = limits::STALENESS;
    assert!(replica.is_fresh_now(budget));
    assert!(replica.is_fresh(as_of + budget, budget));
    assert!(!replica.is_fresh(as_of + budget + Duration::from_millis(1), budget));
    assert!(!replica.is_fresh(as_of - budget - Duration::from_millis(1), budget));
    // A confirmation carries the store's instant, not the one at which it came.
    time.advance(7);
    store.beat();
    until(|| replica.as_of() == Some(time.now())).await;
    // The store is away: time goes by, the state and its instant stay.
    store.become_as(Hostility {
        faults: 100,
        ..Hostility::CALM
    });
    store.drop_watchers();
    let last = replica.as_of();
    time.advance(61);
    assert_eq!(replica.as_of(), last);
    assert!(!replica.is_fresh_now(budget));
    // It is back.
    store.become_as(Hostility::CALM);
    until(|| replica.is_fresh_now(budget)).await;
    stop.cancel();
}

#[tokio::test]
async fn nothing_is_fresh_before_the_first_confirmation() {
    let store = HostileStore::new(3, Hostility::CALM, clock());
    let stop = CancellationToken::new();
    let part: Arc<dyn Apply> = Part::new("");
    let (replica, _task) = Replica::start(Arc::new(store), vec![part], clock(), stop)
        .await
        .unwrap();
    // The task has not run yet: everything is loaded, nothing confirmed.
    assert_eq!(replica.as_of(), None);
    assert!(!replica.is_fresh_now(Duration::MAX));
}

#[tokio::test]
async fn waiting_for_a_revision_ends_one_way_or_the_other() {
    let store = HostileStore::calm(clock());
    let (replica, stop) = start(&store, &[Part::new("")], clock()).await;
    let first = store.commit(put("a", "1")).await.unwrap();
    replica.applied(first, PATIENCE).await.unwrap();
    let ahead = Revision {
        counter: first.counter + 1,
        ..first
    };
    assert_eq!(
        replica.applied(ahead, Duration::from_millis(50)).await,
        Err(NotApplied::Late)
    );
    let mut revisions = replica.subscribe();
    store.commit(put("a", "2")).await.unwrap();
    replica.applied(ahead, PATIENCE).await.unwrap();
    revisions
        .wait_for(|revision| revision.covers(&ahead))
        .await
        .unwrap();
    // Of an incarnation that has ended, nothing comes any more.
    store.renew();
    let renewed = store.commit(put("a", "2")).await.unwrap();
    replica.applied(renewed, PATIENCE).await.unwrap();
    let old = replica.applied(ahead, Duration::from_millis(50)).await;
    assert_eq!(old, Err(NotApplied::Late));
    // An outcome that is not known may still happen, and is then applied like any other.
    store.script([Fault::UnknownHappened]);
    assert!(matches!(
        store.commit(put("a", "3")).await,
        Err(CommitError::Unknown(_))
    ));
    let unknown = Revision {
        counter: renewed.counter + 1,
        ..renewed
    };
    replica.applied(unknown, PATIENCE).await.unwrap();
    let waiting = {
        let replica = replica.clone();
        tokio::spawn(async move {
            replica
                .applied(
                    Revision {
                        counter: 99,
                        ..unknown
                    },
                    PATIENCE,
                )
                .await
        })
    };
    tokio::task::yield_now().await;
    stop.cancel();
    assert_eq!(waiting.await.unwrap(), Err(NotApplied::Ended));
}

#[tokio::test]
async fn a_bad_value_leaves_the_old_one_and_is_not_called_applied() {
    let store = HostileStore::calm(clock());
    store.commit(put("a/1", "good")).await.unwrap();
    let (good, other) = (Part::new("a/"), Part::new("b/"));
    let (replica, stop) = start(&store, &[good.clone(), other.clone()], clock()).await;
    until(|| replica.is_fresh_now(PATIENCE)).await;
    let bad = store.commit(put("a/1", "bad")).await.unwrap();
    let outcome = replica.applied(bad, PATIENCE).await;
    assert!(
        matches!(&outcome, Err(NotApplied::Rejected(why)) if why.contains("a/1")),
        "{outcome:?}"
    );
    assert_eq!(good.content()[&key("a/1")], value("good"));
    assert!(!replica.is_fresh_now(PATIENCE));
    assert_eq!(replica.rejected().len(), 1);
    assert!(!replica.is_sound("a/") && replica.is_sound("b/"));
    // Other keys and parts go on; only the same key's next value mends it.
    let next = store
        .commit(put("b/1", "x").put(key("a/2"), value("y")).unwrap())
        .await
        .unwrap();
    assert!(replica.applied(next, PATIENCE).await.is_err());
    assert_eq!(other.content().len() + good.content().len(), 3);
    let mended = store.commit(put("a/1", "better")).await.unwrap();
    replica.applied(mended, PATIENCE).await.unwrap();
    assert!(replica.is_fresh_now(PATIENCE) && replica.rejected().is_empty());
    assert!(replica.is_sound("a/"));
    assert_eq!(good.content()[&key("a/1")], value("better"));
    stop.cancel();
}

/// A marker that cannot be read may be of a later version: nobody is told that nothing is missing.
#[tokio::test]
async fn watchers_are_not_told_that_they_are_fresh_where_a_marker_is_missing() {
    let store = HostileStore::calm(clock());
    let (hot, other) = (Arc::<HotSet>::default(), Part::new("b/"));
    let marked = [
        cambist::inventory::KEY_PREFIX,
        cambist::keys::PREFIX,
        CUTOFF,
    ];
    let mut parts: Vec<Arc<dyn Apply>> = vec![Arc::clone(&hot) as _, other];
    parts.extend(marked.map(|prefix| Part::new(prefix) as _));
    let stop = CancellationToken::new();
    let started = Replica::start(Arc::new(store.clone()), parts, clock(), stop.clone()).await;
    let (replica, _) = started.unwrap();
    until(|| Label::of(&replica).as_of.is_some()).await;
    let elsewhere = store.commit(put("b/1", "bad")).await.unwrap();
    assert!(replica.applied(elsewhere, PATIENCE).await.is_err());
    assert!(Label::of(&replica).as_of.is_some());
    // What else of the store becomes markers, by the names that its parts give it.
    for prefix in marked {
        let name = format!("{prefix}x");
        let bad = store.commit(put(&name, "bad")).await.unwrap();
        assert!(replica.applied(bad, PATIENCE).await.is_err());
        assert_eq!(Label::of(&replica).as_of, None, "{name}");
        let mended = store.commit(put(&name, "good")).await.unwrap();
        assert!(
            replica.applied(mended, PATIENCE).await.is_err(),
            "b/1 stays"
        );
        until(|| Label::of(&replica).as_of.is_some()).await;
    }
    let name = "marker/AAAAAAAAAAAAAAAAAAAAAA";
    let bad = store.commit(put(name, "bad")).await.unwrap();
    assert!(replica.applied(bad, PATIENCE).await.is_err());
    assert_eq!(Label::of(&replica).as_of, None);
    assert_eq!(Label::of(&replica).revision, bad);
    stop.cancel();
}

#[tokio::test]
async fn a_load_that_is_refused_leaves_the_old_state_whole_until_one_is_taken() {
    let store = HostileStore::calm(clock());
    store.commit(put("a/1", "one")).await.unwrap();
    let part = Part::new("a/");
    let (replica, stop) = start(&store, std::slice::from_ref(&part), clock()).await;
    let before = part.content();
    // While nobody watches, a bad value comes, and the history goes.
    store.become_as(Hostility {
        faults: 100,
        ..Hostility::CALM
    });
    store.drop_watchers();
    store
        .commit(put("a/2", "bad").put(key("a/3"), value("three")).unwrap())
        .await
        .unwrap();
    store.compact();
    store.become_as(Hostility::CALM);
    until(|| !replica.rejected().is_empty()).await;
    assert_eq!(
        part.content(),
        before,
        "a load is taken whole or not at all"
    );
    assert!(!replica.is_fresh_now(PATIENCE));
    // A change of this part alone would leave `a/3` out: it loads again.
    let mended = store.commit(put("a/2", "two")).await.unwrap();
    until(|| replica.rejected().is_empty()).await;
    replica.applied(mended, PATIENCE).await.unwrap();
    assert_eq!(part.content(), store.content());
    stop.cancel();
}

#[tokio::test]
async fn refused_values_are_named_up_to_the_bound_and_none_is_forgotten() {
    let store = HostileStore::calm(clock());
    let part = Part::new("a/");
    let (replica, stop) = start(&store, std::slice::from_ref(&part), clock()).await;
    let name = |number: usize| format!("a/{number:03}");
    let (bound, count) = (limits::REPLICA_FAULTS, limits::REPLICA_FAULTS * 2);
    let mut begin = 0;
    // Past the bound, one reason stands for all further values.
    for (end, named) in [
        (bound, bound),
        (bound + 1, bound + 1),
        (bound + 2, bound + 1),
        (count, bound + 1),
    ] {
        let bad = (begin..end).fold(Batch::new(), |batch, number| {
            batch.put(key(&name(number)), value("bad")).unwrap()
        });
        let revision = store.commit(bad).await.unwrap();
        assert!(replica.applied(revision, PATIENCE).await.is_err());
        assert_eq!(replica.rejected().len(), named, "{end} bad values");
        begin = end;
    }
    for number in 0..count {
        store.commit(put(&name(number), "good")).await.unwrap();
    }
    until(|| replica.rejected().is_empty()).await;
    assert_eq!(part.content().len(), count);
    stop.cancel();
}

#[tokio::test]
async fn it_does_not_start_on_what_it_cannot_use_and_can_be_stopped_while_it_waits() {
    let store = HostileStore::calm(clock());
    store.commit(put("a/1", "bad")).await.unwrap();
    let stop = CancellationToken::new();
    let begin = |store: &HostileStore| {
        let part: Arc<dyn Apply> = Part::new("a/");
        Replica::start(Arc::new(store.clone()), vec![part], clock(), stop.clone())
    };
    let refused = begin(&store).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(&refused, StartError::Rejected(why) if why.contains("a/")),
        "{refused}"
    );
    store.become_as(Hostility {
        faults: 100,
        ..Hostility::CALM
    });
    let waiting = begin(&store);
    let canceller = stop.clone();
    tokio::spawn(async move { canceller.cancel() });
    assert_eq!(
        waiting.await.map(|_| ()).unwrap_err(),
        StartError::Cancelled
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_the_embedded_store_through_a_new_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder.path().join("store.db")).unwrap());
    store.commit(put("a/1", "one")).await.unwrap();
    let part = Part::new("a/");
    let stop = CancellationToken::new();
    let (replica, task) = Replica::start(store.clone(), vec![part.clone()], clock(), stop.clone())
        .await
        .unwrap();
    until(|| replica.is_fresh_now(limits::STALENESS)).await;
    let revision = store.commit(put("a/2", "two")).await.unwrap();
    replica.applied(revision, PATIENCE).await.unwrap();
    store.renew().await.unwrap();
    let revision = store
        .commit(Batch::new().delete(key("a/1")).unwrap())
        .await
        .unwrap();
    replica.applied(revision, PATIENCE).await.unwrap();
    assert_eq!(part.content(), BTreeMap::from([(key("a/2"), value("two"))]));
    stop.cancel();
    task.await.unwrap();
    store.close().await;
}
