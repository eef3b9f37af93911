//! Snapshots: when one is made, who is sent it, and who is sent one again.

use super::*;

/// What a snapshot says of itself, whose markers have come.
fn end(site: &Site, watcher: &mut Watcher) -> End {
    match site.next(watcher) {
        Some(Message::Part(markers, false, Some(end))) if markers.is_empty() => end,
        other => panic!("not the end of a snapshot: {other:?}"),
    }
}

#[test]
fn an_empty_set_is_a_snapshot_of_nothing() {
    let site = Site::new(Bounds::default());
    let mut watcher = site.watch(None);
    let first = site.next(&mut watcher);
    assert!(matches!(first, Some(Message::Part(markers, true, None)) if markers.is_empty()));
    let end = end(&site, &mut watcher);
    assert_eq!((end.count, end.label), (0, label(1)));
    let empty = digest(&SHA256, b"");
    let both = [empty.as_ref(), empty.as_ref()].concat();
    assert_eq!(end.digest, *digest(&SHA256, &both).as_ref());
    // And that this is all.
    assert!(matches!(site.next(&mut watcher), Some(Message::Beat(at)) if at == label(1)));
    assert!(site.next(&mut watcher).is_none());
}

/// A snapshot that was made for others says nothing of what came after it.
#[test]
fn who_begins_with_an_old_snapshot_is_told_when_it_has_caught_up() {
    let site = Site::new(Bounds::default());
    Client::default().read_all(&site, &mut site.watch(None));
    site.revoke("a");
    site.feed.advance(label(2));
    let mut late = site.watch(None);
    let first = site.next(&mut late);
    assert!(matches!(first, Some(Message::Part(_, true, None))));
    let end = end(&site, &mut late);
    assert_eq!((end.count, end.label), (0, label(1)));
    assert!(matches!(site.next(&mut late), Some(Message::Delta(_, at)) if at == label(2)));
    assert!(matches!(site.next(&mut late), Some(Message::Beat(at)) if at == label(2)));
    assert!(site.next(&mut late).is_none());
}

#[test]
fn those_who_come_together_share_a_snapshot_and_the_next_is_made_when_it_is_too_old() {
    let site = Site::new(Bounds {
        deltas: 1_000,
        catch_up: u64::MAX,
        ..Bounds::default()
    });
    let mut clients: Vec<_> = (0..3)
        .map(|_| (site.watch(None), Client::default()))
        .collect();
    for (watcher, client) in &mut clients {
        client.read_all(&site, watcher);
    }
    assert_eq!(site.feed.counts().snapshots, 1);
    // One that the deltas kept catch up with is still sent; and the deltas with it.
    site.revoke("a");
    site.feed.advance(label(2));
    let (mut late, mut client) = (site.watch(None), Client::default());
    client.read_all(&site, &mut late);
    assert_eq!((site.feed.counts().snapshots, client.set.len()), (1, 1));
    // Until one of them is gone.
    for counter in 3..20 {
        site.revoke(&counter.to_string());
        site.feed.advance(label(counter));
    }
    let (mut later, mut client) = (site.watch(None), Client::default());
    client.read_all(&site, &mut later);
    assert_eq!(site.feed.counts().snapshots, 2);
    assert_eq!(client.set, set(&site.hot));
}

#[test]
fn nobody_is_sent_more_on_top_of_a_snapshot_than_so_much() {
    // What a delta of one marker costs.
    let cost = 24 + 64;
    for (deltas, snapshots) in [(4, 1), (5, 2)] {
        let site = Site::new(Bounds {
            catch_up: 4 * cost,
            ..Bounds::default()
        });
        let (mut first, mut second) = (site.watch(None), Client::default());
        second.read_all(&site, &mut first);
        for n in 0..deltas {
            site.revoke(&n.to_string());
            site.feed.advance(label(n + 2));
        }
        Client::default().read_all(&site, &mut site.watch(None));
        assert_eq!(site.feed.counts().snapshots, snapshots);
    }
    assert_eq!(Bounds::default().catch_up, limits::SNAPSHOT_CATCH_UP);
}

#[test]
fn a_snapshot_that_nobody_reads_goes_after_some_heartbeats() {
    for (beats, snapshots) in [
        (limits::SNAPSHOT_IDLE_BEATS, 1),
        (limits::SNAPSHOT_IDLE_BEATS + 1, 2),
    ] {
        let site = Site::new(Bounds::default());
        Client::default().read_all(&site, &mut site.watch(None));
        (0..beats).for_each(|_| site.feed.beat());
        Client::default().read_all(&site, &mut site.watch(None));
        assert_eq!(site.feed.counts().snapshots, snapshots);
    }
}

#[test]
fn a_snapshot_that_somebody_reads_stays() {
    let site = Site::new(Bounds::default());
    (0..2 * limits::SNAPSHOT_PART + 1).for_each(|n| site.revoke(&n.to_string()));
    site.feed.advance(label(2));
    let (mut watcher, mut client) = (site.watch(None), Client::default());
    // Three parts, and the end.
    for _ in 0..4 {
        client.take(site.next(&mut watcher).unwrap());
        (0..limits::SNAPSHOT_IDLE_BEATS).for_each(|_| site.feed.beat());
    }
    assert_eq!(client.set, set(&site.hot));
    assert_eq!(site.feed.counts().snapshots, 1);
}

