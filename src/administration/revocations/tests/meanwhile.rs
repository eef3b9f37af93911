//! What is revoked while what waited before is let go of.

use super::*;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Is told each line of the log, at the moment when it is written.
#[derive(Clone)]
struct Lines(Arc<dyn Fn(&str) + Send + Sync>);

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
