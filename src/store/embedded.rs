//! The embedded store: SQLite, one file, one broker.
//!
//! One thread owns the write connection and commits in groups: one fsync, each batch still its own revision. Reads
//! run on a few connections of their own, each in a snapshot. Beside `store.db` stand `-wal` and `-shm` (SQLite's),
//! `-lock` (whose lock is the right to open the store) and `-reserve` (room for revocation on a full disk).
//!
//! Opening reads the whole file once: SQLite's own check of the structure, and a checksum in each row. A damaged
//! write-ahead log cannot be told from one that ended early, and costs the newest revisions; [`super::recovery`] sees
//! that from the log, and redoes what must not be lost.

mod backup;
mod fault;
mod files;
mod group;
mod open;
mod readers;
mod reserve;
mod rows;
mod schema;
mod shared;
mod verify;
mod watchers;
mod writer;

pub use backup::{Restored, restore};
pub use fault::OpenError;

use super::recovery::Lineage;
use super::{
    Batch, CommitError, Cursor, Entry, Event, Key, LoadError, LogPosition, OutboxEntry, Page,
    Reply, Revision, Store, StoreFault,
};
use crate::clock::{Clock, Random};
use crate::limits;
use fault::SqlFault;
use files::{Owned, at, exists, restrict};
use open::{create, inspect, new_incarnation, unusable};
use reserve::Reserve;
use rusqlite::Connection;
use schema::Meta;
use shared::Shared;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use watchers::{History, Watchers};
use writer::{Job, Queued, Writer};

/// An open store. Dropping it ends the writer after what is queued; [`EmbeddedStore::close`] waits for that.
#[derive(Debug)]
pub struct EmbeddedStore {
    path: PathBuf,
    jobs: Sender<Queued>,
    /// The places in the writer's queue that are free.
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
    random: Arc<dyn Random>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held while a backup is being made.
    copying: Arc<tokio::sync::Mutex<()>>,
}

impl EmbeddedStore {
    /// Opens the store at `path`, making it if nothing is there. A backup that was put at `path` begins a new
    /// incarnation. Blocks while the file is read through.
    ///
    /// # Errors
    /// [`OpenError`]; the file is then as it was, and nothing but a lock file is put beside it.
    pub fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let path = std::path::absolute(path).map_err(at(path))?;
        let owned = Owned::take(&path)?;
        if !exists(&path)? {
            create(&path, random.as_ref())?;
        }
        let mut reserve = Reserve::existing(&path)?;
        // A restart on a full disk must be able to revoke too, and SQLite wants a little room to open.
        let (connection, meta) = loop {
            match begin(&path, random.as_ref()) {
                Err((error, true)) => {
                    if !reserve.as_mut().is_some_and(Reserve::give_up) {
                        return Err(error);
                    }
                }
                Err((error, false)) => return Err(error),
                Ok(begun) => break begun,
            }
        };
        // Only now: nothing is put beside a file that is not ours.
        let reserve = Reserve::whole(reserve, &path)?;
        let history = History::measure(&connection, &meta).map_err(unusable(&path))?;
        let readers = readers::Readers::new(path.clone(), Arc::clone(&clock));
        let shared = Arc::new(Shared::new(meta.head, readers));
        let writer = Writer {
            connection,
            meta,
            history,
            watchers: Watchers::default(),
            reserve,
            clock,
            shared: Arc::clone(&shared),
            owned,
        };
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(at(&path))?;
        Ok(Self {
            path,
            jobs,
            places: Arc::new(Semaphore::new(limits::STORE_QUEUE)),
            shared,
            random,
            thread: Mutex::new(Some(thread)),
            copying: Arc::default(),
        })
    }

    /// Ends the store: what is queued is written, then the file is closed and may be opened again.
    pub async fn close(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let jobs = self.jobs.clone();
        let wait = move || {
            jobs.send((Job::Close, None)).ok();
            // The thread's own panic, if any, was printed where it happened.
            thread.map(JoinHandle::join);
        };
        tokio::task::spawn_blocking(wait).await.ok();
    }

    /// Begins a new incarnation at the same counter. Recovery does this before it redoes what a store that lost
    /// revisions lacks: their counters were served before, with other content.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn renew(&self) -> Result<Revision, StoreFault> {
        let incarnation =
            new_incarnation(self.random.as_ref()).map_err(|error| StoreFault(error.to_string()))?;
        self.ask(|to| Job::Renew(incarnation, to)).await?
    }

    /// Where the data comes from, for [`super::recovery`].
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn lineage(&self) -> Result<Lineage, StoreFault> {
        self.read_with(|connection| {
            let meta = Meta::read(connection)?;
            Ok(Lineage {
                revision: meta.head,
                ancestors: rows::lineage(connection)?,
                log: meta.log,
            })
        })
        .await
    }

    /// Copies the store, as it is at one moment, to a new file while it goes on working. The copy is a single
    /// file; opened as a store, it begins a new incarnation.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when something is at `to`, [`OpenError::Copying`] as long as another backup is being made,
    /// also one whose caller has left; other [`OpenError`]s leave nothing behind.
    pub async fn backup(&self, to: &Path) -> Result<Revision, OpenError> {
        // Held by the work, not by the call: the draft of a copy that goes on must not be taken from under it.
        let turn = Arc::clone(&self.copying).try_lock_owned();
        let turn = turn.map_err(|_| OpenError::Copying)?;
        let (from, path) = (self.path.clone(), to.to_owned());
        let copied = tokio::task::spawn_blocking(move || {
            let copied = backup::backup(&from, &path);
            drop(turn);
            copied
        });
        copied
            .await
            .map_err(|error| at(to)(std::io::Error::other(error)))?
    }

    /// Asks the writer, and waits for a place in its queue: who asks empties the outbox, follows the store or recovers it.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, StoreFault> {
        let (to, answer) = oneshot::channel();
        self.queue(job(to), true).await.map_err(StoreFault)?;
        answer
            .await
            .map_err(|_| StoreFault("it was closed meanwhile".to_owned()))
    }

    /// Puts a job into the writer's queue; it does not get there where this fails.
    async fn queue(&self, job: Job, may_wait: bool) -> Result<(), String> {
        let place = self.place(may_wait).await;
        let place = place.ok_or_else(|| "it is overloaded".to_owned())?;
        let queued = self.jobs.send((job, Some(place)));
        queued.map_err(|_| "it is closed".to_owned())
    }

    /// A place in the queue, given back when the writer takes the job. Those who wait come before all who find it full.
    async fn place(&self, may_wait: bool) -> Option<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.places).try_acquire_owned().ok();
        if free.is_some() || !may_wait {
            return free;
        }
        let place = Arc::clone(&self.places).acquire_owned();
        timeout(limits::STORE_PLACE, place).await.ok()?.ok()
    }

    async fn blocking<T: Send + 'static, E: From<StoreFault> + Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let lost = |what: &str| StoreFault(what.to_owned());
        let shared = Arc::clone(&self.shared);
        let turn = Arc::clone(&shared.readers.turns).acquire_owned().await;
        let turn = turn.map_err(|_| lost("it is closed"))?;
        let work = move || {
            let answer = read(&shared);
            drop(turn);
            answer
        };
        let answer = tokio::task::spawn_blocking(work).await;
        answer.map_err(|_| lost("the read was stopped"))?
    }

    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, SqlFault> + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.blocking(|shared| shared.readers.read(read)).await
    }
}

