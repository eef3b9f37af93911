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
/// Latest instant that a `NumericDate` may name: the end of the year 9999, so that it has a calendar date.
pub const NUMERIC_DATE: u64 = 253_402_207_200;
/// Most keys that a ring publishes at once; past it no rotation happens until a retired key is gone.
pub const PUBLISHED_KEYS: usize = 16;
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
