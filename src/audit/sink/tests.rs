//! A relay over a log in memory, to a receiver that does as it is told.

mod world;

use super::{Cursor, Sinks, Start};
use crate::audit::testing::{Memory, archive, open_with, options};
use crate::audit::{
    Act, ActKind, Archive as _, Field, Filter, Form, Logged, Options, Segments as _,
};
use crate::limits;
use crate::store::LogId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use world::{Said, World, failed, refused, takes_all};

#[tokio::test]
async fn every_record_is_delivered_in_order_and_after_a_restart_only_what_is_new() {
    let world = World::with(3).await;
    let mut relay = world.open(Start::Beginning, takes_all);
    assert_eq!(world.cursor(), 0, "there before the first delivery");
    world.pass(&mut relay).await.unwrap();
    assert_eq!((world.took(), world.cursor()), (vec![vec![0, 1, 2]], 3));
    world.record(2).await;
    world.pass(&mut relay).await.unwrap();
    assert_eq!((world.took(), world.cursor()), (vec![vec![3, 4]], 5));
    world.record(1).await;
    let mut again = world.open(Start::Beginning, takes_all);
    world.pass(&mut again).await.unwrap();
    assert_eq!((world.took(), world.cursor()), (vec![vec![5]], 6));
}

/// The rows of the table in the module's documentation.
#[tokio::test]
async fn a_crash_before_the_cursor_is_moved_delivers_again_and_one_after_it_does_not() {
    let world = World::with(2).await;
    // A new cursor is made, at the end, and nothing is delivered: what comes then is not skipped by the next start.
    drop(world.open(Start::End, takes_all));
    world.record(2).await;
    // The batch is read, and the delivery under way.
    let mut relay = world.open(Start::End, |_| None);
    let pass = world.pass(&mut relay);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), pass)
            .await
            .is_err()
    );
    assert_eq!(world.cursor(), 2);
    // It is delivered, and the cursor is not moved.
    let mut relay = world.open(Start::End, takes_all);
    world.cursors.fails.store(true, Ordering::SeqCst);
    world.pass(&mut relay).await.unwrap_err();
    assert_eq!((world.took(), world.cursor()), (vec![vec![2, 3]], 2));
    assert_eq!(relay.stats().next(), 2, "only what is on disk is taken");
    world.cursors.fails.store(false, Ordering::SeqCst);
    let mut relay = world.open(Start::End, takes_all);
    world.pass(&mut relay).await.unwrap();
    assert_eq!((world.took(), world.cursor()), (vec![vec![2, 3]], 4));
    // The cursor is moved.
    let mut relay = world.open(Start::End, takes_all);
    world.pass(&mut relay).await.unwrap();
    assert!(world.took().is_empty());
}

#[tokio::test]
async fn a_cursor_that_could_not_be_kept_is_kept_later_without_a_new_record() {
    let world = World::with(1).await;
    let mut relay = world.open(Start::Beginning, takes_all);
    world.cursors.fails.store(true, Ordering::SeqCst);
    world.pass(&mut relay).await.unwrap_err();
    world.cursors.fails.store(false, Ordering::SeqCst);
    world.pass(&mut relay).await.unwrap();
    assert_eq!((world.took(), world.cursor()), (vec![vec![0]], 1));
}

#[tokio::test]
async fn a_cursor_of_another_log_and_a_damaged_one_begin_at_the_beginning() {
    let world = World::with(3).await;
    let log = world.opened.log.id();
    let encoded = |log, next| Cursor { log, next }.encode().unwrap();
    let other = LogId(log.0 ^ 1);
    for (kept, start, expected) in [
        (None, Start::Beginning, 0),
        (None, Start::End, 3),
        (Some(encoded(log, 2)), Start::End, 2),
        (Some(encoded(log, 3)), Start::Beginning, 3),
        (Some(encoded(log, 4)), Start::End, 0),
        (Some(encoded(log, 4)), Start::Beginning, 0),
        (Some(encoded(other, 2)), Start::End, 0),
        (Some(encoded(other, 2)), Start::Beginning, 0),
        (Some(b"{\"v\":1,".to_vec()), Start::End, 0),
        (Some(Vec::new()), Start::End, 0),
    ] {
        world.cursors.all.lock().unwrap().clear();
        if let Some(kept) = &kept {
            world.put_cursor(kept);
        }
        let relay = world.open(start, takes_all);
        assert_eq!(relay.stats().next(), expected, "{kept:?} {start:?}");
        assert_eq!(world.cursor(), expected);
    }
}

