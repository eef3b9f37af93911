//! Policy: `(Verified, Ask)` → [`Grant`] or a refusal. Pure: no async, no clock, no I/O.
//! The only maker of `Grant`.

mod grant;

pub use grant::{Ask, Binding, Grant, Rule};
