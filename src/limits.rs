//! Every bound on what remote input can cost, with the reason for its value.
//!
//! A bound is applied before the work it protects: length before decoding, decoding before
//! cryptography, cryptography before look-ups that cost. Each has a test at n and at n + 1, but for defaults, waits
//! and paces that tests meet at other values: `tests/it/house/bounds.rs` lists them, each with its reason.

mod log;
pub mod nearing;
pub mod seats;

pub use log::*;

use std::time::Duration;

/// Percent of a bound at which a warning says that it is near, and below which things have to fall before it says so again.
pub const NEAR: (usize, usize) = (80, 60);
/// Longest SPIFFE ID in bytes (SPIFFE-ID section 2.4: implementations must support 2048).
pub const SPIFFE_ID: usize = 2048;
/// Longest trust-domain name in bytes (SPIFFE-ID section 2.1).
pub const TRUST_DOMAIN: usize = 255;
/// Longest audience name or alias in bytes: a URI that people still type, and a store key with its prefix.
pub const AUDIENCE: usize = 480;
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
/// Attempts at an administrative write that races with others; each failed one means that another was made.
pub const WRITE_ATTEMPTS: usize = 16;
/// Attempts to spend a use before a contended counter is given up; each failed one means that another caller succeeded.
pub const SPEND_ATTEMPTS: usize = 16;
/// Largest audience in bytes of JSON: it goes into one store value, and once more into the record of its change.
pub const AUDIENCE_SPEC: usize = 32 * 1024;
/// Most aliases and most servers of one audience.
pub const AUDIENCE_LINKS: usize = 64;
/// Longest token that is looked at, in bytes; larger ones do not fit in HTTP headers either.
pub const TOKEN: usize = 16 * 1024;
/// Longest JOSE header in bytes, as base64url: `alg`, `typ`, a `kid` of [`KEY_ID`] bytes and room for others' members.
pub const JOSE_HEADER: usize = 2 * 1024;
/// Deepest nesting of JSON in headers, claims and key sets: `act` at its deepest, and room.
pub const JSON_DEPTH: usize = 16;
/// Largest key set or metadata document that is read, in bytes: a hundred keys with certificates.
pub const KEY_SET_BYTES: usize = 256 * 1024;
/// Most keys in a key set, ignored ones included.
pub const KEY_SET: usize = 100;
/// Largest RSA modulus in bits: the cost of a verification grows with its square.
pub const RSA_BITS: usize = 8192;
/// Latest instant that a `NumericDate` may name, in seconds since 1970: 26 hours before the year 10000, so that it has a
/// calendar date in every time zone.
pub const NUMERIC_DATE: u64 = 253_402_207_200;
/// Most keys that a ring publishes at once; past it no rotation happens until a retired key is gone. Compromised
/// ones are not counted: they stay for ever, each by an act of an administrator.
pub const PUBLISHED_KEYS: usize = 16;
/// Records that are read to say what a revocation would hit: some seconds of reading.
pub const HIT_RECORDS: usize = 1_000_000;
/// Keys of an owner that are looked up in the index of each segment to say what revoking them would hit, at a few page reads
/// each. Past it every issue is read and asked instead, as far as [`HIT_RECORDS`] goes.
pub const HIT_KEYS: usize = 4_096;
/// Revocations in force at a time that an offline verification of the log holds issues against, at some 70 bytes each: more than a
/// broker is made for. What is over it is told, and not held against anything.
pub const REVOCATIONS_VERIFIED: usize = 16 * 1024 * 1024;
/// Tokens, credentials and subjects that are named of what would be hit.
pub const HIT_NAMES: usize = 100;
/// Tokens of one credential that a holder may revoke in an hour one by one; past it all of its tokens so far are revoked.
pub const SELF_REVOCATIONS: usize = 100;
/// Revocations that are in force and wait to be written; past it a further one is in force too, but is not acknowledged.
pub const UNDURABLE: usize = 10_000;
/// Ended markers that are dropped at once: a step takes well under a millisecond, and is repeated until none is left.
pub const MARKERS_EXPIRED: usize = 4_096;
/// How many times as long as it took to remove some markers that have ended from the store nothing is done before more of
/// them are: where a million end in one second, their going takes minutes and a small part of the machine.
pub const EXPIRY_REST: u32 = 9;
/// Watchers of revocations at a time: every verifier of a large fleet, at a few kilobytes each.
pub const WATCHERS: usize = 20_000;
/// Watchers at a time that are one principal: ten thousand with one SPIFFE ID, and never the places of all others.
pub const WATCHERS_PER_PRINCIPAL: usize = WATCHERS / 2;
/// Tenants that the feed tells apart: what it keeps of each and of who watches is small, and is kept. The markers of further
/// ones go to all who watch.
pub const WATCH_TENANTS: usize = 4_096;
/// How often watchers are told how fresh what they have is: a fraction of the staleness that verifiers bear.
pub const WATCH_HEARTBEAT: Duration = Duration::from_secs(5);
/// How soon watchers are told of a revision that no delta comes with, if one before it may have told of it: whoever revoked
/// something may wait to hear that it is reached.
pub const WATCH_WORD: Duration = Duration::from_millis(100);
/// Bytes of deltas kept for watchers that come back or fall behind; past it they get a snapshot.
pub const WATCH_DELTAS_BYTES: usize = 16 * 1024 * 1024;
/// Markers in one delta: 64 KiB, since clients may refuse large messages, and one that reads slowly holds one.
pub const DELTA_MARKERS: usize = 2_730;
/// Markers in one part of a snapshot, for the same reason.
pub const SNAPSHOT_PART: usize = DELTA_MARKERS;
/// Bytes of deltas that a watcher may be sent on top of a snapshot before another one is made for it; as many as the
/// snapshot has, where that is more.
pub const SNAPSHOT_CATCH_UP: u64 = 1024 * 1024;
/// Snapshots in memory at a time, one that is being made among them: the newest, and one that somebody still reads.
pub const SNAPSHOTS: usize = 2;
/// Bytes of all snapshots in memory together: two of five million markers each. The newest one is there however large it is;
/// one of more than eleven million is always alone.
pub const SNAPSHOTS_BYTES: u64 = 256 * 1024 * 1024;
/// How long a snapshot that is read stays once the newest is made, whoever needs another. In that time ten million markers come
/// over 64 Mbit/s; and it is half of the staleness that verifiers bear, so that whoever waits has the other half.
pub const SNAPSHOT_TURN: Duration = Duration::from_secs(30);
/// Heartbeats for which a snapshot is kept that nobody is sent anything of: watchers come in waves.
pub const SNAPSHOT_IDLE_BEATS: u64 = 12;
/// Most credentials (`c`) that a token's `cmb` claim holds, and ancestor tokens that there are places for.
pub const LINEAGE: usize = 8;
/// Most markers (`l`) that a token's `cmb` claim holds: its ancestors', the twins of the certificates that its root and each
/// actor showed, and two signing keys that were rotated away on the way. Verifiers hold to it, too: one of an earlier version
/// refuses what is over its own.
pub const ANCESTORS: usize = LINEAGE + 1 + ACTORS + 2;
/// Deepest nesting of `act`.
pub const ACTORS: usize = 4;
/// Largest request message over gRPC, in bytes: two tokens and what goes with them. Only the Policy service, for
/// administrators, takes larger ones: a document of up to [`POLICY_DOCUMENT`].
pub const MESSAGE: usize = 128 * 1024;
/// Largest request to the standard services (health, reflection), in bytes: they name a service or a symbol, and are
/// asked by anybody.
pub const STANDARD_MESSAGE: usize = 4 * 1024;
/// Longest certificate chain, a client's or the server's own, in certificates.
pub const CHAIN: usize = 8;
/// Largest certificate in bytes.
pub const CERTIFICATE: usize = 16 * 1024;
/// Largest RSA modulus in bits that a peer's certificate may carry: what a signature check costs grows with
/// its square, and it is paid before the peer is known (SPIRE's CPU exhaustion of 1.14.2).
pub const CERTIFICATE_RSA_BITS: usize = 4096;
/// Largest file of roots, revocation lists, or a certificate or key of the server that is read, in bytes: some 400,000 revoked serials.
pub const TRUST_FILE: usize = 16 * 1024 * 1024;
/// Most roots of one trust domain: path building tries each of them.
pub const ROOTS: usize = 64;
/// Most trust domains whose bundles are held.
pub const TRUST_DOMAINS: usize = 1024;
/// Largest PROXY v2 header in bytes, its 16 fixed ones included: addresses and the TLVs that balancers add.
pub const PROXY_HEADER: usize = 1024;
/// Connections in the middle of their handshake on one listener; a further one takes the place of the oldest of the source
/// that has the most of them.
pub const HANDSHAKES: usize = 512;
/// Refused connections that one listener logs in a second; all are counted.
pub const REFUSAL_LINES: u32 = 20;
/// Open connections on one listener, by default.
pub const CONNECTIONS: usize = 10_000;
/// Open connections that any configuration may allow: what a process can have files for.
pub const MOST_CONNECTIONS: usize = 1_000_000;
/// Open connections from one source (an IPv4 address or an IPv6 /64), by default.
pub const CONNECTIONS_PER_SOURCE: usize = 1024;
/// Requests in flight on one HTTP/2 connection, by default.
pub const STREAMS: u32 = 128;
/// Bytes that may be received on one stream before the request is read: a whole message.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes that may be received on one connection before its requests are read: a peer that is never read costs as much.
pub const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Connections that wait in the kernel for a listener; more are refused there.
pub const BACKLOG: u32 = 1024;
/// Items of a lease that wait for a caller who reads slowly: a token, and the word why there will be none after it.
pub const UNREAD: usize = 2;
/// Largest header list of a request, in bytes: two tokens of the largest size and what goes with them.
pub const HEADERS: u32 = 64 * 1024;
/// Largest body of one HTTP request that is not gRPC, in bytes; gRPC messages are held to bounds of their own, such
/// as [`MESSAGE`].
pub const BODY: usize = MESSAGE;
/// Open connections on the operations listener: a scraper, a prober and a person.
pub const OPS_CONNECTIONS: usize = 64;
/// Longest key id (`kid`) that is looked up, in bytes.
pub const KEY_ID: usize = 256;
/// How long a repeat of a write is recognised: longer than any retry, and no more to remember than a day's writes.
pub const IDEMPOTENCY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest idempotency key in bytes.
pub const IDEMPOTENCY_KEY: usize = 128;
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
/// Store: most entries of one page of a load: short enough to be built without a long hold.
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
/// Store: bytes kept on disk beside the store for revocation, recovery and the start. The largest batch, written
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
/// Most sinks: each is a task, a cursor and a set of metrics.
pub const SINKS: usize = 16;
/// Longest name of a sink in bytes: it is a file's name and a metric's label.
pub const SINK_NAME: usize = 32;
/// Sink: most records of one delivery.
pub const SINK_BATCH: usize = 512;
/// Sink: bytes after which a delivery takes no further record. Collectors take 4 MiB unless told otherwise.
pub const SINK_BATCH_BYTES: usize = 1024 * 1024;
/// Sink: records that a receiver may refuse one after the other before it counts as failing, and nothing more is set aside.
pub const SINK_REFUSALS: u32 = 16;
/// Sink: longest syslog message in bytes, by default: the most widely used receiver cuts at 8,096 unless told otherwise.
pub const SYSLOG_MESSAGE: usize = 8_000;
/// Sink: bytes that are read of a cursor's file; a cursor is less than half of it.
pub const SINK_CURSOR: u64 = 256;
/// Leaks: largest report in bytes.
pub const LEAK_REPORT: usize = BODY;
/// Leaks: most findings of one report: as many as are revoked and recorded in the time that a reporter waits, and fit into
/// [`LEAK_REPORT`] with some 300 bytes each, which is a key and a long URL.
pub const LEAK_ALERTS: usize = 400;
/// Leaks: longest text that is kept of where a key was found, in bytes: a URL with a commit and a long path.
pub const LEAK_PLACE: usize = 1_024;
/// Leaks: most reporters. Each report is held against the keys of all.
pub const LEAK_REPORTERS: usize = 8;
/// Leaks: reports that are verified and worked on at a time; each waits for commits.
pub const LEAK_REPORTS: usize = 4;
/// Leaks: requests in a [`LEAK_WINDOW`] from one source that do not turn out to be a reporter's; past it they are turned
/// away unread. Those of a reporter count until they are verified, so that as many may come at once.
pub const LEAK_STRANGERS: u32 = 100;
/// Leaks: sources that are told apart in one [`LEAK_WINDOW`]; all others count as one.
pub const LEAK_SOURCES: usize = 1_024;
/// Largest page that a list call answers with.
pub const PAGE: usize = 500;
/// Bytes after which a page that a list call answers with ends; a single larger thing stands alone. Clients in other
/// languages take 4 MiB unless told otherwise.
pub const PAGE_BYTES: usize = 1024 * 1024;
/// Policies that no index key covers; they are shown to every request, so they are few.
pub const UNINDEXED_POLICIES: usize = 64;
/// Most policies that are loaded.
pub const POLICIES: usize = 20_000;
/// Longest policy document in bytes: all that [`POLICIES`] need; parsing a larger one would hold a core for seconds.
pub const POLICY_DOCUMENT: usize = 8 * 1024 * 1024;
/// Deepest nesting of brackets in a policy: Cedar reads them by recursion, and some hundred end a thread's stack.
pub const POLICY_NESTING: usize = 32;
/// Most operators in one policy, for the same reason: each may be an operand of the next.
pub const POLICY_OPERATORS: usize = 256;
/// Stack in bytes on which policies are read and explained: an operator takes up to 70 KiB in an unoptimised
/// build, so this is three times what the deepest policy needs. Reserved, not used, until it is needed.
pub const POLICY_STACK: usize = 64 * 1024 * 1024;
/// Policies that one pair of principal and audience selectors may have before a warning: each costs every
/// request in reach about a microsecond.
pub const CROWDED_POLICIES: usize = 64;
/// Bytes of decisions that are remembered for callers who ask the same again; the least used go first.
pub const REMEMBERED_DECISIONS: u64 = 32 * 1024 * 1024;

