//! Publishing the log: once a second while there is something new, and once more when it has ended. Now and then the last
//! checkpoint is recorded, too.

use super::World;
use super::open::Opened;
use super::parties::Parties;
use crate::audit::{
    Disk, DiskShelf, Herald, Log, LogHealth, Lost, PublishError, Published, Publisher,
    Segments as _, Shelf as _,
};
use crate::clock::{Clock, Random};
use crate::keys::{Kek, LogKey, LogKeyError};
use crate::limits;
use crate::store::LogId;
use anyhow::{Context as _, anyhow};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// The file with the log's key, sealed.
pub(super) const KEY: &str = "key";
/// How often: C2SP logs publish at most once a second.
const PACE: Duration = Duration::from_secs(1);

/// A log and its publisher.
#[derive(Clone, Debug)]
pub(super) struct Publishing {
    publisher: Arc<Publisher>,
    parties: Parties,
    log: Log,
    clock: Arc<dyn Clock>,
    failing: Arc<Mutex<Option<Failing>>>,
}

/// Checkpoints cannot be published.
#[derive(Debug)]
struct Failing {
    /// On the monotonic clock.
    since: Duration,
    why: String,
    /// The one that there would be.
    unkept: Option<Arc<Published>>,
}

/// Whether the log is without a key of its own, although there is something that was signed with one. The key is made before the
/// first record; made later, it would sign whatever somebody has put in the records' place after they took the key away.
pub(super) fn is_keyless(folder: &Path, log: &Log, kek: &Kek) -> Result<bool, LogKeyError> {
    match key(folder, log, kek) {
        Ok(None) => Ok(log.durable() > 0),
        Err(LogKeyError::OtherLog(_)) => Ok(true),
        held => held.map(|_| false),
    }
}

fn key(folder: &Path, log: &Log, kek: &Kek) -> Result<Option<LogKey>, LogKeyError> {
    let id = String::from(log.id());
    LogKey::open_as_read(&folder.join(KEY), &id, log.signed_from(), kek)
}

/// The log's tree, key and last checkpoint, of a log that is not [keyless](is_keyless). One that this start has begun anew, by a
/// rollback that was accepted, signs with a key of its own: what the old key signed stays true of the old log, which is
/// `given_up`, and is set aside with it.
pub(super) fn open(
    folder: &Path,
    disk: Arc<Disk>,
    log: &Log,
    given_up: Option<LogId>,
    kek: &Kek,
    random: &dyn Random,
) -> anyhow::Result<Publisher> {
    let (path, id) = (folder.join(KEY), String::from(log.id()));
    let shelf = Arc::new(DiskShelf::new(folder));
    if let Some(old) = given_up {
        // Its first hashes would have to be taken from the tree that is given up.
        if disk.segments()?.first().is_some_and(|first| *first > 0) {
            return Err(anyhow!(
                "the log was begun anew, and `retention` had removed its first records, so that no tree can be grown \
                 over it: move {} away, and start with --accept-rollback once more",
                folder.display()
            ));
        }
        set_aside(folder, &String::from(old)).context("the old tree cannot be set aside")?;
    }
    let is_new = || Ok::<_, std::io::Error>(shelf.checkpoint()?.is_none() && !shelf.holds_tiles()?);
    let key = match key(folder, log, kek) {
        Ok(Some(key)) => key,
        Ok(None) if is_new()? => LogKey::create(&path, &id, log.signed_from(), kek, random)?,
        Ok(None) | Err(LogKeyError::OtherLog(_)) => return Err(PublishError::Keyless(path).into()),
        Err(error) => return Err(error.into()),
    };
    let publisher = Publisher::open(disk, shelf, key, log.origin(), log.durable())?;
    publisher.begins_as_told()?;
    Ok(publisher)
}

/// Has the key of a log that an earlier version began say from where on its headers are signed, once the last one is.
pub(super) fn ratchet(folder: &Path, log: &Log, kek: &Kek, random: &dyn Random) {
    let noted = log.signed_from().map_or(Ok(()), |from| {
        LogKey::note_signed(&folder.join(KEY), from, kek, random)
    });
    // A full disk is no reason not to start.
    if let Err(error) = noted {
        tracing::warn!(%error, "the log's key does not take from where on the headers of its segments are signed");
    }
}

/// Renames what belongs to another log. The key last: while it is there, no start goes on without doing this again.
fn set_aside(folder: &Path, old: &str) -> std::io::Result<()> {
    for name in ["tile", "checkpoint", DiskShelf::KEY, KEY] {
        match std::fs::rename(folder.join(name), folder.join(format!("{name}.{old}"))) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Publishes until nothing is asked any more. What comes after that is [`Publishing::publish`]'s, once the log has ended.
pub(super) fn start(world: &World, opened: &Opened) -> Publishing {
    let publishing = Publishing {
        publisher: Arc::clone(&opened.publisher),
        parties: opened.parties.clone(),
        log: opened.log.clone(),
        clock: Arc::clone(&world.clock),
        failing: Arc::default(),
    };
    let (this, quiet) = (publishing.clone(), world.lifecycle.quiet().clone());
    let clock = Arc::clone(&world.clock);
    let mut herald = Herald::new(clock.monotonic(), this.size());
    world.lifecycle.spawn("publisher", async move {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = quiet.cancelled() => return Ok::<_, anyhow::Error>(()),
                _ = ticks.tick() => this.publish().await,
            }
            // Waits for a commit: a stop does not.
            let told = this.tell(&mut herald, clock.monotonic());
            quiet.run_until_cancelled(told).await;
        }
    });
    publishing
}

