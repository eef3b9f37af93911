//! A collection's head: one key that every write of the collection rewrites.
//!
//! Some rules hold for a collection as a whole (no name twice, so many at most) and are checked against what is in memory. A
//! write that is committed against the head that was there before the check finds the collection as it was checked, or
//! does not happen.

use super::change::{Changes, too_large, unread};
use crate::refusal::Denial;
use crate::store::{Batch, Expect, Key, TooLarge, Value};

/// What a head holds; only its revision matters.
const VERSION: &[u8] = b"1";

/// A collection as it was at one revision.
#[derive(Debug)]
pub(super) struct Head {
    key: Key,
    expect: Expect,
}

impl Changes {
    /// The head of `collection`, with everything that was written before it in memory.
    ///
    /// # Errors
    /// When the store does not answer, or what it holds is not in force here.
    pub(super) async fn head(&self, collection: &str) -> Result<Head, Denial> {
        let key = Key::new(&format!("head/{collection}")).map_err(too_large)?;
        let entry = self.store().read(&key).await.map_err(unread)?;
        self.all_in_force().await?;
        let expect = entry.map_or(Expect::Absent, |entry| Expect::Unmodified(entry.modified));
        Ok(Head { key, expect })
    }
}

impl Head {
    /// Adds to a write that the collection is still as it was.
    pub(super) fn unmoved(self, batch: Batch) -> Result<Batch, TooLarge> {
        batch
            .expect(self.key.clone(), self.expect)?
            .put(self.key, Value::new(VERSION)?)
    }
}
