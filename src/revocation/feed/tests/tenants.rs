//! Who is told of what, where markers are of tenants.

use super::*;

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

fn only(names: &[&str]) -> View {
    View::Only(Arc::new(names.iter().map(|name| tenant(name)).collect()))
}

impl Site {
    fn revoke_of(&self, id: &str, of: &str) {
        let tenant = tenant(of);
        self.hot
            .revoke_of(Thing::Issuer(id), Second::NEVER, Some(&tenant));
    }
}

impl Client {
    fn ids(&self) -> Vec<MarkerId> {
        self.set.keys().copied().collect()
    }
}

fn names(ids: &[&str]) -> Vec<MarkerId> {
    let mut names: Vec<_> = ids.iter().map(|id| name(id)).collect();
    names.sort_unstable();
    names
}

#[test]
fn everybody_is_sent_what_is_theirs_in_snapshots_and_in_deltas() {
    let all: [(View, &[&str]); 4] = [
        (View::All, &["n1", "a1", "b1", "n2", "a2", "b2"]),
        (only(&["a"]), &["n1", "a1", "n2", "a2"]),
        (only(&["a", "b"]), &["n1", "a1", "b1", "n2", "a2", "b2"]),
        (only(&["c"]), &["n1", "n2"]),
    ];
    let site = Site::new(Bounds::default());
    let put = |which: &str| {
        site.revoke(&format!("n{which}"));
        site.revoke_of(&format!("a{which}"), "a");
        site.revoke_of(&format!("b{which}"), "b");
    };
    put("1");
    site.feed.advance(label(2));
    let mut begun = Vec::new();
    for (view, _) in &all {
        let (mut watcher, mut client) = (site.view(view, None), Client::default());
        client.read_all(&site, &mut watcher);
        assert_eq!(client.view, Some(view.token()));
        begun.push((watcher, client));
    }
    put("2");
    site.feed.advance(label(3));
    for ((view, ids), (mut watcher, mut client)) in all.into_iter().zip(begun) {
        client.read_all(&site, &mut watcher);
        assert_eq!(client.ids(), names(ids), "{view:?}");
        // Whatever the last delta was, each hears that the revision is reached.
        assert_eq!(client.label, Some(label(3)), "{view:?}");
        let mut anew = Client::default();
        anew.read_all(&site, &mut site.view(&view, None));
        assert_eq!(anew.set, client.set);
        let mut back = Client::default();
        back.read_all(&site, &mut site.view(&view, Some(revision(1, 3))));
        let news: Vec<_> = ids.iter().filter(|id| id.ends_with('2')).copied().collect();
        assert_eq!(back.ids(), names(&news), "{view:?}");
    }
    // One for all of them, and each delta encoded once: of three partitions, twice.
    assert_eq!(site.feed.counts().snapshots, 1);
    let kept = site.kept.0.lock().unwrap();
    let is_delta = |message: &&Message| matches!(message, Message::Delta(..));
    assert_eq!(kept.iter().filter(is_delta).count(), 6);
}

/// Until all that came with a revision has been sent, nothing says that it is reached.
#[test]
fn a_label_is_true_for_whoever_passes_over_the_delta_that_has_it() {
    let site = Site::new(Bounds::default());
    let (mut watcher, mut client) = (site.view(&only(&["a"]), None), Client::default());
    client.read_all(&site, &mut watcher);
    site.revoke_of("a1", "a");
    site.revoke_of("b1", "b");
    site.feed.advance(label(2));
    assert!(matches!(site.next(&mut watcher), Some(Message::Delta(_, at)) if at == label(1)));
    assert!(matches!(site.next(&mut watcher), Some(Message::Beat(at)) if at == label(2)));
    assert!(site.next(&mut watcher).is_none());
    // One partition alone says it itself.
    site.revoke_of("a2", "a");
    site.feed.advance(label(3));
    assert!(matches!(site.next(&mut watcher), Some(Message::Delta(_, at)) if at == label(3)));
    assert!(site.next(&mut watcher).is_none());
}

/// It is not told that something happened, but hears of the revision with everybody else.
#[test]
fn what_is_another_tenants_is_no_message_and_keeps_no_heartbeat_back() {
    let site = Site::new(Bounds::default());
    let (mut watcher, mut client) = (site.view(&only(&["a"]), None), Client::default());
    client.read_all(&site, &mut watcher);
    for counter in 2..5 {
        site.revoke_of(&counter.to_string(), "b");
        site.feed.advance(label(counter));
        assert!(site.next(&mut watcher).is_none());
        site.feed.beat();
        // More of it comes before the heartbeat is read.
        site.revoke_of(&format!("{counter} and more"), "b");
        site.feed.advance(label(counter));
        assert!(matches!(site.next(&mut watcher), Some(Message::Beat(at)) if at == label(counter)));
        assert!(site.next(&mut watcher).is_none());
    }
    assert_eq!(site.feed.counts().deltas, 0);
}

#[test]
fn nobody_falls_behind_on_what_is_not_sent_to_it() {
    let site = Site::new(Bounds {
        deltas: 1_000,
        ..Bounds::default()
    });
    let (mut watcher, mut client) = (site.view(&only(&["a"]), None), Client::default());
    client.read_all(&site, &mut watcher);
    for counter in 2..50 {
        site.revoke_of(&counter.to_string(), "b");
        site.feed.advance(label(counter));
        client.read_all(&site, &mut watcher);
    }
    site.revoke_of("a", "a");
    site.feed.advance(label(50));
    client.read_all(&site, &mut watcher);
    assert_eq!(client.ids(), names(&["a"]));
    assert_eq!(site.feed.counts().lagged, 0);
}

#[test]
fn who_sees_more_or_less_than_before_begins_anew() {
    let site = Site::new(Bounds::default());
    for of in ["a", "b"] {
        site.revoke_of(&format!("{of}1"), of);
    }
    site.feed.advance(label(2));
    let (mut watcher, mut client) = (site.view(&only(&["a"]), None), Client::default());
    client.read_all(&site, &mut watcher);
    assert_eq!(client.ids(), names(&["a1"]));
    site.revoke_of("b2", "b");
    site.feed.advance(label(3));
    watcher.look(&only(&["a", "b"]));
    client.read_all(&site, &mut watcher);
    assert_eq!(client.ids(), names(&["a1", "b1", "b2"]));
    assert_eq!(client.label, Some(label(3)));
    // In the middle of a snapshot, too.
    watcher.look(&View::All);
    assert!(!client.take(site.next(&mut watcher).unwrap()));
    watcher.look(&only(&["b"]));
    client.read_all(&site, &mut watcher);
    assert_eq!(client.ids(), names(&["b1", "b2"]));
    assert_eq!(client.view, Some(only(&["b"]).token()));
}

#[test]
fn what_was_one_tenants_and_is_of_none_is_told_to_all() {
    let site = Site::new(Bounds::default());
    site.revoke_of("x", "a");
    site.feed.advance(label(2));
    let (mut watcher, mut client) = (site.view(&only(&["b"]), None), Client::default());
    client.read_all(&site, &mut watcher);
    assert_eq!(client.ids(), []);
    site.revoke("x");
    site.feed.advance(label(3));
    client.read_all(&site, &mut watcher);
    assert_eq!(client.ids(), names(&["x"]));
    site.hot.release(Thing::Issuer("x"));
    site.feed.advance(label(4));
    client.read_all(&site, &mut watcher);
    assert_eq!(client.ids(), []);
}
