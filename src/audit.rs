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
//! So a record without a delivered token is possible, a delivered token without a record is not. What somebody else takes away
//! afterwards is noticed by the writer and stays known: a start refuses, until it is back or a rollback is accepted.
//!
//! The tree over the records is the [`Publisher`]'s: it follows the log, and no reply waits for it. [`verify()`] computes it
//! anew from the files alone. [`sink`] is how records flow on to where teams look.
//!
//! [`Archivist`] compresses and indexes what a checkpoint is of, and [`search()`] reads of it what the index does not rule out.
//!
//! Who may read the log does so through [`Reading`]: nothing before it is durable, and nothing that is another's. [`search()`],
//! [`story()`] and [`Follow`] need no more than segments, so that a copy of the files is read by the same code.
//!
//! # What it proves, and to whom
//!
//! | somebody has | and can tell |
//! |---|---|
//! | the folder alone | that it is whole and agrees with itself: damage, and clumsy changes; the key in it may be anybody's |
//! | the key as well, kept elsewhere | that whoever has this log's key signed it |
//! | an earlier checkpoint, kept elsewhere | that nothing up to it was changed, dropped or put in |
//! | a record and its proof | that the record was in the log at the checkpoint in the proof |
//! | a witness's cosignature | that the witness saw the log grow to this checkpoint from all that it had cosigned before |
//!
//! None of it holds the host itself back. Who is root there has the log's key, sealed only against those who lack the sealing
//! key, and can stop the broker, cut the records after the last checkpoint that anybody else has, write others, and sign that; or
//! issue with the token keys and record nothing. The log shows what this broker did, not what its keys were used for
//! elsewhere. But what somebody else has a checkpoint of cannot be changed unseen: that takes a second signed history, and
//! the two, once they are held together, convict the log's key.
//!
//! So the last checkpoint is what has to leave the host: it bounds what can be taken back unseen.
//!
//! - *The store* has the last checkpoint, too: of a few seconds ago, and at a stop, that of all records. So somebody who can write
//!   to the log's folder, and to nothing else, changes, cuts and adds nothing without the next start's saying so; but what came
//!   after that checkpoint before a crash is taken up as it is, and where no checkpoint can be published for a minute, nothing is
//!   issued until one is. A store that was put back knows no more than it did when it was copied. Changes of the store that a
//!   record has are believed only where this broker wrote them there ([`Author`]).
//! - *Copies* ([`Keeper`]): each checkpoint goes to other disks or servers, seconds late while they answer, and a start is held against
//!   them, so that a folder put back from an old copy, by accident or not, does not issue. A copy on a disk that the host can
//!   write guards against mistakes; one on a server that keeps what it was sent guards against the host as well, for whoever
//!   looks there. The start's own look is no proof against root, who may leave it out. A copy that is gone says nothing.
//! - *Witnesses* ([`Witness`]): each signs only what has grown from what it saw before, so that two histories cannot both be
//!   cosigned. That is worth as much as readers ask for: one that takes checkpoints without cosignatures is not helped. A start
//!   is held against what they have seen, too, as far as they answer.
//! - *Sinks*: each minute in which there is something new, and at each start, the last checkpoint becomes a record itself
//!   ([`Herald`]), so that whoever keeps what a sink was sent keeps checkpoints among it: `change.note` of a record of the kind
//!   `checkpoint` is the note, as `cambist audit verify --checkpoint` takes it.
//! - *Readers* over HTTPS: anybody who follows the log and keeps what he saw is a witness for himself.
//!
//! Between two looks of all of them, a second to minutes, the host is alone with its log. Neither does any of this tell that
//! a record is true, only that it was written then and stayed.
//!
//! A tile or a proof is served only if it leads to the checkpoint ([`Publisher`]); a tile that is damaged is made again from what
//! is below it. A record is compared with the tree when a running broker hands it out ([`Logged`]), be it to a reader or to a
//! sink, and all are at once by [`verify()`]: no start reads them all. A search passes over what was changed so that it does not
//! match any more; who follows the log, as each sink does, meets it.
//!
//! # What it costs
//!
//! By `CAMBIST_LONG=1 cargo test --release --lib -- audit::tests::scale --nocapture`, which appends records of 1.15 kB through
//! the real writer without signing, on two cores of a virtual machine (AMD EPYC) and its one virtual disk (ext4):
//!
//! | records | append, at first and at last | start | one token | its whole story | one rarely seen network | an hour of 72,000 |
//! |---|---|---|---|---|---|---|
//! | 1 million | 8.3, 10.1 µs | 11 ms | 11 ms | 27 ms | 19 ms, 10 records | 0.17 s |
//! | 3 million | 7.4, 11.2 µs | 24 ms | 35 ms | 99 ms | 60 ms, 30 records | 0.19 s |
//! | 10 million | 7.9, 11.3 µs | 9 ms | 12 ms | 32 ms | 0.10 s, 100 records | 0.16 s |
//!
//! What differs between the rows is how full the live segment is: it is read whole, by a start and by each search, and of the
//! others only what their indexes do not rule out. So of 100 million the same is to be expected, with 25 MB of indexes read
//! where nothing but a token is known, in 12 GB: 86.5 bytes a record compressed, and 36.6 of index. A search by something that
//! no index has, or that is in every block, reads all of it.
//!
//! Files are behind [`Device`]; [`Disk`] is the real one.