impl Publishing {
    /// Publishes what the log holds at its end, and sends it on. `whole` says that what was acknowledged is all that there is.
    pub(super) async fn finish(&self, whole: bool) {
        self.publish().await;
        if let Some(last) = self.last() {
            let ended = whole && last.checkpoint.size == self.log.durable();
            self.parties.part(&self.publisher, &last, ended).await;
        }
    }

    /// Keeps the last checkpoint in the store.
    pub(super) async fn keep(&self) {
        if let Some(last) = self.last() {
            self.parties.keep(&last, false).await;
        }
    }

    /// That nothing was published for longer than [`limits::LOG_UNPUBLISHED`], where it is so: what nobody has signed can be
    /// changed without anybody's knowing.
    pub(super) fn overdue(&self) -> Option<Lost> {
        let failing = self.failing();
        let failing = failing.as_ref()?;
        let age = self.clock.monotonic().saturating_sub(failing.since);
        (age > limits::LOG_UNPUBLISHED).then(|| Lost::Unsigned(failing.why.clone()))
    }

    /// The last checkpoint, be it one that could not be published.
    fn last(&self) -> Option<Arc<Published>> {
        let failing = self.failing();
        let unkept = failing.as_ref().and_then(|failing| failing.unkept.clone());
        unkept.or_else(|| self.publisher.published())
    }

    fn failing(&self) -> MutexGuard<'_, Option<Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many records the last checkpoint is of.
    fn size(&self) -> u64 {
        let last = self.publisher.published();
        last.map_or(0, |last| last.checkpoint.size)
    }

    /// Puts the last checkpoint on the record when it is time.
    async fn tell(&self, herald: &mut Herald, now: Duration) {
        let is_well = *self.log.health() == LogHealth::Writing;
        if let Some(last) = self.publisher.published().filter(|_| is_well) {
            herald.tell(&last, &self.log, now).await;
        }
    }

    /// Publishes what the log holds by now. A failure is counted and told; the next call tries again.
    pub(super) async fn publish(&self) {
        let (publisher, durable) = (Arc::clone(&self.publisher), self.log.durable());
        let advance = move || {
            let advanced = publisher.advance(durable);
            advanced.map_err(|error| (error, publisher.unkept(durable)))
        };
        let advanced = tokio::task::spawn_blocking(advance).await;
        let advanced = advanced.unwrap_or(Err((PublishError::Signing, None)));
        let stats = self.log.stats();
        let Err((error, unkept)) = advanced else {
            stats.published.store(self.size(), Ordering::Release);
            *self.failing() = None;
            return;
        };
        stats.publish_failures.fetch_add(1, Ordering::Relaxed);
        let mut failing = self.failing();
        // Said once, and not each second.
        if failing.is_none() {
            tracing::warn!(%error, "no checkpoint of the log is published; tried again");
        }
        let since = failing.take().map(|failing| failing.since);
        *failing = Some(Failing {
            since: since.unwrap_or_else(|| self.clock.monotonic()),
            why: error.to_string(),
            unkept,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Headers, Options};
    use crate::clock::{SystemClock, SystemRandomness};
    use crate::keys::MacKey;
    use zeroize::Zeroizing;

    /// As one is that was taken away before the headers were read, and put back after.
    #[tokio::test]
    async fn a_key_that_says_another_thing_than_when_the_headers_were_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::open(folder.path(), 0).unwrap());
        let kek = Kek::new(Zeroizing::new([7; Kek::LENGTH])).unwrap();
        let random: Arc<dyn Random> = SystemRandomness::shared();
        let (log, _) = Log::open(
            Arc::clone(&disk) as _,
            "localhost/node-1",
            Arc::default(),
            SystemClock::shared(),
            Arc::clone(&random),
            Headers::new(MacKey::testing(), None),
            Options::default(),
        )
        .unwrap();
        let id = String::from(log.id());
        let path = folder.path().join(KEY);
        for (says, is_taken) in [(Some(0), true), (Some(9), false)] {
            LogKey::create(&path, &id, says, &kek, &*random).unwrap();
            assert_eq!(is_keyless(folder.path(), &log, &kek).is_ok(), is_taken);
            let opened = open(folder.path(), Arc::clone(&disk), &log, None, &kek, &*random);
            assert_eq!(opened.is_ok(), is_taken, "{opened:?}");
            std::fs::remove_file(&path).unwrap();
        }
        log.close().await;
    }
}
