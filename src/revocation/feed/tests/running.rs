//! The feed as it runs: what wakes it, and when.

use super::*;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_stream::StreamExt as _;

struct Running {
    site: Site,
    now: watch::Sender<Revision>,
    stop: CancellationToken,
}

impl Running {
    fn start() -> Self {
        let site = Site::new(Bounds::default());
        let now = watch::Sender::new(revision(1, 1));
        let stop = CancellationToken::new();
        let reading = now.subscribe();
        let label = move || {
            let revision = *reading.borrow();
            label(revision.counter)
        };
        let feed = site.feed.clone();
        tokio::spawn(feed.run(now.subscribe(), label, stop.clone()));
        Self { site, now, stop }
    }

    fn reach(&self, counter: u64) {
        self.now.send_replace(revision(1, counter));
    }

    async fn next(&self, watcher: &mut Watcher) -> Message {
        let frame = timeout(Duration::from_secs(60), watcher.next()).await;
        self.site.kept.get(&frame.unwrap().unwrap())
    }

    /// A watcher that has the snapshot and the first heartbeat.
    async fn watcher(&self) -> Watcher {
        let mut watcher = self.site.watch(None);
        let first = self.next(&mut watcher).await;
        assert!(matches!(first, Message::Part(_, true, None)));
        let end = self.next(&mut watcher).await;
        assert!(matches!(end, Message::Part(_, false, Some(_))));
        assert!(matches!(self.next(&mut watcher).await, Message::Beat(_)));
        watcher
    }
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_changes_markers_is_told_at_once() {
    let running = Running::start();
    let mut watcher = running.watcher().await;
    let begin = Instant::now();
    running.site.revoke("a");
    running.reach(2);
    let Message::Delta(markers, at) = running.next(&mut watcher).await else {
        panic!("not a delta");
    };
    assert_eq!((markers.len(), at), (24, label(2)));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(running.site.feed.counts().deltas, 1);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_at_their_pace_and_say_how_fresh_it_is() {
    let running = Running::start();
    let mut watcher = running.watcher().await;
    for counter in 2..5 {
        let begin = Instant::now();
        // Nothing of markers: nobody waits for that.
        running.reach(counter);
        let Message::Beat(at) = running.next(&mut watcher).await else {
            panic!("not a heartbeat");
        };
        assert_eq!(at, label(counter));
        let waited = begin.elapsed();
        let late = Duration::from_millis(2);
        assert!(waited > limits::WATCH_HEARTBEAT - late && waited <= limits::WATCH_HEARTBEAT);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_revision_is_told_at_once_and_soon_that_one_has_it() {
    let running = Running::start();
    let mut watcher = running.watcher().await;
    let begin = Instant::now();
    running.site.revoke("a");
    running.site.feed.nudge();
    let Message::Delta(_, at) = running.next(&mut watcher).await else {
        panic!("not a delta");
    };
    assert_eq!((at, begin.elapsed()), (label(1), Duration::ZERO));
    // It could be written at last: whoever waits for that revision need not wait for long.
    running.reach(2);
    running.reach(3);
    let Message::Beat(at) = running.next(&mut watcher).await else {
        panic!("not a heartbeat");
    };
    assert_eq!(at, label(3));
    let waited = begin.elapsed();
    let late = Duration::from_millis(2);
    assert!(waited >= limits::WATCH_WORD && waited <= limits::WATCH_WORD + late);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_has_a_snapshot_after_a_turn() {
    let running = Running::start();
    let mut hearing = running.watcher().await;
    (0..=limits::SNAPSHOT_PART).for_each(|n| running.site.revoke(&n.to_string()));
    let (mut reading, mut waited) = (Vec::new(), Vec::new());
    for counter in (2..).take(limits::SNAPSHOTS + 1) {
        running.reach(counter);
        let is_it = |message| match message {
            Message::Delta(_, at) | Message::Beat(at) => at == label(counter),
            Message::Part(..) => false,
        };
        while !is_it(running.next(&mut hearing).await) {}
        let (mut watcher, begin) = (running.site.watch(None), Instant::now());
        watcher.look(&View::All);
        let first = running.next(&mut watcher).await;
        assert!(matches!(first, Message::Part(_, true, None)));
        waited.push(begin.elapsed());
        reading.push(watcher);
    }
    let last = waited.pop().unwrap();
    assert!(waited.iter().all(Duration::is_zero), "{waited:?}");
    let beat = limits::WATCH_HEARTBEAT;
    let turn = limits::SNAPSHOT_TURN - beat..=limits::SNAPSHOT_TURN + beat;
    assert!(turn.contains(&last), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn all_who_watch_end_with_it_and_so_do_those_who_come_later() {
    let running = Running::start();
    let mut watcher = running.watcher().await;
    let mut waiting = running.site.watch(None);
    running.stop.cancel();
    let mut late = running.site.watch(None);
    for watcher in [&mut watcher, &mut waiting, &mut late] {
        let end = timeout(Duration::from_secs(1), watcher.next()).await;
        assert_eq!(end, Ok(None));
    }
}