mod acknowledged;
mod archive;
mod checkpoint;
mod closed;
mod context;
mod device;
mod disk;
mod edge;
mod filter;
mod follow;
mod frames;
mod health;
mod herald;
mod hit;
mod index;
mod issued;
mod keeper;
mod leaves;
mod log;
mod logged;
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
mod retention;
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
mod witness;
mod writer;

pub use acknowledged::Lack;
pub use archive::{Archive, ArchiveError, Archivist, Done, Form};
pub use checkpoint::{Checkpoint, InvalidCheckpoint};
pub use closed::{Closed, Lost};
pub use context::{Context, Refused};
pub use device::{CreateError, Device, Segment, Segments, Source, Space};
pub use disk::{Disk, DiskCursors, DiskReader, DiskShelf, FileKeeper};
pub use filter::Filter;
pub use follow::Follow;
pub use health::LogHealth;
pub use herald::{Herald, record as record_checkpoint};
pub use hit::{Aim, Good, Hit};
pub use issued::{Issued, Receipt};
pub use keeper::{KeepError, Keeper};
pub use leaves::Leaves;
pub use log::{Log, Options};
pub use logged::{Check, Logged};
pub use note::{InvalidNoteKey, NoteError, NoteKey};
pub use outbox::{Drain, Outbox};
pub use party::{Party, PartyKind};
pub use proof::{InvalidProof, Proof};
pub use publisher::{PublishError, Published, Publisher};
pub use read::ReadError;
pub use reading::Reading;
pub use record::{
    Act, ActKind, Author, CHECKPOINT, CLOCK_CONFIRMED, Encoder, KINDS, MARKER_REINSTATED,
    MARKER_SET, PRUNE, ROLLBACK_ACCEPTED, Record, RecordError, SIGNING_KEY_COMPROMISED,
};
pub use recovery::{Drained, OpenError, Recovered};
pub use retention::{Hold, Holds, PruneError, Pruner};
pub use search::{Order, Search, search};
pub use seen::{Field, LocalUser, Seen};
pub use segment::Headers;
pub use shelf::Shelf;
pub use stats::{Distribution, Stats};
pub use story::{Relation, Story, story};
pub use verify::{Finding, Late, Reached, Revocations, Sound, verify, verify_from};
pub use web::{Web, WebError, WebKeeper};
pub use witness::{Witness, WitnessError};
