//! What is remembered of proofs that passed.

use super::super::seen::{Id, Seen};
use super::super::{ProofError, Proofs};
use super::at;
use crate::limits;
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

const AGE: i64 = limits::DPOP_AGE.as_secs().cast_signed();

/// One of a key of its own.
fn id(n: usize) -> Id {
    of_key(n, n)
}

fn of_key(key: usize, n: usize) -> Id {
    Id {
        key: key.to_be_bytes(),
        name: n.to_be_bytes(),
    }
}

#[test]
fn so_many_are_remembered_and_then_none_passes() {
    let seen = Seen::new(limits::DPOP_SEEN);
    for n in 0..limits::DPOP_SEEN {
        assert_eq!(seen.spend(id(n), 1000, at(1000)), Ok(()));
    }
    let more = id(limits::DPOP_SEEN);
    assert_eq!(seen.spend(more, 1000, at(1000)), Err(ProofError::Full));
    // Nothing was forgotten for it.
    assert_eq!(seen.spend(id(0), 1000, at(1000)), Err(ProofError::Replayed));
    assert_eq!(seen.len(), limits::DPOP_SEEN);
    let full = |now| seen.spend(more, now, at(now)) == Err(ProofError::Full);
    assert!(full(1000 + AGE));
    assert!(!full(1001 + AGE));
}

#[test]
fn nobody_is_told_to_remember_more() {
    let most = |most| {
        let proofs = Proofs::remembering("https://shop.example.org", most).unwrap();
        proofs.0.seen.most()
    };
    assert_eq!(most(limits::DPOP_SEEN + 1), limits::DPOP_SEEN);
    assert_eq!(most(7), 7);
    // With room for none nothing would ever pass.
    assert_eq!(most(0), 1);
}

#[test]
fn one_key_has_its_share_and_no_more() {
    let share = limits::DPOP_SEEN / limits::DPOP_SEEN_SHARE;
    let seen = Seen::new(limits::DPOP_SEEN);
    for n in 0..share {
        assert_eq!(seen.spend(of_key(1, n), 1000, at(1000)), Ok(()));
    }
    let more = of_key(1, share);
    assert_eq!(seen.spend(more, 1000, at(1000)), Err(ProofError::Full));
    let again = seen.spend(of_key(1, 0), 1000, at(1000));
    assert_eq!(again, Err(ProofError::Replayed));
    assert_eq!(seen.spend(of_key(2, share), 1000, at(1000)), Ok(()));
    // What is forgotten makes room, and nothing is left of a key that has none.
    assert_eq!(
        seen.spend(more, 1000 + AGE, at(1000 + AGE)),
        Err(ProofError::Full)
    );
    assert_eq!(seen.spend(more, 1001 + AGE, at(1001 + AGE)), Ok(()));
    assert_eq!(seen.len(), seen.of_keys().iter().sum::<usize>());
    let small = Seen::new(limits::DPOP_SEEN_SHARE + 1);
    for (n, expected) in [(0, Ok(())), (1, Ok(())), (2, Err(ProofError::Full))] {
        assert_eq!(small.spend(of_key(1, n), 1000, at(1000)), expected);
    }
    assert_eq!(small.spend(of_key(2, 0), 1061, at(1061)), Ok(()));
    assert_eq!(small.of_keys(), [1]);
}

#[test]
fn what_is_too_old_to_pass_is_forgotten_for_good() {
    let seen = Seen::new(100);
    for n in 0..100 {
        assert_eq!(seen.spend(id(n), 1000, at(1000)), Ok(()));
    }
    assert_eq!(seen.spend(id(100), 1001, at(1001)), Err(ProofError::Full));
    // A minute later they go, more at a time than come.
    for n in 100..120 {
        assert_eq!(seen.spend(id(n), 1061, at(1061)), Ok(()));
    }
    assert_eq!(seen.len(), 20);
    // The clock is set back: nobody knows any more whether this one passed.
    assert_eq!(seen.spend(id(0), 1000, at(1000)), Err(ProofError::Old));
    assert_eq!(seen.spend(id(0), 1001, at(1000)), Ok(()));
}

#[test]
fn of_many_at_once_one_passes() {
    let (seen, passed) = (Seen::new(1000), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..500 {
                    if seen.spend(id(n), 1000, at(1000)).is_ok() {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 500);
}

proptest! {
    /// Whatever the clock does, nothing passes twice, and no more is held than may be.
    #[test]
    fn nothing_passes_twice(
        steps in prop::collection::vec((0usize..12, -100i64..31, -90i64..120), 1..300),
        most in 1usize..20,
    ) {
        let seen = Seen::new(most);
        let (mut passed, mut now) = (HashSet::new(), 1000);
        // What is older is not let this far by the check of its times.
        for (n, made, step) in steps.into_iter().filter(|(_, made, _)| *made >= -AGE) {
            now = (now + step).max(200);
            let result = seen.spend(of_key(n % 3, n), now + made, at(now));
            prop_assert!(result.is_err() || passed.insert((n, now + made)), "{n} again");
            let of_keys = seen.of_keys();
            prop_assert_eq!(of_keys.iter().sum::<usize>(), seen.len());
            let share = most.div_ceil(limits::DPOP_SEEN_SHARE);
            prop_assert!(of_keys.iter().all(|count| (1..=share).contains(count)));
            prop_assert!(seen.len() <= most);
        }
    }
}
