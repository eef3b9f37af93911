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
//! anew from the files alone. [`sink`] is how records flow on to where teams look.
//!
//! [`Archivist`] compresses and indexes what a checkpoint is of, and [`search()`] reads of it what the index does not rule out.
//!
//! Who may read the log does so through [`Reading`]: nothing before it is durable, and nothing that is another's. [`search`],
//! [`story`] and [`Follow`] need no more than segments, so that a copy of the files is read by the same code.
//!
//! So a record without a delivered token is possible, a delivered token without a record is not. Files are
//! behind [`Device`]; [`Disk`] is the real one.

mod archive;
mod checkpoint;
mod context;
mod device;
mod disk;
mod edge;
mod filter;
mod follow;
mod frames;
mod health;
mod index;
mod issued;
mod keeper;
mod log;
mod note;
mod outbox;
mod party;
mod proof;
mod publisher;
mod queue;
pub mod read;
mod reading;
mod record;
mod recovery;
mod refusals;
mod search;
mod seen;
mod segment;
mod shelf;
pub mod sink;
mod stats;
mod story;
mod take_up;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod tree;
mod verify;
mod view;
mod wanted;
mod web;
mod writer;

pub use archive::{Archive, ArchiveError, Archivist, Done, Form};
pub use checkpoint::{Checkpoint, InvalidCheckpoint};
pub use context::{Context, Refused};
pub use device::{CreateError, Device, Segment, Segments, Source, Space};
pub use disk::{Disk, DiskCursors, DiskReader, DiskShelf, FileKeeper};
pub use filter::Filter;
pub use follow::Follow;
pub use health::LogHealth;
pub use issued::{Issued, Receipt};
pub use keeper::{KeepError, Keeper};
pub use log::{Log, Options};
pub use note::{InvalidNoteKey, NoteError, NoteKey};
pub use outbox::{Drain, Outbox};
pub use party::{Party, PartyKind};
pub use proof::{InvalidProof, Proof};
pub use publisher::{PublishError, Published, Publisher};
pub use read::ReadError;
pub use reading::{Reading, Seat};
pub use record::{Act, ActKind, CLOCK_CONFIRMED, Encoder, Record, RecordError};
pub use recovery::{Drained, OpenError, Recovered};
pub use search::{Order, Search, search};
pub use seen::{Field, Seen};
pub use shelf::Shelf;
pub use stats::{Distribution, Stats};
pub use story::{Relation, Story, story};
pub use verify::{Finding, Sound, verify};
pub use web::{Web, WebError, WebKeeper};