#[tokio::test]
async fn what_fails_comes_again_the_same_until_it_is_delivered() {
    let world = World::with(3).await;
    let fails = Arc::new(AtomicBool::new(true));
    let (seen, told) = (Arc::<Mutex<Vec<_>>>::default(), Arc::clone(&fails));
    let noted = Arc::clone(&seen);
    let mut relay = world.open(Start::Beginning, move |batch| {
        noted.lock().unwrap().push(batch.to_vec());
        let fails = told.load(Ordering::SeqCst);
        Some(if fails { Err(failed()) } else { Ok(0) })
    });
    for _ in 0..3 {
        assert_eq!(world.pass(&mut relay).await.unwrap_err(), "away");
        // What is written meanwhile waits in the log.
        world.record(1).await;
    }
    assert_eq!((world.cursor(), relay.stats().lag()), (0, 6));
    fails.store(false, Ordering::SeqCst);
    world.pass(&mut relay).await.unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(seen.iter().all(|batch| *batch == seen[0]), "the same batch");
    world.pass(&mut relay).await.unwrap();
    assert_eq!(world.took(), [vec![0, 1, 2], vec![3, 4, 5]]);
    assert_eq!((world.cursor(), relay.stats().lag()), (6, 0));
    assert_eq!(relay.stats().delivered(), 6);
}

#[tokio::test]
async fn a_record_that_is_refused_for_good_is_singled_out_and_counted() {
    let world = World::with(9).await;
    let mut relay = world.open(Start::Beginning, |batch| {
        let is_odd = batch.iter().any(|event| event.sequence == 5);
        Some(if is_odd { Err(refused()) } else { Ok(0) })
    });
    world.pass(&mut relay).await.unwrap();
    let took: Vec<u64> = world.took().concat();
    assert_eq!(took, [0, 1, 2, 3, 4, 6, 7, 8]);
    assert_eq!(world.cursor(), 9);
    let stats = relay.stats();
    assert_eq!((stats.delivered(), stats.refused(), stats.lag()), (8, 1, 0));
}

#[tokio::test]
async fn a_receiver_that_refuses_every_record_is_failing_and_no_more_are_set_aside() {
    let most = u64::from(limits::SINK_REFUSALS);
    for (records, set_aside) in [(most, most), (most + 1, most), (most * 3, most)] {
        let world = World::with(records).await;
        let heals = Arc::new(AtomicBool::new(false));
        let healed = Arc::clone(&heals);
        let mut relay = world.open(Start::Beginning, move |_| {
            Some(if healed.load(Ordering::SeqCst) {
                Ok(0)
            } else {
                Err(refused())
            })
        });
        for _ in 0..3 {
            let passed = world.pass(&mut relay).await;
            assert_eq!(passed.is_ok(), records == most);
        }
        assert_eq!(
            (relay.stats().refused(), world.cursor()),
            (set_aside, set_aside)
        );
        heals.store(true, Ordering::SeqCst);
        world.pass(&mut relay).await.unwrap();
        let took: Vec<u64> = world.took().concat();
        assert_eq!(
            took,
            (set_aside..records).collect::<Vec<_>>(),
            "nothing more is lost"
        );
    }
}

#[tokio::test]
async fn a_sink_that_takes_some_records_is_never_behind_the_others() {
    let mut world = World::with(2).await;
    world.only = Filter::default().within(Field::Action, ["key.leaked".to_owned()].into());
    let fails = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&fails);
    let mut relay = world.open(Start::Beginning, move |_| {
        Some(if told.load(Ordering::SeqCst) {
            Err(failed())
        } else {
            Ok(0)
        })
    });
    world.pass(&mut relay).await.unwrap();
    assert_eq!((world.took(), world.cursor()), (vec![], 2));
    world.act("key.leaked").await;
    world.record(1).await;
    world.act("key.leaked").await;
    world.record(1).await;
    // What waits for the receiver holds it where it is.
    fails.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        world.pass(&mut relay).await.unwrap_err();
        assert_eq!((world.cursor(), relay.stats().lag()), (2, 4));
    }
    fails.store(false, Ordering::SeqCst);
    world.pass(&mut relay).await.unwrap();
    assert_eq!((world.took(), world.cursor()), (vec![vec![2, 4]], 6));
    assert_eq!((relay.stats().delivered(), relay.stats().lag()), (2, 0));
    // More than one reading of nothing.
    world
        .record(u64::try_from(limits::SINK_BATCH).unwrap() + 1)
        .await;
    world.act("key.leaked").await;
    for _ in 0..2 {
        world.pass(&mut relay).await.unwrap();
    }
    assert_eq!(world.took().concat().len(), 1);
    assert_eq!(relay.stats().lag(), 0);
}

