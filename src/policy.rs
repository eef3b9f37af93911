//! Policy: `(Verified, Ask)` → [`Grant`] or a refusal. Pure: no async, no clock, no I/O.
//! The only maker of `Grant`.
//!
//! A decision has two parts, in this order:
//!
//! 1. **Ceilings**: what the credential, its ancestry and the audience's registration bound. They only narrow.
//! 2. **Cedar**: the policies in force, of which a request is shown the slice whose scope can match. Nothing is
//!    permitted without a `permit`; a `forbid` wins over every `permit`; a policy that cannot be evaluated denies
//!    (Cedar alone would skip it, and a broken `forbid` would be no `forbid`).
//!
//! Everything that a decision depends on is one plain value, [`Input`], which goes on the record: with the
//! policies of the recorded revision it can be decided again, without the store.
//!
//! # Annotations
//!
//! | annotation | on | meaning |
//! |---|---|---|
//! | `@id("name")` | any | the policy's name, unique; `document:n` where absent |
//! | `@description("…")` | any | prose for people |
//! | `@max_lifetime("10m")` | `permit` | tokens it permits live no longer |
//! | `@require_binding("true")` | `permit` | tokens it permits are bound to a key that the caller proves |
//! | `@exchange_to("a b")` | `permit` | tokens it permits can be exchanged for these audiences only |
//!
//! Where several policies permit, the most restrictive annotation of each kind holds.

mod annotation;
mod ceiling;
mod decide;
mod depth;
mod diagnostic;
mod document;
mod engine;
mod explain;
mod grant;
mod input;
mod literal;
mod model;
mod policies;
mod slice;
#[cfg(test)]
mod testing;

pub use ceiling::Settings;
pub use decide::Policy;
pub use diagnostic::Diagnostic;
pub use document::{Checked, Document, Origin, check};
pub use engine::{Allowed, Decision, Snapshot};
pub use explain::{Explanation, FailedCondition};
pub use grant::{Ask, Binding, Grant, Refused, Rule};
pub use input::{
    AudienceFacts, Ceilings, Context, Input, InputText, Principal, RecordedInput, Wanted,
};
pub use policies::{Loaded, Policies};