/// Store: how often it confirms to its watchers that nothing newer exists.
pub const STORE_HEARTBEAT: Duration = Duration::from_secs(1);
/// Store: how long the revision of an idle load is held; it keeps the write-ahead log from being reused.
pub const STORE_SNAPSHOT_IDLE: Duration = Duration::from_secs(30);
/// Store: how long a statement waits for another program that looks into the file.
pub const STORE_BUSY: Duration = Duration::from_secs(5);
/// Store: how long a revocation waits for its place in a full queue ([`STORE_QUEUE`]) before it is refused. One that is refused
/// stops issuance until it is written, and a store that writes at all has a place within an fsync or two.
pub const STORE_PLACE: Duration = Duration::from_millis(250);
/// Administration: how long a commit may take until its outcome counts as unknown, and a read until the store counts as away;
/// a revocation is then in force without it.
/// Longer than [`STORE_BUSY`], and shorter than callers wait.
pub const STORE_COMMIT: Duration = Duration::from_secs(10);
/// How long what is written last may take when the node stops: of [`FINISH`], so that the log is ended in what is left, though
/// the store does not answer.
pub const STORE_LAST: Duration = Duration::from_secs(3);
/// Replica: first and longest pause before the store is asked again.
pub const REPLICA_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Time that a TLS handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time in which a request's headers must arrive, and in which the beginning of its answer must leave;
/// administrators' calls have [`ADMIN_CALL`].
pub const REQUEST: Duration = Duration::from_secs(30);
/// Time without a request after which a connection is closed, by default.
pub const IDLE: Duration = Duration::from_secs(5 * 60);
/// Age at which a connection is asked to go, by default, so that clients spread anew over the nodes.
pub const CONNECTION_AGE: Duration = Duration::from_secs(60 * 60);
/// Time that requests in flight have to end on a connection that was asked to go.
pub const CONNECTION_GRACE: Duration = Duration::from_secs(60);
/// Time that requests in flight have to end when the node shuts down, by default. A supervisor that kills must wait for
/// this, [`CUT_OFF`] and [`FINISH`] together: the files in `deploy/` have it so.
pub const DRAIN: Duration = Duration::from_secs(25);
/// Time in which requests that were cut off must notice it.
pub const CUT_OFF: Duration = Duration::from_secs(1);
/// Time that background tasks have to finish once nothing asks any more.
pub const FINISH: Duration = Duration::from_secs(5);
/// How often files are looked at even if no change was announced.
pub const FILE_POLL: Duration = Duration::from_secs(30);
/// How long an administrative call waits until its change is applied on this node.
pub const APPLY: Duration = Duration::from_secs(10);
/// How long the store's view may be out of date before issuance stops, by default.
pub const STALENESS: Duration = Duration::from_secs(60);
/// Token lifetime where nobody asks for another.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Token lifetime that nothing exceeds unless configuration says so.
pub const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Life of an API key that nothing exceeds unless configuration says so.
pub const MAX_KEY_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Sink: how often a sink that has caught up looks for new records. Looking costs one load of an atomic.
pub const SINK_TICK: Duration = Duration::from_millis(250);
/// Sink: shortest and longest pause after a failed delivery: how late a receiver that is back is noticed.
pub const SINK_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Sink: time that one delivery may take, by default.
pub const SINK_DELIVERY: Duration = Duration::from_secs(10);
/// Sink: how long it may go without catching up before that is told.
pub const SINK_BEHIND: Duration = Duration::from_secs(5 * 60);
/// Leaks: how long requests that were not proven are counted before that begins anew.
pub const LEAK_WINDOW: Duration = Duration::from_secs(60);
/// Leaks: how long a report waits for its place among those that are worked on.
pub const LEAK_WAIT: Duration = Duration::from_secs(5);
/// Leaks: after which time a reporter is asked to send a report again that could not be dealt with for a reason of ours: what
/// cannot be written is tried each second.
pub const LEAK_RETRY: Duration = Duration::from_secs(10);
/// Leaks: shortest time between two attempts to fetch a reporter's keys, whatever is asked: GitHub answers an address that has
/// no account 60 times an hour.
pub const LEAK_KEYS_PACE: Duration = Duration::from_secs(5 * 60);
/// Leaks: age at which a reporter's keys are fetched again before they are used: how late a withdrawn key is noticed.
pub const LEAK_KEYS_AGE: Duration = Duration::from_secs(60 * 60);
/// Clock difference that a verifier of our tokens may allow itself; markers outlive tokens by it.
pub const VERIFIER_LEEWAY: Duration = Duration::from_secs(5 * 60);
/// Step of the wall clock against the monotonic one that stops issuance.
pub const CLOCK_STEP: Duration = Duration::from_secs(5);
/// How far the log's last issue may be ahead of the clock and of what the store keeps of the time given out, for the time guard
/// to go by it: the store keeps it twice a minute, and issuance goes on without the store for an hour at most.
pub const MARK_AHEAD: Duration = Duration::from_secs(61 * 60);
/// How long the wall clock goes without a step until it is believed where it is ahead of what the broker has counted itself:
/// longer than a wrong one stays unnoticed, and what has ended is kept no longer for it.
pub const CLOCK_BELIEVED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How far it is ahead of that before somebody is told: a restart takes seconds.
pub const CLOCK_LAG: Duration = Duration::from_secs(60 * 60);
/// Clock difference that verifiers forgive, by default and at most.
pub const LEEWAY: Duration = Duration::from_secs(60);
/// How long verifiers may keep the published key set: `Cache-Control: max-age`.
pub const JWKS_MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// How long a key is published before it signs: twice the time that a cache may keep the set without it, because
/// a cache may have been filled from another cache.
pub const PUBLISH_AHEAD: Duration = Duration::from_secs(2 * JWKS_MAX_AGE.as_secs());
/// Age at which the active signing key is replaced, by default.
pub const ROTATE_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Time that fetching one metadata document or key set may take.
pub const FETCH: Duration = Duration::from_secs(10);

