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
//! The tree over the records is the [`Publisher`]'s: it follows the log, and no reply waits for it. [`verify()`] computes it
//! anew from the files alone.
//!
//! [`Keeper`] compresses and indexes what a checkpoint is of, and [`search()`] reads of it what the index does not rule out.
//!
//! So a record without a delivered token is possible, a delivered token without a record is not. Files are
//! behind [`Device`]; [`Disk`] is the real one.

mod archive;
mod checkpoint;
mod context;
mod device;
mod disk;
mod filter;
mod frames;
mod health;
mod index;
mod issued;
mod log;
mod note;
mod outbox;
mod proof;
mod publisher;
mod queue;
pub mod read;
mod record;
mod recovery;
mod refusals;
mod retention;
mod search;
mod seen;
mod segment;
mod shelf;
mod stats;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod tree;
mod verify;
mod writer;

pub use archive::{Archive, Done, Form, KeepError, Keeper};
pub use checkpoint::{Checkpoint, InvalidCheckpoint};
pub use context::{Context, Refused};
pub use device::{CreateError, Device, Segment, Segments, Source, Space};
pub use disk::{Disk, DiskReader, DiskShelf};
pub use filter::Filter;
pub use health::LogHealth;
pub use issued::{Issued, Receipt};
pub use log::{Log, Options};
pub use note::{InvalidNoteKey, NoteError, NoteKey};
pub use outbox::{Drain, Outbox};
pub use proof::{InvalidProof, Proof};
pub use publisher::{PublishError, Published, Publisher};
pub use record::{Act, ActKind, CLOCK_CONFIRMED, Encoder, PRUNE, Record, RecordError};
pub use recovery::{Drained, OpenError, Recovered};
pub use retention::{Hold, Holds, PruneError, Pruner};
pub use search::{Order, Search, search};
pub use seen::{Field, Seen};
pub use shelf::Shelf;
pub use stats::{Distribution, Stats};
pub use verify::{Finding, Sound, verify};
