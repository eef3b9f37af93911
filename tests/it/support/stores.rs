//! Small helpers for tests that talk to a store.

use cambist::clock::{Clock, SystemClock, SystemRandomness};
use cambist::store::embedded::{EmbeddedStore, OpenError};
use cambist::store::{Batch, Entry, Event, Key, LoadError, Revision, Store, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Long enough that only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn clock() -> Arc<dyn Clock> {
    SystemClock::shared()
}

pub(crate) fn open(path: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(path, SystemClock::shared(), SystemRandomness::shared())
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn value(bytes: impl AsRef<[u8]>) -> Value {
    Value::new(bytes.as_ref()).unwrap()
}

pub(crate) fn put(text: &str, bytes: impl AsRef<[u8]>) -> Batch {
    Batch::new().put(key(text), value(bytes)).unwrap()
}

/// Every entry under `prefix`, with the revision and how many pages it took.
pub(crate) async fn load_all(store: &dyn Store, prefix: &str) -> (Vec<Entry>, Revision, usize) {
    'again: loop {
        let (mut entries, mut pages, mut from) = (Vec::new(), 0, None);
        loop {
            let page = match store.load(prefix, from).await {
                Ok(page) => page,
                Err(LoadError::Restart) => continue 'again,
                Err(error) => panic!("{error}"),
            };
            entries.extend(page.entries);
            pages += 1;
            from = page.next;
            if from.is_none() {
                return (entries, page.revision, pages);
            }
        }
    }
}

/// The next event, or `None` when the watch is closed.
pub(crate) async fn event(events: &mut mpsc::Receiver<Event>) -> Option<Event> {
    tokio::time::timeout(PATIENCE, events.recv()).await.unwrap()
}

/// The next event that is not a confirmation.
pub(crate) async fn change(events: &mut mpsc::Receiver<Event>) -> Option<Event> {
    loop {
        match event(events).await {
            Some(Event::Current { .. }) => {}
            other => return other,
        }
    }
}
