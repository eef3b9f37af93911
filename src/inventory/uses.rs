//! What is left of a finite-use key's uses: exact, in the store alone.

use crate::id::KeyPublicId;
use crate::refusal::{Denial, Fault};
use crate::store::{Batch, Entry, Expect, Key, Store, TooLarge, Value};

/// Store prefix of the counters.
const PREFIX: &str = "uses/";

/// A counter as it is stored.
#[derive(Clone, Debug)]
pub struct Uses {
    key: Key,
    left: u32,
    expect: Expect,
}

impl Uses {
    /// Reads the counter of a key that was made with `limit` uses.
    ///
    /// # Errors
    /// [`Fault::StoreUnavailable`].
    pub async fn read(store: &dyn Store, id: &KeyPublicId, limit: u32) -> Result<Self, Denial> {
        let failed = |cause: String| Denial::failed(Fault::StoreUnavailable, cause);
        let key = Key::new(&format!("{PREFIX}{id}")).map_err(|error| failed(error.to_string()))?;
        let entry = store
            .read(&key)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let (left, expect) = match entry {
            // One that was never used has all of them.
            None => (limit, Expect::Absent),
            Some(entry) => (parse(&entry)?, Expect::Unmodified(entry.modified)),
        };
        Ok(Self { key, left, expect })
    }

    /// Uses left.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Adds to `batch` that `left` are left now, provided that nobody else has changed the counter since it was read.
    /// Counters only fall, and what has fallen is never lost.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn fall_to(&self, left: u32, batch: Batch) -> Result<Batch, TooLarge> {
        let value = Value::new(left.min(self.left).to_string().into_bytes())?;
        batch
            .expect(self.key.clone(), self.expect)?
            .put_lasting(self.key.clone(), value)
    }
}

fn parse(entry: &Entry) -> Result<u32, Denial> {
    let corrupt = |error| {
        Denial::failed(
            Fault::StoreUnavailable,
            format!("a counter of uses is corrupt: {error}"),
        )
    };
    serde_json::from_slice(entry.value.as_bytes()).map_err(corrupt)
}
