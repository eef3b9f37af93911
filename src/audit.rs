//! Audit: [`crate::mint::Minted`] → [`Issued`], the only maker of `Issued`.
//!
//! A record is encoded by its caller, outside any lock, and handed to the one writer thread. The writer
//! takes what is queued, asks the hot set once more about each issue, appends everything in one write, makes it
//! durable with one fdatasync, checks that the file is still the one it began, and only then
//! answers. A token waits for that answer inside [`Log::issue`]: there is no other way to an `Issued`.
//!
//! What a crash leaves behind, step by step:
//!
//! | crash after | the log holds | a client holds |
//! |---|---|---|
//! | encode, enqueue | nothing of it | nothing |
//! | write | perhaps a torn tail, perhaps whole records | nothing |
//! | fdatasync | the whole batch | nothing |
//! | answer | the whole batch | the token |
//!
//! So a record without a delivered token is possible, a delivered token without a record is not. Files are
//! behind [`Device`]; [`Disk`] is the real one.

mod context;
mod device;
mod disk;
mod health;
mod issued;
mod log;
mod outbox;
mod queue;
pub mod read;
mod record;
mod recovery;
mod refusals;
mod segment;
mod stats;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod writer;

pub use context::{Context, Refused};
pub use device::{CreateError, Device, Segment, Space};
pub use disk::Disk;
pub use health::LogHealth;
pub use issued::{Issued, Receipt};
pub use log::{Log, Options};
pub use outbox::{Drain, Outbox};
pub use record::{Act, ActKind, CLOCK_CONFIRMED, Encoder, Record, RecordError};
pub use recovery::{Drained, OpenError, Recovered};
pub use stats::{Distribution, Stats};
