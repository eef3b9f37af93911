//! Reading: a few connections that cannot write, and the snapshots that loads in progress hold.

use super::fault::SqlFault;
use super::open;
use super::rows;
use super::schema::Meta;
use crate::clock::Clock;
use crate::limits;
use crate::store::{Cursor, LoadError, Page, Revision, StoreFault};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The read side of a store.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    pub(super) turns: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    held: Vec<Held>,
}

/// A connection inside a read transaction: it sees the store as it was at `revision`.
#[derive(Debug)]
struct Held {
    connection: Connection,
    revision: Revision,
    used: Duration,
}

impl Readers {
    pub(super) fn new(path: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            path,
            clock,
            turns: Arc::new(Semaphore::new(limits::STORE_READERS)),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> Result<Connection, SqlFault> {
        let idle = self.state().idle.pop();
        idle.map_or_else(|| open::reader(&self.path), Ok)
    }

    fn put_back(&self, connection: Connection) {
        let mut state = self.state();
        if state.idle.len() < limits::STORE_READERS {
            state.idle.push(connection);
        }
    }

    /// Runs one read. A connection whose read failed is not used again.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, SqlFault>,
    ) -> Result<T, StoreFault> {
        let connection = self.connection()?;
        let answer = read(&connection)?;
        self.put_back(connection);
        Ok(answer)
    }

    /// A page, at the revision of the load's first page.
    pub(super) fn page(&self, prefix: &str, from: Option<Cursor>) -> Result<Page, LoadError> {
        let (held, after) = match from {
            None => (self.snapshot()?, None),
            Some(cursor) => (self.resume(cursor.revision)?, Some(cursor.after)),
        };
        let found = rows::page(&held.connection, prefix, after.as_ref());
        let (entries, more) = found.map_err(StoreFault::from)?;
        let revision = held.revision;
        let next = match (entries.last(), more) {
            (Some(last), true) => Some(Cursor {
                after: last.key.clone(),
                revision,
            }),
            _ => None,
        };
        if next.is_some() {
            self.hold(held);
        } else if held.connection.execute_batch("COMMIT").is_ok() {
            self.put_back(held.connection);
        }
        Ok(Page {
            entries,
            revision,
            next,
        })
    }

    fn snapshot(&self) -> Result<Held, StoreFault> {
        let connection = self.connection()?;
        let begun = connection.execute_batch("BEGIN").map_err(SqlFault::from);
        // The first statement takes the snapshot.
        let meta = begun.and_then(|()| Meta::read(&connection))?;
        Ok(Held {
            connection,
            revision: meta.head,
            used: self.clock.monotonic(),
        })
    }

    fn resume(&self, revision: Revision) -> Result<Held, LoadError> {
        let mut state = self.state();
        let found = state.held.iter().position(|held| held.revision == revision);
        if let Some(found) = found {
            return Ok(state.held.swap_remove(found));
        }
        drop(state);
        // Given up for another load, but nothing was written since: the revision can still be had.
        let held = self.snapshot()?;
        if held.revision == revision {
            Ok(held)
        } else {
            Err(LoadError::Restart)
        }
    }

    fn hold(&self, mut held: Held) {
        held.used = self.clock.monotonic();
        let mut state = self.state();
        if state.held.len() >= limits::STORE_SNAPSHOTS {
            let used = |(_, held): &(usize, &Held)| held.used;
            let oldest = state.held.iter().enumerate().min_by_key(used);
            if let Some((oldest, _)) = oldest {
                state.held.swap_remove(oldest);
            }
        }
        state.held.push(held);
    }

    /// Lets go of snapshots that nobody came back for.
    pub(super) fn expire(&self, now: Duration) {
        self.state()
            .held
            .retain(|held| now.saturating_sub(held.used) <= limits::STORE_SNAPSHOT_IDLE);
    }

    /// Closes what is not in use.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.idle.clear();
        state.held.clear();
    }
}
