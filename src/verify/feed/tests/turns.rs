//! How one set takes the place of another.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Its clock is ahead, so that the instant alone says nothing of how long ago it was.
#[test]
fn a_snapshot_of_the_same_instant_makes_nothing_fresher() {
    let world = World::new();
    let told = Timestamp::from_second(world.now().as_second() + 500).unwrap();
    let mut reader = world.reader(false);
    reader.take(whole("a", &[marker(1)], told)).unwrap();
    assert_eq!(world.age(), Some(0));
    world.clock.advance(120);
    // It has not seen its store since, whoever asks it.
    let mut anew = world.reader(false);
    anew.take(whole("a", &[marker(1), marker(2)], told))
        .unwrap();
    let done = anew.take(beat("a", told));
    assert!(matches!(done, Ok(Done::Replaced(Some(_)))));
    assert_eq!((world.covered(), world.age()), (vec![1, 2], Some(120)));
    let later = Timestamp::from_second(told.as_second() + 120).unwrap();
    anew.take(beat("a", later)).unwrap();
    assert_eq!(world.age(), Some(0));
}

/// A thing that every state revokes is revoked at every instant, while sets take each other's place.
#[test]
fn nothing_passes_between_one_set_and_the_next() {
    let world = World::new();
    world.feed.snapshot(&[marker(1), marker(2)]);
    let (done, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                assert!(world.covers(1));
                looks.fetch_add(1, Ordering::AcqRel);
            }
        });
        for round in 0..2_000_u16 {
            // It looks on meanwhile; on a busy machine it would take long to wait for that each time.
            let before = looks.load(Ordering::Acquire);
            while round % 40 == 0
                && looks.load(Ordering::Acquire) == before
                && !looking.is_finished()
            {
                thread::yield_now();
            }
            // Only what is surely newer takes the place of what is held at once.
            world.clock.advance(1);
            let mut reader = world.reader(false);
            let all = [marker((round % 200).max(3).try_into().unwrap()), marker(1)];
            reader.take(part(&all[..1], true, None)).unwrap();
            let put = reader.take(rest("n", &all, 1, world.now()));
            assert!(matches!(put, Ok(Done::Replaced(Some(_)))), "{put:?}");
        }
        done.store(true, Ordering::Release);
        looking.join().unwrap();
    });
}