#[test]
fn a_slow_watcher_gets_a_snapshot_again_also_in_the_middle_of_one() {
    let site = Site::new(Bounds {
        deltas: 1_000,
        ..Bounds::default()
    });
    let (mut watcher, mut client) = (site.watch(None), Client::default());
    client.read_all(&site, &mut watcher);
    let many = |from: usize| {
        (from..from + limits::SNAPSHOT_PART).for_each(|n| site.revoke(&n.to_string()));
    };
    many(0);
    site.revoke("one more");
    site.feed.advance(label(2));
    assert!(!client.take(site.next(&mut watcher).unwrap()), "a part");
    assert_eq!(site.feed.counts().lagged, 1);
    many(limits::SNAPSHOT_PART);
    site.feed.advance(label(3));
    // The rest of what it cannot go on from is not sent first.
    let next = site.next(&mut watcher).unwrap();
    assert!(matches!(next, Message::Part(_, true, _)));
    client.take(next);
    client.read_all(&site, &mut watcher);
    assert_eq!(site.feed.counts().lagged, 2);
    assert_eq!(client.set, set(&site.hot));
    assert_eq!(client.label, Some(label(3)));
}

/// A site whose snapshots are of two parts and the end.
fn two_parts() -> Site {
    let site = Site::new(Bounds::default());
    (0..=limits::SNAPSHOT_PART).for_each(|n| site.revoke(&n.to_string()));
    site.feed.advance(label(2));
    site
}

#[test]
fn who_is_in_the_middle_of_a_snapshot_finishes_it_whoever_begins_anew_meanwhile() {
    let site = two_parts();
    let (mut other, mut told) = (site.watch(None), Client::default());
    told.read_all(&site, &mut other);
    let (mut slow, mut loaded) = (site.watch(None), Client::default());
    assert!(!loaded.take(site.next(&mut slow).unwrap()), "a part");
    for counter in 3..20 {
        site.revoke(&format!("later {counter}"));
        site.feed.advance(label(counter));
        told.read_all(&site, &mut other);
        // It is not sent back behind that, as the client sees to.
        other.look(&View::All);
        assert!(!told.take(site.next(&mut other).unwrap()), "a part");
        assert_eq!(site.snapshots(), limits::SNAPSHOTS);
        told.read_all(&site, &mut other);
        assert_eq!(told.label, Some(label(counter)));
    }
    assert_eq!(site.feed.counts().snapshots, 18);
    loaded.read_all(&site, &mut slow);
    assert_eq!(loaded.set, set(&site.hot));
    assert_eq!(site.feed.counts().lagged, 0);
}

#[test]
fn where_as_many_snapshots_are_read_as_may_be_the_oldest_goes_after_a_turn() {
    let site = two_parts();
    // Each needs one of its own.
    let anew = |counter| {
        site.feed.advance(label(counter));
        let mut watcher = site.watch(None);
        watcher.look(&View::All);
        watcher
    };
    let part = |watcher: &mut Watcher| match site.next(watcher) {
        Some(Message::Part(_, is_first, None)) => Some(is_first),
        None => None,
        other => panic!("not a part: {other:?}"),
    };
    let mut reading = Vec::new();
    for counter in [3, 4] {
        let mut watcher = anew(counter);
        assert_eq!(part(&mut watcher), Some(true));
        reading.push(watcher);
    }
    assert_eq!(site.snapshots(), limits::SNAPSHOTS);
    let mut third = anew(5);
    let short = Duration::from_millis(1);
    for wait in [Duration::ZERO, limits::SNAPSHOT_TURN.saturating_sub(short)] {
        site.wait(wait);
        assert_eq!(part(&mut third), None);
    }
    site.wait(short);
    assert_eq!(part(&mut third), Some(true));
    // The second goes on, and the first has to begin anew with the newest.
    let parts = reading.iter_mut().map(part);
    assert_eq!(Vec::from_iter(parts), [Some(true), Some(false)]);
    assert_eq!(site.feed.counts().lagged, 1);
    assert_eq!(site.feed.counts().snapshots, 3);
    // Whoever leaves makes room at once.
    let mut fourth = anew(6);
    assert_eq!(part(&mut fourth), None);
    reading.pop();
    assert_eq!(part(&mut fourth), Some(true));
}

#[test]
fn a_snapshot_that_nobody_can_go_on_from_makes_room() {
    let site = Site::new(Bounds {
        deltas: 1_000,
        ..Bounds::default()
    });
    (0..=limits::SNAPSHOT_PART).for_each(|n| site.revoke(&n.to_string()));
    let mut reading = Vec::new();
    for counter in 2..5 {
        for n in 0..limits::SNAPSHOT_PART {
            site.revoke(&format!("{counter} {n}"));
        }
        site.feed.advance(label(counter));
        let mut watcher = site.watch(None);
        assert!(matches!(
            site.next(&mut watcher),
            Some(Message::Part(_, true, _))
        ));
        assert_eq!(site.snapshots(), 1);
        reading.push(watcher);
    }
}
