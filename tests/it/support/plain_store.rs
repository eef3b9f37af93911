//! A store in memory that keeps the commit contract and does what it is told to do wrong.

use cambist::store::{
    Batch, CommitError, Cursor, Entry, Event, Expect, Incarnation, Key, LoadError, LogPosition, Op,
    OutboxEntry, Page, Reply, Revision, Store, StoreFault, Value,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use tokio::sync::mpsc;

/// What becomes of the next commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// Somebody else's commit comes first.
    Overtaken(Vec<Op>),
    /// Committed, and the answer is lost.
    LostAnswer,
    /// Not committed, and the answer is lost.
    Lost,
}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<String, (Value, u64)>,
    counter: u64,
    records: Vec<Vec<u8>>,
    reserved: u64,
    last: Vec<Op>,
    mishaps: VecDeque<Mishap>,
}

#[derive(Debug, Default)]
pub(crate) struct PlainStore(Mutex<Inner>);

impl PlainStore {
    pub(crate) fn will(&self, mishap: Mishap) {
        self.0.lock().unwrap().mishaps.push_back(mishap);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let inner = self.0.lock().unwrap();
        let entry = |(key, (value, modified)): (&String, &(Value, u64))| Entry {
            key: Key::new(key).unwrap(),
            value: value.clone(),
            modified: *modified,
        };
        inner.entries.iter().map(entry).collect()
    }

    /// The records of all commits, in order.
    pub(crate) fn records(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().records.clone()
    }

    /// How many commits were allowed to use the reserve.
    pub(crate) fn reserved(&self) -> u64 {
        self.0.lock().unwrap().reserved
    }

    /// The writes of the last commit, in order.
    pub(crate) fn last_ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().last.clone()
    }

    pub(crate) fn counter(&self) -> u64 {
        self.0.lock().unwrap().counter
    }
}

impl Inner {
    fn write(&mut self, ops: &[Op]) {
        self.counter += 1;
        self.last = ops.to_vec();
        for op in ops {
            match op {
                Op::Put(key, value) => {
                    self.entries
                        .insert(key.as_str().to_owned(), (value.clone(), self.counter));
                }
                Op::Delete(key) => {
                    self.entries.remove(key.as_str());
                }
            }
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<Revision, CommitError> {
        let mishap = self.mishaps.pop_front();
        match &mishap {
            Some(Mishap::Overtaken(ops)) => self.write(ops),
            Some(Mishap::Lost) => return Err(CommitError::Unknown("lost".to_owned())),
            Some(Mishap::LostAnswer) | None => {}
        }
        let holds = batch.compares().iter().all(|compare| {
            let modified = self
                .entries
                .get(compare.key.as_str())
                .map(|(_, modified)| *modified);
            match compare.expect {
                Expect::Absent => modified.is_none(),
                Expect::Unmodified(counter) => modified == Some(counter),
            }
        });
        if !holds {
            return Err(CommitError::Conflict);
        }
        self.write(batch.ops());
        self.records
            .extend(batch.audit_record().map(|record| record.to_vec()));
        self.reserved += u64::from(batch.is_reserved());
        match mishap {
            Some(Mishap::LostAnswer) => Err(CommitError::Unknown("lost".to_owned())),
            _ => Ok(self.revision()),
        }
    }

    fn revision(&self) -> Revision {
        Revision {
            incarnation: Incarnation(1),
            counter: self.counter,
        }
    }
}

fn not_here<T>() -> Result<T, StoreFault> {
    Err(StoreFault("this store does not do that".to_owned()))
}

impl Store for PlainStore {
    fn revision(&self) -> Reply<'_, Result<Revision, StoreFault>> {
        let revision = self.0.lock().unwrap().revision();
        Box::pin(async move { Ok(revision) })
    }

    fn read<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreFault>> {
        let found = self.entries().into_iter().find(|entry| entry.key == *key);
        Box::pin(async move { Ok(found) })
    }

    fn load<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<Cursor>,
    ) -> Reply<'a, Result<Page, LoadError>> {
        // Pages of two, so that readers turn them.
        let (all, revision) = (self.entries(), self.0.lock().unwrap().revision());
        let after = from.map(|cursor| cursor.after);
        let rest: Vec<_> = all
            .into_iter()
            .filter(|entry| {
                entry.key.as_str().starts_with(prefix)
                    && after.as_ref().is_none_or(|key| entry.key > *key)
            })
            .collect();
        let page: Vec<_> = rest.iter().take(2).cloned().collect();
        let last = page.last().filter(|_| rest.len() > page.len());
        let next = last.map(|entry| Cursor {
            after: entry.key.clone(),
            revision,
        });
        Box::pin(async move {
            Ok(Page {
                entries: page,
                revision,
                next,
            })
        })
    }

    fn commit(&self, batch: Batch) -> Reply<'_, Result<Revision, CommitError>> {
        let outcome = self.0.lock().unwrap().commit(&batch);
        Box::pin(async move { outcome })
    }

    fn watch(&self, _: Revision) -> Reply<'_, Result<mpsc::Receiver<Event>, StoreFault>> {
        Box::pin(async { not_here() })
    }

    fn outbox(&self, _: usize) -> Reply<'_, Result<Vec<OutboxEntry>, StoreFault>> {
        Box::pin(async { not_here() })
    }

    fn drained(&self, _: LogPosition) -> Reply<'_, Result<(), StoreFault>> {
        Box::pin(async { not_here() })
    }

    fn log_position(&self) -> Reply<'_, Result<Option<LogPosition>, StoreFault>> {
        Box::pin(async { not_here() })
    }
}
