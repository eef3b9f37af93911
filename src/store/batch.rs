//! A batch: changes that happen together or not at all, with the bounds kept while it is built.

use super::{Effect, Key, TooLarge, Value};
use crate::limits;
use std::sync::Arc;

/// What must be true of a key for a batch to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists and was last written at this counter.
    Unmodified(u64),
}

/// One precondition of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key looked at.
    pub key: Key,
    /// What must hold.
    pub expect: Expect,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a value.
    Put(Key, Value),
    /// Removes a key; removing what is not there is no error.
    Delete(Key),
}

impl Op {
    /// The key that is changed.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }

    /// Bytes that the change counts for in its batch.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Put(key, value) => key.as_str().len().saturating_add(value.as_bytes().len()),
            Self::Delete(key) => key.as_str().len(),
        }
    }
}

/// Changes that happen together or not at all. One key is changed at most once: a later change of the
/// same key takes the place of the earlier one, because not every engine takes both in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    compares: Vec<Compare>,
    ops: Vec<Op>,
    /// Keys whose change must never be lost, a subset of those in `ops`.
    lasting: Vec<Key>,
    record: Option<Arc<[u8]>>,
    reserved: bool,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a precondition.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn expect(mut self, key: Key, expect: Expect) -> Result<Self, TooLarge> {
        self.compares.push(Compare { key, expect });
        self.bounded()
    }

    /// Adds a write.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn put(self, key: Key, value: Value) -> Result<Self, TooLarge> {
        self.change(Op::Put(key, value), false)
    }

    /// Adds a removal.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn delete(self, key: Key) -> Result<Self, TooLarge> {
        self.change(Op::Delete(key), false)
    }

    /// Adds a write that must never be lost: a revocation, a spend, a suspension. It is kept in the log beside the
    /// record and done again when an old backup was put back, so the value must be one that may stand
    /// for ever: stricter than, or as strict as, everything this key held before.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn put_lasting(self, key: Key, value: Value) -> Result<Self, TooLarge> {
        self.change(Op::Put(key, value), true)
    }

    /// Adds a removal that must never be lost; as [`Batch::put_lasting`].
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn delete_lasting(self, key: Key) -> Result<Self, TooLarge> {
        self.change(Op::Delete(key), true)
    }

    /// Sets the audit record that is committed with the changes.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn record(mut self, record: impl Into<Arc<[u8]>>) -> Result<Self, TooLarge> {
        self.record = Some(record.into());
        self.bounded()
    }

    /// Allows the batch to use the reserve.
    #[must_use]
    pub fn reserved(mut self) -> Self {
        self.reserved = true;
        self
    }

    fn change(mut self, op: Op, lasting: bool) -> Result<Self, TooLarge> {
        self.lasting.retain(|key| key != op.key());
        if lasting {
            self.lasting.push(op.key().clone());
        }
        match self.ops.iter_mut().find(|old| old.key() == op.key()) {
            Some(old) => *old = op,
            None => self.ops.push(op),
        }
        self.bounded()
    }

    fn bounded(self) -> Result<Self, TooLarge> {
        let count = self.ops.len().saturating_add(self.compares.len());
        let record = self.record.as_ref().map_or(0, |record| record.len());
        let compares = self.compares.iter().map(|c| c.key.as_str().len());
        let bytes = compares
            .chain(self.ops.iter().map(Op::size))
            .fold(record, usize::saturating_add);
        let in_log = self
            .lasting_ops()
            .map(Effect::encoded_size)
            .fold(record, usize::saturating_add);
        if count > limits::STORE_BATCH
            || bytes > limits::STORE_BATCH_BYTES
            || in_log > limits::STORE_RECORD
        {
            Err(TooLarge)
        } else {
            Ok(self)
        }
    }

    fn lasting_ops(&self) -> impl Iterator<Item = &Op> {
        self.ops.iter().filter(|op| self.lasting.contains(op.key()))
    }

    /// The preconditions.
    #[must_use]
    pub fn compares(&self) -> &[Compare] {
        &self.compares
    }

    /// The changes, in order.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The changes that must never be lost, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        self.lasting_ops().cloned().map(Effect).collect()
    }

    /// The audit record, if any.
    #[must_use]
    pub fn audit_record(&self) -> Option<&Arc<[u8]>> {
        self.record.as_ref()
    }

    /// Whether the reserve may be used.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.reserved
    }

    /// Whether it has a lasting change that no record would carry into the log. Every store refuses such a batch.
    #[must_use]
    pub fn lacks_record(&self) -> bool {
        self.record.is_none() && !self.lasting.is_empty()
    }
}
