//! A store whose answers are waited for so long and no longer.

use super::{
    Batch, CommitError, Cursor, Entry, Event, Key, LoadError, LogPosition, OutboxEntry, Page,
    Reply, Revision, Store, StoreFault,
};
use crate::limits;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What is said of a store that does not answer in time.
const SILENT: &str = "it does not answer";

/// A store, each of whose reads and commits takes [`limits::STORE_COMMIT`] at most: whoever revokes something has an answer
/// then, though the store hangs. What only those wait for who follow it is left as it is.
#[derive(Debug)]
pub struct Timed(Arc<dyn Store>);

impl Timed {
    /// The same store, waited for so long.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

async fn in_time<T>(reply: Reply<'_, Result<T, StoreFault>>) -> Result<T, StoreFault> {
    let answered = timeout(limits::STORE_COMMIT, reply).await;
    answered.unwrap_or_else(|_| Err(StoreFault(SILENT.to_owned())))
}

impl Store for Timed {
    fn revision(&self) -> Reply<'_, Result<Revision, StoreFault>> {
        Box::pin(in_time(self.0.revision()))
    }

    fn read<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreFault>> {
        Box::pin(in_time(self.0.read(key)))
    }

    fn read_each<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> Reply<'a, Result<Vec<Option<Entry>>, StoreFault>> {
        Box::pin(in_time(self.0.read_each(keys)))
    }

    fn load<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<Cursor>,
    ) -> Reply<'a, Result<Page, LoadError>> {
        Box::pin(async move {
            let loaded = timeout(limits::STORE_COMMIT, self.0.load(prefix, from)).await;
            loaded.unwrap_or_else(|_| Err(StoreFault(SILENT.to_owned()).into()))
        })
    }

    fn commit(&self, batch: Batch) -> Reply<'_, Result<Revision, CommitError>> {
        Box::pin(async move {
            let committed = timeout(limits::STORE_COMMIT, self.0.commit(batch)).await;
            // It may be committed yet.
            committed.unwrap_or_else(|_| Err(CommitError::Unknown(SILENT.to_owned())))
        })
    }

    fn watch(&self, from: Revision) -> Reply<'_, Result<mpsc::Receiver<Event>, StoreFault>> {
        self.0.watch(from)
    }

    fn outbox(&self, limit: usize) -> Reply<'_, Result<Vec<OutboxEntry>, StoreFault>> {
        self.0.outbox(limit)
    }

    fn drained(&self, position: LogPosition) -> Reply<'_, Result<(), StoreFault>> {
        self.0.drained(position)
    }

    fn log_position(&self) -> Reply<'_, Result<Option<LogPosition>, StoreFault>> {
        self.0.log_position()
    }
}
