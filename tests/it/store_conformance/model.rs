//! Any run of commits against a model: a map, and the history of all changes.

use crate::support::hostile_store::{HostileStore, Hostility};
use crate::support::stores::{change, clock, key, load_all, open, value};
use cambist::store::{Batch, CommitError, Event, Expect, Key, Op, Store, Value};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One step of the model: compares and changes over a handful of keys.
type Step = (Vec<(u8, Option<u8>)>, Vec<(u8, Option<u8>)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || prop::collection::vec((0..5_u8, prop::option::of(0..4_u8)), 0..4);
    prop::collection::vec((some(), some()), 1..25)
}

/// The model: a map, and the whole history of maps.
async fn follows_the_model(store: Arc<dyn Store>, steps: Vec<Step>) {
    let mut model: BTreeMap<Key, (Value, u64)> = BTreeMap::new();
    let mut histories = vec![Vec::new()];
    let start = store.revision().await.unwrap();
    for (compares, changes) in steps {
        let name = |number: u8| key(&format!("k{number}"));
        let mut batch = Batch::new();
        let mut holds = true;
        for (number, back) in compares {
            // Some compares are right by construction, the others mostly wrong.
            let known = model.get(&name(number)).map(|(_, at)| *at);
            let expect = match back {
                None => Expect::Absent,
                Some(0) => known.map_or(Expect::Absent, Expect::Unmodified),
                Some(back) => Expect::Unmodified(u64::from(back)),
            };
            holds &= match expect {
                Expect::Absent => known.is_none(),
                Expect::Unmodified(at) => known == Some(at),
            };
            batch = batch.expect(name(number), expect).unwrap();
        }
        for (number, content) in changes {
            batch = match content {
                Some(content) => batch.put(name(number), value([content])).unwrap(),
                None => batch.delete(name(number)).unwrap(),
            };
        }
        let ops = batch.ops().to_vec();
        let outcome = store.commit(batch).await;
        if !holds {
            assert_eq!(outcome, Err(CommitError::Conflict));
            continue;
        }
        let revision = outcome.unwrap();
        assert_eq!(revision.counter, u64::try_from(histories.len()).unwrap());
        for op in &ops {
            match op {
                Op::Put(key, value) => {
                    model.insert(key.clone(), (value.clone(), revision.counter));
                }
                Op::Delete(key) => {
                    model.remove(key);
                }
            }
        }
        histories.push(ops);
    }
    let (entries, revision, _) = load_all(store.as_ref(), "").await;
    assert_eq!(
        revision.counter,
        u64::try_from(histories.len()).unwrap() - 1
    );
    let found: BTreeMap<_, _> = entries
        .into_iter()
        .map(|entry| (entry.key, (entry.value, entry.modified)))
        .collect();
    assert_eq!(found, model);
    let mut events = store.watch(start).await.unwrap();
    for (counter, expected) in histories.into_iter().enumerate().skip(1) {
        let Some(Event::Changed { revision, ops }) = change(&mut events).await else {
            panic!("no revision {counter}");
        };
        assert_eq!(revision.counter, u64::try_from(counter).unwrap());
        assert_eq!(ops.to_vec(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_run_of_commits_follows_the_model(steps in steps(), seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let hostile = HostileStore::new(seed, Hostility::CALM, clock());
            follows_the_model(Arc::new(hostile), steps.clone()).await;
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store.db");
            let store = Arc::new(open(&path).unwrap());
            follows_the_model(store.clone(), steps).await;
            let before = load_all(store.as_ref(), "").await;
            store.close().await;
            // Closed and opened again, it is the same.
            let store = open(&path).unwrap();
            assert_eq!(load_all(&store, "").await, before);
            store.close().await;
        });
    }
}
