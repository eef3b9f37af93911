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
pub mod id;
pub mod inventory;
pub mod jose;
pub mod keys;
pub mod lifecycle;
pub mod limits;
pub mod listener;
pub mod mint;
pub mod policy;
pub mod proto;
pub mod refusal;
pub mod revocation;
pub mod secret;
pub mod store;
pub mod telemetry;
pub mod trust;
pub mod verify;