/// Inspects the file and opens it for writing. Also told with an error: whether room on the disk may help.
fn begin(path: &Path, random: &dyn Random) -> Result<(Connection, Meta), (OpenError, bool)> {
    let plain = |error| (error, false);
    let fault = |fault: SqlFault| {
        let room = fault.may_lack_room();
        (unusable(path)(fault), room)
    };
    inspect(path).map_err(|error| {
        let room = matches!(error, OpenError::Unusable { .. });
        (error, room)
    })?;
    restrict(path).map_err(plain)?;
    let connection = open::writer(path).map_err(fault)?;
    let mut meta = Meta::read(&connection).map_err(fault)?;
    if meta.copied {
        let incarnation = new_incarnation(random).map_err(plain)?;
        writer::renew(&connection, &mut meta, incarnation).map_err(|failed| {
            let room = matches!(failed, group::Failed::Full);
            (unusable(path)(failed.into()), room)
        })?;
    }
    Ok((connection, meta))
}

impl Store for EmbeddedStore {
    fn revision(&self) -> Reply<'_, Result<Revision, StoreFault>> {
        Box::pin(async { Ok(self.shared.revision()) })
    }

    fn read<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreFault>> {
        let key = key.clone();
        Box::pin(self.read_with(move |connection| rows::read(connection, &key)))
    }

    fn read_each<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> Reply<'a, Result<Vec<Option<Entry>>, StoreFault>> {
        let keys = keys.to_vec();
        Box::pin(self.read_with(move |connection| {
            let entries = keys.iter().map(|key| rows::read(connection, key));
            entries.collect()
        }))
    }

    fn load<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<Cursor>,
    ) -> Reply<'a, Result<Page, LoadError>> {
        let prefix = prefix.to_owned();
        Box::pin(self.blocking(move |shared| shared.readers.page(&prefix, from)))
    }

    fn commit(&self, batch: Batch) -> Reply<'_, Result<Revision, CommitError>> {
        Box::pin(async {
            let (to, answer) = oneshot::channel();
            let may_wait = batch.is_reserved();
            let queued = self.queue(Job::Commit(batch, to), may_wait).await;
            queued.map_err(CommitError::Refused)?;
            // The job was taken and not answered: whether it was written is not known.
            let lost = |_| CommitError::Unknown("the store was closed meanwhile".to_owned());
            answer.await.map_err(lost)?
        })
    }

    fn watch(&self, from: Revision) -> Reply<'_, Result<mpsc::Receiver<Event>, StoreFault>> {
        Box::pin(async move { self.ask(|to| Job::Watch(from, to)).await? })
    }

    fn outbox(&self, limit: usize) -> Reply<'_, Result<Vec<OutboxEntry>, StoreFault>> {
        Box::pin(self.read_with(move |connection| rows::records(connection, limit)))
    }

    fn drained(&self, position: LogPosition) -> Reply<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.ask(|to| Job::Drained(position, to)).await? })
    }

    fn log_position(&self) -> Reply<'_, Result<Option<LogPosition>, StoreFault>> {
        Box::pin(self.read_with(|connection| Ok(Meta::read(connection)?.log)))
    }
}
