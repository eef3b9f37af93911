//! Redoing, over any history and any backup of it.

use super::{Members, at, member};
use crate::support::stores::{key, put, value};
use cambist::store::recovery::{Lineage, redo};
use cambist::store::{Batch, Key, Op, Value};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What happens in the model: on one of a few keys, a use is spent, the key is revoked, or an owner edits it.
#[derive(Clone, Copy, Debug)]
enum Act {
    Spend(u8),
    Revoke(u8),
    Edit(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = (0..3_u8, 0..4_u8).prop_map(|(kind, id)| match kind {
        0 => Act::Spend(id),
        1 => Act::Revoke(id),
        _ => Act::Edit(id),
    });
    prop::collection::vec(act, 1..60)
}

/// The store's content in the model.
type Content = BTreeMap<Key, Value>;

fn batch_of(act: Act, content: &Content) -> Batch {
    match act {
        Act::Spend(id) => {
            let name = key(&format!("uses/{id}"));
            let left = content.get(&name).map_or(100, |left| left.as_bytes()[0]) - 1;
            Batch::new().put_lasting(name, value([left])).unwrap()
        }
        Act::Revoke(id) => Batch::new()
            .put_lasting(key(&format!("revoked/{id}")), value("1"))
            .unwrap(),
        Act::Edit(id) => put(&format!("label/{id}"), "edited"),
    }
}

fn apply(content: &mut Content, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Put(key, value) => content.insert(key.clone(), value.clone()),
            Op::Delete(key) => content.remove(key),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Wherever the backup was taken, however far an earlier redo came: afterwards no use is back and nothing
    /// revoked is good, at any moment between, and redoing again changes nothing.
    #[test]
    fn redoing_is_complete_and_monotone(acts in acts(), backup in 0..60_usize, done: prop::sample::Index) {
        let mut content = Content::new();
        let mut saved = (Content::new(), 0);
        let mut members: Members = Vec::new();
        for (number, act) in acts.iter().enumerate() {
            if number == backup.min(acts.len() - 1) {
                saved = (content.clone(), number);
            }
            let batch = batch_of(*act, &content);
            apply(&mut content, batch.ops());
            let counter = u64::try_from(number).unwrap() + 1;
            members.push(Ok((counter * 3, member(at(1, counter), &batch))));
        }
        let counter = u64::try_from(saved.1).unwrap();
        let store = Lineage { revision: at(2, counter), ancestors: vec![at(1, counter)], log: None };
        let taken = at(1, u64::try_from(acts.len()).unwrap());
        let batches = redo(&store, taken, members).unwrap().batches().unwrap();
        let mut restored = saved.0;
        let ops: Vec<_> = batches.iter().flat_map(Batch::ops).collect();
        // An attempt that was cut short, finer than batches are cut, and then a whole one.
        for op in ops[..done.index(ops.len() + 1)].iter().chain(&ops) {
            let before = restored.clone();
            apply(&mut restored, std::slice::from_ref(op));
            for (key, value) in &before {
                let now = restored.get(key);
                prop_assert!(now.is_some(), "{key} is gone");
                prop_assert!(!key.as_str().starts_with("uses/") || now.unwrap().as_bytes() <= value.as_bytes());
            }
        }
        prop_assert!(batches.iter().all(Batch::is_reserved));
        let lasting = |content: &Content| -> Content {
            let kept = |key: &Key| !key.as_str().starts_with("label/");
            content.iter().filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        prop_assert_eq!(lasting(&restored), lasting(&content));
    }
}
