//! Many markers: what they take, how long a look-up and a start take, and that their end is not felt.
//!
//! Through the real store and replica. In CI a hundred thousand; with `CAMBIST_LONG=1` ten million (some 3 GB of scratch).
//! Figures are printed, not asserted, but for what must hold on any machine: the order of a look-up's cost, and that a check
//! goes on while a million markers end.

use crate::support::stored_markers::{fill, marker, open};
use crate::support::{long, myself};
use cambist::clock::{Clock, SystemClock};
use cambist::marker::{Fence, Kind, MarkerId, Part, Second};
use cambist::revocation::HotSet;
use cambist::store::replica::Replica;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Now, by one monotonic clock.
fn now() -> Duration {
    static CLOCK: LazyLock<Arc<dyn Clock>> = LazyLock::new(|| SystemClock::shared());
    CLOCK.monotonic()
}

/// A token that nothing covers, with as much that could be as most have.
fn fence(number: usize) -> Fence {
    let part = |salt: u8| {
        let mut bits = [salt; 16];
        bits.iter_mut()
            .zip(number.to_le_bytes())
            .for_each(|(bit, byte)| *bit ^= byte);
        Part::known(MarkerId::new(bits), Kind::Token, Second::FIRST)
    };
    (1..=6).map(part).collect()
}

/// How long a check takes: median and 99th percentile.
fn look_up(hot: &HotSet) -> (Duration, Duration) {
    let fences: Vec<_> = (0..20_000).map(fence).collect();
    let mut took: Vec<_> = fences
        .iter()
        .map(|fence| {
            let start = now();
            assert!(hot.covered(fence).is_none());
            now() - start
        })
        .collect();
    took.sort();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread")]
async fn many_markers_are_held_looked_up_restored_and_dropped() {
    let count = if long() { 10_000_000 } else { 100_000 };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let end = Second::of(Timestamp::from_second(2_000_000_000).unwrap());
    let start = now();
    let store = open(&path);
    fill(&*store, 0..count, end).await;
    store.close().await;
    println!("{count} markers stored in {:.1?}", now() - start);

    let store = open(&path);
    let hot = Arc::<HotSet>::default();
    let empty = look_up(&hot);
    let before = myself::resident();
    let start = now();
    let stop = CancellationToken::new();
    let parts = vec![Arc::clone(&hot) as _];
    let clock = SystemClock::shared();
    let replica = Replica::start(Arc::clone(&store) as _, parts, clock, stop.clone()).await;
    let (replica, task) = replica.unwrap();
    let restored = now() - start;
    assert_eq!(hot.markers().len(), count);
    let taken = myself::resident().saturating_sub(before);
    let full = look_up(&hot);
    println!(
        "restored in {restored:.1?}; {} MB resident for them, {} bytes each; a check of six parts: {:?} (p50), {:?} \
         (p99), empty {:?}, {:?}",
        taken >> 20,
        taken / u64::try_from(count).unwrap(),
        full.0,
        full.1,
        empty.0,
        empty.1,
    );
    let last = marker(count - 1, end).marker;
    assert_eq!(hot.markers().get(&last.id), Some(last.cover));
    drop(replica);

    // All of them end in one second, while others check.
    let done = Arc::new(AtomicBool::new(false));
    let (checking, ended) = (Arc::clone(&hot), Arc::clone(&done));
    let checks = tokio::task::spawn_blocking(move || {
        let mut took = Vec::new();
        let mut number = 0;
        while !ended.load(Ordering::Acquire) {
            let fence = fence(number);
            let start = now();
            let _ = checking.covered(&fence);
            took.push(now() - start);
            number += 1;
        }
        took.sort();
        took
    });
    let after = Timestamp::from_second(2_000_000_100).unwrap();
    let start = now();
    while !hot.expire(after).is_empty() {
        tokio::task::yield_now().await;
    }
    let dropped = now() - start;
    done.store(true, Ordering::Release);
    let took = checks.await.unwrap();
    assert!(hot.markers().is_empty());
    println!(
        "all ended in {dropped:.1?}; {} checks meanwhile: {:?} (p50), {:?} (p99), {:?} at most",
        took.len(),
        took.get(took.len() / 2),
        took.get(took.len() * 99 / 100),
        took.last(),
    );
    stop.cancel();
    task.await.unwrap();
    store.close().await;
}