#[tokio::test]
async fn what_a_receiver_threw_away_within_a_delivery_is_counted() {
    let world = World::with(4).await;
    let mut relay = world.open(Start::Beginning, |_| Some(Ok(1)));
    world.pass(&mut relay).await.unwrap();
    let stats = relay.stats();
    assert_eq!(
        (stats.delivered(), stats.refused(), world.cursor()),
        (3, 1, 4)
    );
}

#[tokio::test]
async fn a_delivery_holds_so_many_records_and_no_more() {
    let most = u64::try_from(limits::SINK_BATCH).unwrap();
    let world = World::with(most + 1).await;
    let mut relay = world.open(Start::Beginning, takes_all);
    world.pass(&mut relay).await.unwrap();
    world.pass(&mut relay).await.unwrap();
    let sizes: Vec<_> = world.took().iter().map(Vec::len).collect();
    assert_eq!(sizes, [limits::SINK_BATCH, 1]);
}

#[tokio::test]
async fn a_delivery_takes_no_further_record_once_it_has_so_many_bytes() {
    let world = World::with(0).await;
    let padding = "x".repeat(limits::RECORD / 2);
    let change = serde_json::json!({ "padding": padding }).to_string();
    let act = Act {
        change: Some(&change),
        ..Act::new(ActKind::Admin, "test")
    };
    for _ in 0..limits::SINK_BATCH_BYTES.div_ceil(limits::RECORD / 2) {
        world.opened.log.event(&act).await.unwrap();
    }
    let bytes = Arc::<Mutex<Vec<usize>>>::default();
    let noted = Arc::clone(&bytes);
    let mut relay = world.open(Start::Beginning, move |batch| {
        let all = batch.iter().map(|event| event.text.len()).sum();
        noted.lock().unwrap().push(all);
        Some(Ok(0))
    });
    world.record(1).await;
    world.pass(&mut relay).await.unwrap();
    world.pass(&mut relay).await.unwrap();
    let bytes = bytes.lock().unwrap();
    assert!(bytes[0] >= limits::SINK_BATCH_BYTES, "{bytes:?}");
    assert!(
        bytes[0] < limits::SINK_BATCH_BYTES + limits::RECORD,
        "{bytes:?}"
    );
    assert_eq!(bytes.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_a_failure_once_the_time_is_over_and_issues_go_on() {
    let world = World::with(2).await;
    let mut relay = world.open(Start::Beginning, |_| None);
    let reason = world.pass(&mut relay).await.unwrap_err();
    assert_eq!(reason, "no answer within 10 s");
    world.record(1).await;
    assert_eq!((world.cursor(), relay.stats().lag()), (0, 3));
}

/// The whole task: it follows, it pauses after failures, it goes on, and it tells of trouble once.
#[tokio::test(start_paused = true)]
async fn a_sink_that_is_behind_for_long_is_told_of_once() {
    let said = Arc::<Mutex<Vec<u8>>>::default();
    let writer = Arc::clone(&said);
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || Said(Arc::clone(&writer)))
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let count = |text: &str| {
        let said = said.lock().unwrap();
        String::from_utf8_lossy(&said).matches(text).count()
    };
    let world = World::with(1).await;
    let fails = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&fails);
    let relay = world.open(Start::Beginning, move |_| {
        Some(if told.load(Ordering::SeqCst) {
            Err(failed())
        } else {
            Ok(0)
        })
    });
    let stats = Arc::clone(relay.stats());
    let running = tokio::spawn(relay.run());
    let failures = async |more: u64| {
        let wanted = stats.failures() + more;
        while stats.failures() < wanted {
            tokio::time::sleep(limits::SINK_TICK).await;
        }
    };
    failures(3).await;
    assert_eq!((count("does not deliver"), count("behind the log")), (1, 0));
    world
        .opened
        .clock
        .advance(u32::try_from(limits::SINK_BEHIND.as_secs()).unwrap());
    failures(3).await;
    assert_eq!((count("does not deliver"), count("behind the log")), (1, 1));
    fails.store(false, Ordering::SeqCst);
    while stats.lag() > 0 {
        tokio::time::sleep(limits::SINK_TICK).await;
    }
    tokio::time::sleep(limits::SINK_TICK).await;
    assert_eq!((count("delivers again"), count("caught up")), (1, 1));
    world.record(1).await;
    while stats.delivered() < 2 {
        tokio::time::sleep(limits::SINK_TICK).await;
    }
    running.abort();
}

