//! Every bound on what remote input can cost, with the reason for its value.
//!
//! A bound is applied before the work it protects: length before decoding, decoding before
//! cryptography, cryptography before look-ups that cost. Each has a test at n and at n + 1.

use std::time::Duration;

/// Longest SPIFFE ID in bytes (SPIFFE-ID section 2.4: implementations must support 2048).
pub const SPIFFE_ID: usize = 2048;
/// Longest trust-domain name in bytes (SPIFFE-ID section 2.1).
pub const TRUST_DOMAIN: usize = 255;
/// Longest audience name or alias in bytes: a URI that people still type.
pub const AUDIENCE: usize = 512;
/// Longest scope token in bytes.
pub const SCOPE: usize = 128;
/// Most scopes in one ask, grant or key; keeps tokens within header limits.
pub const SCOPES: usize = 64;
/// Longest owner, tenant, label name or label value in bytes.
pub const NAME: usize = 128;
/// Longest purpose text of a credential, in bytes.
pub const PURPOSE: usize = 512;
/// Most labels on one governed thing.
pub const LABELS: usize = 32;
/// Most source networks on one key.
pub const NETWORKS: usize = 64;
/// Most audiences on one key: they travel in its tokens as the exchange ceiling.
pub const KEY_AUDIENCES: usize = 16;
/// Most aliases and most servers of one audience.
pub const AUDIENCE_LINKS: usize = 64;
/// Longest token that is looked at, in bytes; larger ones do not fit in HTTP headers either.
pub const TOKEN: usize = 16 * 1024;
/// Most credentials (`c`) and most ancestors (`l`) that a token's `cmb` claim holds.
pub const LINEAGE: usize = 8;
/// Deepest nesting of `act`.
pub const ACTORS: usize = 4;
/// Largest request message over gRPC, in bytes: two tokens and what goes with them.
pub const MESSAGE: usize = 128 * 1024;
/// Longest client-certificate chain, in certificates, and largest certificate, in bytes.
pub const CHAIN: usize = 8;
/// Largest certificate in bytes.
pub const CERTIFICATE: usize = 16 * 1024;
/// Longest key id (`kid`) that is looked up, in bytes.
pub const KEY_ID: usize = 256;
/// Longest idempotency key in bytes.
pub const IDEMPOTENCY_KEY: usize = 128;
/// Largest audit record in bytes, newline excluded: a C2SP tile entry holds 65,535.
pub const RECORD: usize = 65_535;
/// Records waiting for the log writer; past it a call is refused rather than queued.
pub const LOG_QUEUE: usize = 8_192;
/// Store: longest key in bytes.
pub const STORE_KEY: usize = 512;
/// Store: largest value in bytes.
pub const STORE_VALUE: usize = 64 * 1024;
/// Store: most operations in one batch.
pub const STORE_BATCH: usize = 100;
/// Store: largest batch in bytes, keys, values and record together.
pub const STORE_BATCH_BYTES: usize = 1024 * 1024;
/// Store: largest record of a batch with its lasting changes as they stand in the log, in bytes. What the
/// log adds (sequence, time, salt, revision) fits in the rest of [`RECORD`].
pub const STORE_RECORD: usize = RECORD - 4 * 1024;
/// Store: most entries, and about most bytes, of one page of a load: short enough to be built without a long hold.
pub const STORE_PAGE: usize = 1_000;
/// Store: bytes after which a page of a load ends; one more entry may stand over it.
pub const STORE_PAGE_BYTES: usize = 1024 * 1024;
/// Store: revisions kept for watchers that come back; older ones load again.
pub const STORE_HISTORY: u64 = 10_000;
/// Store: bytes of changes kept for watchers that come back.
pub const STORE_HISTORY_BYTES: usize = 16 * 1024 * 1024;
/// Store: most watchers at a time. A node has one for each of its parts that follow the store.
pub const STORE_WATCHERS: usize = 64;
/// Store: events that wait for a watcher before it is dropped as too slow.
pub const STORE_WATCH_QUEUE: usize = 1_024;
/// Store: commits waiting for the writer; past it a commit is refused rather than queued.
pub const STORE_QUEUE: usize = 1_024;
/// Store: most commits made durable by one fsync, so that none waits for an endless group.
pub const STORE_GROUP: usize = 64;
/// Store: read connections, and with them reads at a time.
pub const STORE_READERS: usize = 4;
/// Store: loads in progress whose revision is held; the longest idle one gives way.
pub const STORE_SNAPSHOTS: usize = 8;
/// Store: bytes kept on disk beside the store for revocation and recovery. The largest batch, written
/// to the write-ahead log with its history and then to the file, fits more than once.
pub const STORE_RESERVE: u64 = 8 * 1024 * 1024;
/// Store: bytes by which its file grows, so that what the reserve gives up is not taken page by page by others.
pub const STORE_CHUNK: u32 = 64 * 1024;
/// Store: bytes of the reserve given up at a time. What a write leaves of a step may be taken by anyone.
pub const STORE_RESERVE_STEP: u64 = 128 * 1024;
/// Store: most keys with lasting changes that recovery redoes at one start; more needs a newer backup.
pub const STORE_REDO: usize = 10_000_000;
/// Store: bad values that a replica names; further ones are only counted as one.
pub const REPLICA_FAULTS: usize = 64;
/// Largest page that a list call answers with.
pub const PAGE: usize = 500;
/// Policies that no index key covers; they are shown to every request, so they are few.
pub const UNINDEXED_POLICIES: usize = 64;
/// Most policies that are loaded.
pub const POLICIES: usize = 20_000;

/// Store: how often it confirms to its watchers that nothing newer exists.
pub const STORE_HEARTBEAT: Duration = Duration::from_secs(1);
/// Store: how long the revision of an idle load is held; it keeps the write-ahead log from being reused.
pub const STORE_SNAPSHOT_IDLE: Duration = Duration::from_secs(30);
/// Store: how long a statement waits for another program that looks into the file.
pub const STORE_BUSY: Duration = Duration::from_secs(5);
/// Replica: first and longest pause before the store is asked again.
pub const REPLICA_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Time that a TLS handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long the store's view may be out of date before issuance stops, by default.
pub const STALENESS: Duration = Duration::from_secs(60);
/// Token lifetime where nobody asks for another.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Token lifetime that nothing exceeds unless configuration says so.
pub const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Life of an API key that nothing exceeds unless configuration says so.
pub const MAX_KEY_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Step of the wall clock against the monotonic one that stops issuance.
pub const CLOCK_STEP: Duration = Duration::from_secs(5);
