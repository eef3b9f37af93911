//! Leaked keys: told to us, revoked, and put on the record.
//!
//! Who scans the world for secrets (GitHub's secret-scanning partner programme, and whoever does it in the same manner)
//! posts what was found to the issuer's `/leaks`; administrators hand a key's text in by command. Both come to the
//! [`Desk`], which revokes a key only by its whole text: an id is public, and knowing one ends nothing. Where nothing can be
//! written a key ends all the same, and whoever reported it is told to do so again.
//!
//! A report is a JSON array of `{token, type, url, source}`, signed with ECDSA over P-256 and SHA-256. The signature is over
//! the body's bytes as they came, and verified before anything is read of them; its key is one of those that a configured
//! reporter publishes. What is asked in vain is bounded by source ([`Strangers`]), so is how often a reporter's keys are
//! fetched ([`Reporters`]), and no exchange waits for any of it.
//!
//! A stolen key of a reporter does little harm: with it somebody revokes keys whose whole text he has, and such keys ought
//! to be revoked.

mod alert;
mod desk;
pub mod fetch;
mod published;
mod reporters;
mod strangers;

pub use alert::{Alert, Feedback, InvalidReport, Label};
pub use desk::{Desk, Observer, Outcome};
pub use published::{Published, PublishedError};
pub use reporters::{Fetched, KeySource, Reporters, Signed, Unproven};
pub use strangers::Strangers;
