//! Cambist: a token-exchange broker for workload identity.
//!
//! A workload walks up with what it has (an API key, an mTLS workload certificate, a token this broker
//! issued) and walks away with what it needs: a short-lived token, bound to one audience, whose issuance is
//! already on a durable record.
//!
//! # The way of a request
//!
//! ```text
//! listener → face (gRPC | HTTP) → exchange:  authn → policy → [spend] → mint → audit → reply
//!                                  Presented   Verified   Grant             Minted  Issued
//! ```
//!
//! Each stage consumes the previous stage's proof by value, and only that stage can make the next one. An
//! unrecorded token cannot be sent, and the compiler says so.
//!
//! # The map
//!
//! Lower layers never use upper ones; a test reads the edges from the source.
//!
//! | layer | module | what lives there |
//! |---|---|---|
//! | values | [`id`] | identifiers, parsed once |
//! | | [`jose`] | JSON Web Signatures and Keys, strictly |
//! | | [`marker`] | what is revoked, as everybody who checks tokens holds it |
//! | | [`secret`], [`clock`], [`limits`], [`refusal`] | redacted secrets; injected time and randomness; every bound; every "no" |
//! | | [`https`] | HTTPS as a client: given CAs, no proxy, no redirect |
//! | | [`regular`] | files where others may have put a link or a pipe |
//! | domain | [`authn`] | credentials: the only maker of [`authn::Verified`] |
//! | | [`inventory`] | governed things: keys, audiences, their owners |
//! | | [`policy`] | ceilings and Cedar: the only maker of [`policy::Grant`] |
//! | | [`keys`] | rings of signing keys: the only code that sees private bytes |
//! | | [`mint`] | claims and tokens: the only maker of [`mint::Minted`] |
//! | | [`audit`] | the record: the only maker of [`audit::Issued`] |
//! | | [`revocation`] | the markers in force here, which every issue is checked against; the feed of them to all who watch |
//! | | [`trust`] | trust bundles, workload certificates |
//! | | [`administration`] | what is done to them, by whom: one batch with its record |
//! | | [`leak`] | leaked keys: who reports them, and what is done |
//! | | [`exchange`] | the one place that sees all stages |
//! | | [`store`] | the contract of the ordered store, and the embedded one that keeps it |
//! | faces | [`proto`], [`grpc`], [`http`], [`listener`] | generated code; conversion at the edge; TLS, sockets, peers |
//! | assembly | [`config`], [`telemetry`], [`lifecycle`], [`app`] | the configuration file; metrics and logs; start and stop; all of it put together |
//! | users' side | [`client`], [`verify`], [`cli`] | tokens that renew themselves; checks where tokens arrive; the command line |
//!
//! Absent on purpose: a row per token (expiry is a property of the token), ambient time and randomness, `unsafe`,
//! and any way to send a token that is not [`audit::Issued`].

pub mod administration;
pub mod app;
pub mod audit;
pub mod authn;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod exchange;
pub mod grpc;
pub mod http;
pub mod https;
pub mod id;
pub mod inventory;
pub mod jose;
pub mod keys;
pub mod leak;
pub mod lifecycle;
pub mod limits;
pub mod listener;
pub mod marker;
pub mod mint;
pub mod policy;
pub mod proto;
pub mod refusal;
pub mod regular;
pub mod revocation;
pub mod secret;
pub mod store;
pub mod telemetry;
pub mod trust;
pub mod verify;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
