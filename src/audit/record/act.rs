//! Records of what was done to the broker rather than through it.

use crate::audit::context::Context;
use crate::id::{CredentialId, Owner, Tenant};
use serde::Deserialize;

/// The kinds of act. Issues, refusals and gaps are none: only the log makes those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// An administrative call, or what a reporter of leaks had done.
    Admin,
    /// A use of a finite-use key.
    Spend,
    /// A change of a key ring.
    Keys,
    /// The broker started.
    Start,
    /// The broker stops.
    Stop,
    /// Something was repaired or replayed.
    Recovery,
    /// Old records are removed, as the configuration says.
    Retention,
    /// A checkpoint of the log itself, which so goes wherever records go.
    Checkpoint,
}

impl ActKind {
    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Spend => "spend",
            Self::Keys => "keys",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Recovery => "recovery",
            Self::Retention => "retention",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// The action by which an operator takes the wall clock as right: the time guard's mark starts anew from its record.
pub const CLOCK_CONFIRMED: &str = "clock.confirm";

/// The actions that revoke what has a marker of its own, and take that back.
pub const MARKER_SET: &str = "marker.set";
/// See [`MARKER_SET`].
pub const MARKER_REINSTATED: &str = "marker.reinstate";

/// The action by which a signing key is no longer trusted.
pub const SIGNING_KEY_COMPROMISED: &str = "signing_key.compromise";

/// The action that cuts off all tokens so far.
pub const ROLLBACK_ACCEPTED: &str = "recovery.accept_rollback";

/// The action by which old records go: its change says the first that remains, when those before it `ended`, which is the time
/// of that one, and the `retention` in seconds.
pub const PRUNE: &str = "log.prune";

/// The action by which a checkpoint is recorded: its change holds the signed note.
pub const CHECKPOINT: &str = "log.checkpoint";

/// An act, for [`super::Encoder::act`].
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// Its kind.
    pub kind: ActKind,
    /// What was done, as `noun.verb`: `key.create`.
    pub action: &'a str,
    /// Where it came from; none for what the broker does by itself.
    pub context: Option<&'a Context>,
    /// Who did it.
    pub sub: Option<&'a str>,
    /// The credential it was about or done with.
    pub credential: Option<CredentialId>,
    /// The owner of the thing it was done to.
    pub owner: Option<&'a Owner>,
    /// The tenant of the thing it was done to.
    pub tenant: Option<&'a Tenant>,
    /// The thing it was done to.
    pub target: Option<&'a str>,
    /// What changed, as one JSON value without any secret.
    pub change: Option<&'a str>,
}

impl<'a> Act<'a> {
    /// An act of which nothing else is said.
    #[must_use]
    pub const fn new(kind: ActKind, action: &'a str) -> Self {
        Self {
            kind,
            action,
            context: None,
            sub: None,
            credential: None,
            owner: None,
            tenant: None,
            target: None,
            change: None,
        }
    }
}
