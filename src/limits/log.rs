//! Bounds of the log, of who reads it and of what of it is removed.

use std::time::Duration;

/// Largest audit record in bytes, newline excluded: a C2SP tile entry holds 65,535.
pub const RECORD: usize = 65_535;
/// Records waiting for the log writer; past it a call is refused rather than queued.
pub const LOG_QUEUE: usize = 8_192;
/// Bytes of records waiting for the log writer: the queue's count alone would allow half a gigabyte.
pub const LOG_QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that one group commit carries. Also how much of a segment's end can be unsure after a crash, so
/// it bounds what recovery may drop and what it writes again.
pub const LOG_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Hashes of records that are kept from their commit to the next checkpoint: most of a minute of the fastest log, in 32 MB. What
/// is older is read back.
pub const LOG_LEAVES: usize = 1 << 20;
/// Outbox records taken over in one group commit; together they fit into [`LOG_BATCH_BYTES`].
pub const LOG_OUTBOX_PAGE: usize = 32;
/// Size past which a segment is followed by a new one: start-up reads one segment whole.
pub const LOG_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of a frame of a compressed segment, before compression: a tile's worth of the largest records. What a reader
/// allocates for one is held to it.
pub const LOG_FRAME_BYTES: usize = 256 * (RECORD + 1);
/// Free disk that is left when a segment is compressed or indexed: the writer comes first.
pub const LOG_ARCHIVE_FLOOR_BYTES: u64 = 16 * 1024 * 1024;
/// Records in one commit of the log from which on the next one waits a moment for company: a commit costs the same
/// whether it carries twenty records or a hundred.
pub const LOG_CROWD: u64 = 16;
/// How long it waits, unless nobody else is there and the crowd was answered longer ago than this. A lone caller, and any
/// crowd smaller than [`LOG_CROWD`], is committed at once. With 256 calls in flight it makes each of them faster: what
/// fewer commits leave of the CPU is more than what they wait.
pub const LOG_GATHER: Duration = Duration::from_micros(1500);
/// Largest signed note in bytes: a checkpoint and dozens of witnesses, also where each signature is of three kilobytes
/// (ML-DSA-44).
pub const NOTE: usize = 128 * 1024;
/// Places where copies of the last checkpoint are kept, at most: each is asked at the start before anything is issued.
pub const LOG_COPIES: usize = 8;
/// Witnesses of one log, at most: as many signatures as every reader of notes takes.
pub const LOG_WITNESSES: usize = 16;
/// Time for one call to somebody who keeps checkpoints, or for the calls that one cosignature takes: a start waits for both.
pub const LOG_PARTY_CALL: Duration = Duration::from_secs(10);
/// Time for the last checkpoint to reach who keeps it, when the broker stops.
pub const LOG_PARTING: Duration = Duration::from_secs(2);
/// First pause before a checkpoint is sent again that was not taken; it doubles up to [`LOG_PARTY_RETRY_MAX`].
pub const LOG_PARTY_RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest such pause.
pub const LOG_PARTY_RETRY_MAX: Duration = Duration::from_secs(60);
/// How long checkpoints may fail to be published before no token is issued: until one is, what was added can be changed unseen.
pub const LOG_UNPUBLISHED: Duration = Duration::from_secs(60);
/// How often the last checkpoint is recorded while there is news: what those behind a sink can hold the host to is no older.
pub const LOG_CHECKPOINT_RECORDS: Duration = Duration::from_secs(60);
/// Tiles of the log that are read for HTTP at a time; each is a few small files.
pub const LOG_READS: usize = 16;
/// Bundles of records that HTTP callers may have in memory at a time, those that they are still taking in included: 16 MiB
/// each where all records are of the largest size.
pub const LOG_BUNDLES: usize = 4;
/// How long a request waits for its place among those, before it is told to come again.
pub const LOG_READ_WAIT: Duration = Duration::from_secs(5);
/// How long caches may keep a checkpoint of the log: there is a new one each second.
pub const LOG_CHECKPOINT_AGE: Duration = Duration::from_secs(1);
/// How long caches may keep what never changes of the log.
pub const LOG_TILE_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Disk kept for revocations and recovery: some thousand of them.
pub const LOG_RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// Free disk below which refusals are no longer recorded, so that issuances can be.
pub const LOG_REFUSAL_FLOOR_BYTES: u64 = 64 * 1024 * 1024;
/// The same of what a bound on the log leaves, where that is less: the last tenth of the bound. A small bound is warned of first.
pub const LOG_REFUSAL_PART: u64 = 10;
/// Refusals of known credentials that are recorded one by one, in a second; the rest is counted.
pub const REFUSALS_PER_SECOND: u32 = 100;
/// Failed authentications of known credentials, and as many of unknown ones, kept until the next look at them a second
/// later; past it they are only counted.
pub const REFUSALS_NOTED: usize = 100;
/// Pairs of reason and source network that one summary of refusals tells apart; the record holds them all.
pub const REFUSAL_GROUPS: usize = 256;
/// Searches through the log at a time; past it a call is refused. Each has a thread, and reads the disk that the log is
/// written to.
pub const LOG_QUERIES: usize = 4;
/// How many of them one principal may have: the rest is for others.
pub const LOG_QUERIES_PER_PRINCIPAL: usize = LOG_QUERIES / 2;
/// Readers that follow the log at a time; past it a call is refused.
pub const LOG_TAILS: usize = 32;
/// How many of them may be one principal's.
pub const LOG_TAILS_PER_PRINCIPAL: usize = LOG_TAILS / 2;
/// Records that wait for a reader of the log who reads slowly; the rest waits where it is kept.
pub const UNREAD_RECORDS: usize = 16;
/// How long a reader of the log may leave them waiting before its call is ended: it takes the place of others.
pub const READER_PATIENCE: Duration = Duration::from_secs(30);
/// How long the whole answer of one search may take until nothing of it is left waiting any more: whoever takes one record now
/// and then would keep a place for as long as there are records. It is a gigabyte at two megabytes a second.
pub const READER_TIME: Duration = Duration::from_secs(10 * 60);
/// Records that `retention` holds against the tree in one step, from which on it begins no further segment: a stop waits for it.
pub const PRUNE_AT_ONCE: u64 = 1 << 19;
/// How long a proof is waited for until a checkpoint covers its record: ten are signed meanwhile.
pub const PROOF_WAIT: Duration = Duration::from_secs(10);
/// Records of one token's story: what a person or a script can take in; the rest is found with queries.
pub const STORY: usize = 1_000;
/// Values that one filter of records names, in all of its fields.
pub const FILTER_VALUES: usize = 256;
/// Age past which a log segment is followed by a new one.
pub const LOG_SEGMENT_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// First pause before a log that failed is tried again; it doubles up to [`LOG_RETRY_MAX`].
pub const LOG_RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest pause before a log that failed is tried again: how late a repaired disk is noticed.
pub const LOG_RETRY_MAX: Duration = Duration::from_secs(5);