#[tokio::test]
async fn what_was_removed_from_the_log_is_passed_over_and_counted() {
    let device = Memory::new();
    let small = Options {
        segment_bytes: 1,
        ..options()
    };
    let mut world = World::with(0).await;
    world.opened = open_with(&device, small).unwrap();
    world.device = Arc::clone(&device);
    world.record(4).await;
    let firsts = device.segments().unwrap();
    assert!(firsts.contains(&2));
    // The cursor stands at the first record, and the first two are gone.
    drop(world.open(Start::Beginning, takes_all));
    for first in firsts.into_iter().filter(|first| *first < 2) {
        device.remove(first, Form::Plain).unwrap();
    }
    let mut relay = world.open(Start::Beginning, takes_all);
    world.pass(&mut relay).await.unwrap();
    assert_eq!((world.took(), world.cursor()), (vec![vec![2, 3]], 4));
    assert_eq!((relay.stats().missed(), relay.stats().delivered()), (2, 2));
    // One that begins now begins with what there is.
    world.cursors.all.lock().unwrap().clear();
    let mut relay = world.open(Start::Beginning, takes_all);
    world.pass(&mut relay).await.unwrap();
    assert_eq!(
        (world.took(), relay.stats().missed()),
        (vec![vec![2, 3]], 0)
    );
}

#[tokio::test]
async fn what_every_sink_has_taken_is_the_least_of_their_cursors() {
    assert_eq!(Sinks::default().taken(), None);
    let world = World::with(3).await;
    let mut ahead = world.open(Start::Beginning, takes_all);
    world.pass(&mut ahead).await.unwrap();
    world.cursors.all.lock().unwrap().clear();
    let behind = world.open(Start::Beginning, takes_all);
    let both = [&ahead, &behind].map(|relay| Arc::clone(relay.stats()));
    let sinks = Sinks::new(both.to_vec());
    assert_eq!(sinks.taken(), Some(0));
    let last = sinks.furthest_behind().unwrap();
    assert!(std::ptr::eq(last, &**behind.stats()));
    assert_eq!(Sinks::new(both[..1].to_vec()).taken(), Some(3));
}

/// Whatever it takes by what records say: the one that was logged may have been among them.
#[tokio::test]
async fn a_record_that_was_changed_is_neither_delivered_nor_passed() {
    for only in [&[][..], &["admin"]] {
        let mut world = World::with(5).await;
        if !only.is_empty() {
            let kinds = only.iter().map(|kind| (*kind).to_owned()).collect();
            world.only = Filter::default().within(Field::Kind, kinds);
        }
        let folder = tempfile::tempdir().unwrap();
        let publisher = archive::publisher(folder.path(), world.device.clone(), 0);
        publisher.advance(5).unwrap();
        let logged = Logged::new(world.device.clone(), Arc::new(publisher));
        let mut relay = world.open_on(Arc::new(logged), Start::Beginning, takes_all);
        let was = world.device.bytes(0);
        let text = String::from_utf8(was.clone()).unwrap();
        let (before, last) = text.rsplit_once("broker.start").unwrap();
        world
            .device
            .set_bytes(0, format!("{before}broker.stark{last}").into_bytes());
        for _ in 0..2 {
            let failed = world.pass(&mut relay).await.unwrap_err();
            assert!(failed.starts_with("record 4 is not the one"), "{failed}");
            assert!(world.took().is_empty());
            assert_eq!(world.cursor(), 0);
        }
        world.device.set_bytes(0, was);
        world.pass(&mut relay).await.unwrap();
        let all = if only.is_empty() {
            vec![vec![0, 1, 2, 3, 4]]
        } else {
            Vec::new()
        };
        assert_eq!((world.took(), world.cursor()), (all, 5));
    }
}
