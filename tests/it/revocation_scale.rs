//! Many markers: what they take, how long a look-up and a start take, and that their end is not felt.
//!
//! Through the real store and replica. In CI a hundred thousand; with `CAMBIST_LONG=1` ten million (some 3 GB of scratch).
//! Figures are printed. Asserted is what must hold on any machine, with room: that a look-up costs no more for the markers
//! that there are, what a marker takes, how long it takes to restore one, and that checks go on while all of them end.

use crate::support::edge::until;
use crate::support::long;
use crate::support::myself::{alone, folder, resident};
use crate::support::stored_markers::{fill, marker, open};
use cambist::clock::{Clock, SystemClock};
use cambist::marker::{Fence, Kind, MarkerId, Part, Second};
use cambist::revocation::HotSet;
use cambist::store::Store;
use cambist::store::replica::Replica;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Bytes that a marker takes: under so many, ten million are a good gigabyte.
const BYTES: u64 = 120;
/// How much longer a check may take than in an empty set, whose checks find every lock and line at hand, and a revocation.
const TIMES: u32 = 10;
/// Revocations whose time is taken.
const REVOKED: usize = 21;
/// How long it may take to restore a marker, unoptimised, on a machine that does other things.
const RESTORE: Duration = Duration::from_micros(400);
/// How long any check may take while all markers end, on such a machine.
const LONGEST: Duration = Duration::from_secs(1);
/// Checks that go on meanwhile, at least. Where each had to wait for what is dropped at once there would be a few.
const MEANWHILE: usize = 200;

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

/// How long it takes to revoke one more.
async fn revoke(store: &dyn Store, hot: &HotSet, number: usize, end: Second) -> Duration {
    let start = now();
    fill(store, number..number + 1, end).await;
    hot.put(marker(number, end).marker);
    now() - start
}

#[test]
fn many_markers_are_held_looked_up_restored_and_dropped() {
    if folder().is_some() {
        return Runtime::new().unwrap().block_on(many());
    }
    let test = "revocation_scale::many_markers_are_held_looked_up_restored_and_dropped";
    println!("{}", alone(test));
}

async fn many() {
    let count: u32 = if long() { 10_000_000 } else { 100_000 };
    let number = usize::try_from(count).unwrap();
    let path = folder().unwrap().join("store.db");
    let end = Second::of(Timestamp::from_second(2_000_000_000).unwrap());
    let start = now();
    let store = open(&path);
    fill(&*store, 0..number, end).await;
    store.close().await;
    println!("{count} markers stored in {:.1?}", now() - start);

    let store = open(&path);
    let hot = Arc::<HotSet>::default();
    let empty = look_up(&hot);
    let before = resident();
    let start = now();
    let stop = CancellationToken::new();
    let parts = vec![Arc::clone(&hot) as _];
    let clock = SystemClock::shared();
    let replica = Replica::start(Arc::clone(&store) as _, parts, clock, stop.clone()).await;
    let (replica, task) = replica.unwrap();
    let restored = now() - start;
    assert_eq!(hot.markers().len(), number);
    let taken = resident().saturating_sub(before);
    let full = look_up(&hot);
    println!(
        "restored in {restored:.1?}; {} MB resident for them, {} bytes each; a check of six parts: {:?} (p50), {:?} \
         (p99), empty {:?}, {:?}",
        taken >> 20,
        taken / u64::from(count),
        full.0,
        full.1,
        empty.0,
        empty.1,
    );
    assert!(full.0 < empty.0 * TIMES, "{full:?} {empty:?}");
    assert!(taken < BYTES * u64::from(count), "{taken} bytes");
    assert!(restored < RESTORE * count, "{restored:?}");
    let last = marker(number - 1, end).marker;
    assert_eq!(hot.markers().get(&last.id), Some(last.cover));
    drop(replica);
    // In turns, so that what else the machine does is the same for both; and the shortest, since that only adds to it. What a
    // revocation costs for the markers that there are, each would.
    let (few, none) = (open(&path.with_file_name("few.db")), HotSet::default());
    let (mut with_few, mut with_many) = (Duration::MAX, Duration::MAX);
    for n in 0..REVOKED {
        with_few = with_few.min(revoke(&*few, &none, n, end).await);
        with_many = with_many.min(revoke(&*store, &hot, number + n, end).await);
    }
    few.close().await;
    println!("one more takes {with_many:?}, the first {with_few:?}");
    assert!(with_many < with_few * TIMES, "{with_many:?} {with_few:?}");

    // All of them end in one second, while others check.
    let done = Arc::new(AtomicBool::new(false));
    let (checking, ended) = (Arc::clone(&hot), Arc::clone(&done));
    let begun = Arc::new(AtomicUsize::new(0));
    let checked = Arc::clone(&begun);
    let checks = tokio::task::spawn_blocking(move || {
        let mut took = Vec::new();
        let mut number = 0;
        while !ended.load(Ordering::Acquire) {
            let fence = fence(number);
            let start = now();
            let _ = checking.covered(&fence);
            took.push(now() - start);
            number += 1;
            checked.store(number, Ordering::Release);
        }
        took.sort();
        took
    });
    until("the first check", async || {
        begun.load(Ordering::Acquire) > 0
    })
    .await;
    let before = begun.load(Ordering::Acquire);
    let after = Timestamp::from_second(2_000_000_100).unwrap();
    let start = now();
    let mut calls = 0;
    while !hot.expire(after).is_empty() {
        calls += 1;
        // Thrice at least, however little of the machine the checks get. Of all at once there is one call.
        if calls % 8 == 0 {
            let some = begun.load(Ordering::Acquire) + MEANWHILE / 2;
            until("checks", async || begun.load(Ordering::Acquire) >= some).await;
        }
    }
    let dropped = now() - start;
    let meanwhile = begun.load(Ordering::Acquire) - before;
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
    assert!(meanwhile >= MEANWHILE, "{meanwhile} checks in {dropped:?}");
    let longest = took.last().copied().unwrap();
    assert!(longest < LONGEST, "{longest:?}");
    stop.cancel();
    task.await.unwrap();
    store.close().await;
}
