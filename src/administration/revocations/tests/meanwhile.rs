//! What is revoked while what waited before is let go of.

use super::*;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Held by whoever looks at the log: where two begin to at once, one may miss the first line of a kind.
pub(in super::super) static LOOKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Is told each line of the log, at the moment when it is written.
#[derive(Clone)]
pub(super) struct Lines(pub(super) Arc<dyn Fn(&str) + Send + Sync>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (self.0)(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_comes_to_wait_right_after_the_last_one_is_written_stays_in_force() {
    let _alone = LOOKING.lock().await;
    let world = Arc::new(World::new());
    let [first, second] = [world.key("team", 0).await, world.key("team", 0).await];
    let on = Precondition::default();
    world.away(true);
    let revoked = world.revoke(&Revocable::ApiKey(first), &on).await;
    assert_eq!(revoked.unwrap().revision, None);
    world.away(false);

    let (other, came) = (Arc::clone(&world), Arc::new(AtomicBool::default()));
    let has_come = Arc::clone(&came);
    let lines = Lines(Arc::new(move |line| {
        if line.contains("every revocation that waited is written")
            && !has_come.swap(true, Ordering::AcqRel)
        {
            let what = Revocable::ApiKey(second);
            let asked = other.admin.asked(&what, "", &author());
            let revoked = other
                .admin
                .revoke_unwritten(&asked, &Precondition::default());
            assert_eq!(revoked.unwrap().revision, None);
        }
    }));
    let lines = Mutex::new(lines);
    let subscriber = tracing_subscriber::fmt().with_writer(lines).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    world.admin.settle().await.unwrap();
    drop(guard);
    assert!(came.load(Ordering::Acquire));
    assert_eq!(world.are_revoked(&[first, second]).await, [true, false]);
    // Whatever is put of it: the key is loaded again, and is not known to be revoked.
    world.admin.changes.all_in_force().await.unwrap();
    assert!(world.hot.credential(CredentialId::ApiKey(second)));
    assert!(world.admin.is_undurable(&second));
    world.admin.settle().await.unwrap();
    assert!(world.is_revoked(&second).await && !world.admin.undurable.any());
}

/// It would be in force on, whatever was answered.
#[tokio::test]
async fn what_was_revoked_while_nothing_could_be_written_is_taken_back_once_all_of_that_is() {
    let world = World::new();
    let (key, on) = (world.key("team", 0).await, Precondition::default());
    let thing = Thing::Subject("https://cambist.example.org", "somebody");
    let id = thing.id();
    world.away(true);
    let somebody = Revocable::Subject("somebody".to_owned(), Reach::Ban);
    for what in [&somebody, &Revocable::ApiKey(key)] {
        assert_eq!(world.revoke(what, &on).await.unwrap().revision, None);
    }
    world.away(false);
    world.contest(Some(stored_key(&key)));
    world.admin.settle().await.unwrap_err();
    assert_eq!(world.admin.undurable.len(), 1);
    let denied = world.admin.reinstate(&id, "", &author(), &on).await;
    assert_eq!(denied.unwrap_err().code(), "store_unavailable");
    assert!(world.hot.markers().get(&id).is_some());
    world.contest(None);
    world.admin.settle().await.unwrap();
    let reinstated = world.admin.reinstate(&id, "", &author(), &on).await;
    assert!(reinstated.unwrap().0.is_reinstated());
    assert!(world.hot.markers().get(&id).is_none());
}

/// Nothing would let go of it, and nobody could take it back.
#[tokio::test]
async fn what_is_asked_for_while_the_last_one_is_written_is_let_go_of_with_it() {
    let _alone = LOOKING.lock().await;
    let world = Arc::new(World::new());
    let asked_for = |sub: usize| {
        let what = Revocable::Subject(sub.to_string(), Reach::Ban);
        world.admin.asked(&what, "", &author())
    };
    // One less than it is warned of.
    let near = limits::UNDURABLE * limits::NEAR.0 / 100;
    for sub in 1..near {
        world.admin.undurable.push(&asked_for(sub), || {}).unwrap();
    }
    let (other, came) = (Arc::clone(&world), Arc::new(AtomicBool::default()));
    let has_come = Arc::clone(&came);
    let lines = Lines(Arc::new(move |line| {
        if line.contains("nearly as many revocations wait") {
            // As `settle` does once it has written each.
            while let Some(first) = other.admin.undurable.first() {
                other.admin.undurable.written(&first);
            }
            other.admin.undurable.if_empty(|| other.hot.unpin());
            has_come.store(true, Ordering::Release);
        }
    }));
    let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(lines));
    let guard = tracing::subscriber::set_default(subscriber.finish());
    let asked = asked_for(0);
    let revoked = world
        .admin
        .revoke_unwritten(&asked, &Precondition::default());
    drop(guard);
    assert!(came.load(Ordering::Acquire) && !world.admin.undurable.any());
    let id = revoked.unwrap().markers[0].marker.id;
    assert!(world.hot.markers().get(&id).is_some());
    assert!(!world.hot.is_pinned(&id));
}
