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
/// Largest RSA modulus in bits that a peer's certificate may carry: what a signature check costs grows with
/// its square, and it is paid before the peer is known (SPIRE's CPU exhaustion of 1.14.2).
pub const RSA_BITS: usize = 4096;
/// Largest file of roots or revocation lists that is read, in bytes: some 400,000 revoked serials.
pub const TRUST_FILE: usize = 16 * 1024 * 1024;
/// Most roots of one trust domain: path building tries each of them.
pub const ROOTS: usize = 64;
/// Most trust domains whose bundles are held.
pub const TRUST_DOMAINS: usize = 1024;
/// Largest PROXY v2 header in bytes, its 16 fixed ones included: addresses and the TLVs that balancers add.
pub const PROXY_HEADER: usize = 1024;
/// Connections in the middle of their handshake on one listener; a further one takes the place of the oldest.
pub const HANDSHAKES: usize = 512;
/// Refused connections that one listener logs in a second; all are counted.
pub const REFUSAL_LINES: u32 = 20;
/// Open connections on one listener, by default.
pub const CONNECTIONS: usize = 10_000;
/// Open connections from one source (an IPv4 address or an IPv6 /64), by default.
pub const CONNECTIONS_PER_SOURCE: usize = 1024;
/// Requests in flight on one HTTP/2 connection, by default.
pub const STREAMS: u32 = 128;
/// Largest header list of a request, in bytes: two tokens of the largest size and what goes with them.
pub const HEADERS: u32 = 64 * 1024;
/// Largest body of one HTTP request that is not gRPC, in bytes; gRPC messages are held to [`MESSAGE`].
pub const BODY: usize = MESSAGE;
/// Open connections on the operations listener: a scraper, a prober and a person.
pub const OPS_CONNECTIONS: usize = 64;
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
/// Time in which a request's headers must arrive, and in which the beginning of its answer must leave.
pub const REQUEST: Duration = Duration::from_secs(30);
/// Time without a request after which a connection is closed, by default.
pub const IDLE: Duration = Duration::from_secs(5 * 60);
/// Age at which a connection is asked to go, by default, so that clients spread anew over the nodes.
pub const CONNECTION_AGE: Duration = Duration::from_secs(60 * 60);
/// Time that requests in flight have to end on a connection that was asked to go.
pub const CONNECTION_GRACE: Duration = Duration::from_secs(60);
/// Time that requests in flight have to end when the node shuts down, by default: less than the thirty
/// seconds that Kubernetes waits before it kills.
pub const DRAIN: Duration = Duration::from_secs(25);
/// How often files are looked at even if no change was announced.
pub const FILE_POLL: Duration = Duration::from_secs(30);
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
