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
/// Largest page that a list call answers with.
pub const PAGE: usize = 500;
/// Policies that no index key covers; they are shown to every request, so they are few.
pub const UNINDEXED_POLICIES: usize = 64;
/// Most policies that are loaded.
pub const POLICIES: usize = 20_000;

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

/// Largest configuration file in bytes: a hundred times what one with many audiences needs.
pub const CONFIGURATION: usize = 1024 * 1024;
/// Problems of one configuration file that are reported; more help nobody.
pub const CONFIGURATION_PROBLEMS: usize = 64;
/// Longest node id in bytes: it is part of the log's origin, which stands in every checkpoint.
pub const NODE: usize = 64;
/// Longest issuer in bytes: it stands in every token and in the log's origin.
pub const ISSUER: usize = 256;
/// Longest path of a Unix socket in bytes, the terminating NUL left out (`sun_path` on Linux).
pub const UNIX_PATH: usize = 107;
/// Token lifetime that no configuration exceeds: a token is for a piece of work, not for a week.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// API-key life that no configuration exceeds.
pub const LONGEST_KEY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Age at which a signing key makes way for its spare, by default.
pub const SIGNING_KEY_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Size at which a log segment is closed, by default, in bytes.
pub const SEGMENT: u64 = 64 * 1024 * 1024;
/// Smallest size at which a log segment may be closed, in bytes: a thousand small files help nobody.
pub const SMALLEST_SEGMENT: u64 = 1024 * 1024;
/// Age at which a log segment is closed, by default.
pub const SEGMENT_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Connections open at once on all listeners, by default: some 30 KiB each.
pub const CONNECTIONS: u32 = 10_000;
/// Connections open at once from one source address, by default: many workloads may share one.
pub const SOURCE_CONNECTIONS: u32 = 1_000;
/// Streams in flight on one connection, by default.
pub const STREAMS: u32 = 256;
/// Time that a connection may be idle, by default.
pub const IDLE: Duration = Duration::from_secs(15 * 60);
/// Age at which a connection is asked to go, by default, so that peers meet new trust material.
pub const AGE: Duration = Duration::from_secs(60 * 60);
/// Time that calls in flight get at shutdown, by default: less than what service managers wait.
pub const DRAIN: Duration = Duration::from_secs(20);
