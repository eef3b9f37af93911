//! Many who revoke while nothing can be written, again and again, each at the moment when what waited before is written and
//! let go of.

use super::meanwhile::{LOOKING, Lines};
use super::*;
use crate::marker::{Fence, MarkerId, Part};
use std::hint;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use tokio::runtime::Handle;
use tokio::task::{JoinSet, yield_now};

const REVOKERS: usize = 3;
const ROUNDS: usize = 30;
/// As many turns of a loop as take about as long as either side of what may overlap.
const TURNS: u32 = 2_000;

/// Lets a moment go by, of another length each time: who comes first is up to that.
fn moment() {
    static DRAWN: AtomicU32 = AtomicU32::new(1);
    let drawn = DRAWN.fetch_add(0x9e37_79b9, Ordering::Relaxed);
    for _ in 0..drawn.wrapping_mul(0x85eb_ca6b) % TURNS {
        hint::spin_loop();
    }
}

/// Whether the store has it that a marker is in force.
async fn is_written(world: &World, id: &MarkerId) -> bool {
    let key = StoredMarker::key(id).unwrap();
    let entry = world.store.read(&key).await.unwrap();
    entry.is_some_and(|entry| !StoredMarker::read(&entry).unwrap().is_reinstated())
}

/// Tells those who are at it that the test is over, also where it failed.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Has one subject revoked and reinstated, and looks at it all the while.
async fn keep_revoking(world: Arc<World>, over: Arc<AtomicBool>, number: usize) {
    let is_over = || over.load(Ordering::Acquire);
    let (sub, on) = (format!("somebody-{number}"), Precondition::default());
    let thing = Thing::Subject("https://cambist.example.org", &sub);
    let (id, fence) = (thing.id(), Fence::from_iter([Part::absolute(thing)]));
    let what = Revocable::Subject(sub.clone(), Reach::Ban);
    for round in 0..ROUNDS {
        let asked = world.admin.asked(&what, "", &author());
        // Until the last one of the others is written, and is about to be let go of.
        while world.admin.undurable.any() && !is_over() {
            thread::yield_now();
        }
        moment();
        let revoked = world.admin.revoke_unwritten(&asked, &on).unwrap();
        assert_eq!(revoked.revision, None, "{sub} in round {round}");
        loop {
            // Asked for in this order: what does not wait any more is written by then.
            let (waits, is_pinned) = (world.admin.undurable.any(), world.hot.is_pinned(&id));
            let is_in_force = world.hot.covered(&fence).is_some();
            assert!(is_in_force, "{sub} in round {round}: {waits} {is_pinned}");
            if !(waits && is_pinned) {
                assert!(is_written(&world, &id).await, "{sub} in round {round}");
            }
            if !is_pinned {
                break;
            }
            if is_over() {
                return;
            }
            yield_now().await;
        }
        let reinstated = world.admin.reinstate(&id, "", &author(), &on).await;
        assert!(reinstated.unwrap().0.is_reinstated());
        let is_in_force = world.hot.covered(&fence).is_some();
        assert!(!is_in_force, "{sub} in round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_to_wait_while_others_are_let_go_of_stays_in_force_until_it_is_written() {
    let _alone = LOOKING.lock().await;
    let world = Arc::new(World::new());
    let over = Over(Arc::default());
    let mut revokers = JoinSet::new();
    for number in 0..REVOKERS {
        let revoker = keep_revoking(Arc::clone(&world), Arc::clone(&over.0), number);
        let handle = Handle::current();
        revokers.spawn_blocking(move || handle.block_on(revoker));
    }
    let lines = Lines(Arc::new(|line| {
        if line.contains("every revocation that waited is written") {
            moment();
        }
    }));
    let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(lines));
    let guard = tracing::subscriber::set_default(subscriber.finish());
    while !revokers.is_empty() {
        world.admin.settle().await.unwrap();
        while let Some(done) = revokers.try_join_next() {
            done.unwrap();
        }
        yield_now().await;
    }
    drop(guard);
    assert!(!world.admin.undurable.any());
}