/// Largest configuration file in bytes: a hundred times what one with many audiences needs.
pub const CONFIGURATION: usize = 1024 * 1024;
/// Problems of one configuration file that are reported; more help nobody.
pub const CONFIGURATION_PROBLEMS: usize = 64;
/// Longest node id in bytes: it is part of the log's origin, which stands in every checkpoint.
pub const NODE: usize = 64;
/// Longest issuer in bytes: it stands in every token and in the log's origin.
pub const ISSUER: usize = 256;
/// Longest path of a Unix socket in bytes: `sun_path` on Linux without its terminating NUL, and without the `.new` under
/// which the socket is made before it takes its name.
pub const UNIX_PATH: usize = 103;
/// Token lifetime that no configuration exceeds: a token is for a piece of work, not for a week.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// API-key life that no configuration exceeds.
pub const LONGEST_KEY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Smallest size at which a log segment may be closed, in bytes: a thousand small files help nobody.
pub const SMALLEST_SEGMENT: u64 = 1024 * 1024;
/// Largest: it is read from its beginning to its end to be indexed, and what is found of it meanwhile is in memory.
pub const LARGEST_SEGMENT: u64 = 1024 * 1024 * 1024;
/// Smallest bound on the log's size: below it there is hardly room for more than what is being written.
pub const SMALLEST_LOG: u64 = 64 * 1024 * 1024;
/// Client: time to connect, TLS handshake included; a broker that needs longer is as good as away.
pub const CLIENT_CONNECT: Duration = Duration::from_secs(10);
/// Client: the part of it for all of a name's addresses, each its share, so that a dead one leaves time for the next.
pub const CLIENT_ADDRESSES: Duration = Duration::from_secs(5);
/// Client: time for one exchange once connected, its durable record included.
pub const CLIENT_CALL: Duration = Duration::from_secs(20);
/// Time for one administrative call, on both sides; backups of large stores take the longest.
pub const ADMIN_CALL: Duration = Duration::from_secs(300);
/// Client: largest answer to an administrative call, in bytes: a page with the longest document of policies and what goes
/// with it.
pub const ADMIN_ANSWER: usize = POLICY_DOCUMENT + PAGE_BYTES;
/// Client: longest that a broker can tell us to stay away.
pub const CLIENT_LONGEST_STAY: Duration = Duration::from_secs(300);
/// Client: how long a first call waits through outages before it reports the last one, by default.
pub const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
/// Client: largest answer in bytes: one token at its bound and what goes with it.
pub const ANSWER: usize = 64 * 1024;
/// Client: largest PEM file (bundle, certificate chain, private key) in bytes.
pub const PEM_FILE: usize = 1024 * 1024;
/// Client: longest text that is kept of a message another party wrote, in characters.
pub const FOREIGN_TEXT: usize = 512;
/// Scan: bytes of a stream that are in memory at a time: enough that reading costs more than looking.
pub const SCAN_WINDOW: usize = 256 * 1024;
/// Scan: most keys, and most files that could not be read, that one document lists; what is more is counted. Text has them
/// all, as they are found.
pub const SCAN_LISTED: usize = 10_000;
/// Client: largest `KUBERNETES_EXEC_INFO` in bytes: it holds a cluster's CA bundle.
pub const EXEC_INFO: usize = 1024 * 1024;
/// Verifier: bytes of checked tokens that are remembered, some tens of thousands; the least used go first.
pub const VERIFIED_BYTES: u64 = 64 * 1024 * 1024;
/// Verifier: most markers that are held, unless told otherwise: a gigabyte, and twice that while a snapshot comes in.
pub const FEED_MARKERS: usize = 16_000_000;
/// Verifier: largest message of the feed in bytes: what clients in other languages take unless told otherwise.
pub const FEED_MESSAGE: usize = 4 * 1024 * 1024;
/// Verifier: longest revision, and longest name of a view, in bytes; they are kept, and sent back to go on from there.
pub const FEED_REVISION: usize = 256;
/// Verifier: how long a feed may be silent before it is given up for another, by default. Heartbeats come far more often.
pub const FEED_SILENCE: Duration = Duration::from_secs(30);
/// Verifier: least time between the end of one fetch of the issuer's keys and the next that a token of an unknown key
/// causes: whoever sends such tokens does not set the pace.
pub const KEYS_REFETCH: Duration = Duration::from_secs(5);
/// DPoP: longest proof in bytes: a key of [`RSA_BITS`], its signature, and some thousand bytes of URL.
pub const DPOP_PROOF: usize = 8 * 1024;
/// DPoP: longest id of a proof (`jti`) in bytes: several times what libraries make of 128 random bits.
pub const DPOP_ID: usize = 256;
/// DPoP: how old a proof may be when it arrives: the way of a request, and a clock that is behind.
pub const DPOP_AGE: Duration = Duration::from_secs(60);
/// DPoP: how far ahead of the clock a proof may have been made: for clocks that differ, not for proofs made in advance.
pub const DPOP_AHEAD: Duration = Duration::from_secs(30);
/// DPoP: most proofs that are remembered so that none passes twice; past it none passes at all. A proof is remembered for
/// [`DPOP_AGE`] and [`DPOP_AHEAD`] together at most, so 11,000 good ones a second are always room enough: what some cores can
/// check, not what a large machine can. Some 70 MB, and 30 more where each is of another key.
pub const DPOP_SEEN: usize = 1_000_000;
/// DPoP: one key has at most one in so many of those that may be remembered, rounded up: who has one good token must not be
/// able to shut out all others. Of [`DPOP_SEEN`] that is 1,300 a second, more than one caller is likely to ask.
pub const DPOP_SEEN_SHARE: usize = 8;
/// Verifier: how long a token of an unknown key waits for that fetch.
pub const KEYS_WAIT: Duration = Duration::from_secs(2);
