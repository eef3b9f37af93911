//! Foreign clients: what we publish is enough for strangers who have none of our code.
//!
//! The scripts are under `tests/interop/`, their libraries are what `tests/setup` installed.

mod audit;
mod exchange;
pub(crate) mod foreign;
mod issuer;
mod log;
mod verifiers;
