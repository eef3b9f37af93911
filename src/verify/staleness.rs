//! How old knowledge of revocations may be, and what happens when it is older.

use std::time::Duration;

/// How old what is known of revocations may be when a token is accepted. There is no default: it is said for each use.
///
/// While the broker is in reach the age is a few seconds. The bound is how long a token that was revoked can pass where
/// the broker is out of reach; [`Beyond`] is what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// The greatest age that is good enough.
    pub bound: Duration,
    /// What becomes of tokens beyond it.
    pub beyond: Beyond,
}

/// What becomes of tokens that nothing known speaks against, while what is known is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// They are refused: what cannot be checked does not pass.
    Refuse,
    /// They are accepted, as they would be without a feed: signature, times and all else still hold, and so do the
    /// revocations that are known.
    Accept,
}

impl Staleness {
    /// Beyond `bound` nothing is accepted.
    #[must_use]
    pub const fn refuse_beyond(bound: Duration) -> Self {
        let beyond = Beyond::Refuse;
        Self { bound, beyond }
    }

    /// Beyond `bound` tokens are accepted by what is known.
    #[must_use]
    pub const fn accept_beyond(bound: Duration) -> Self {
        let beyond = Beyond::Accept;
        Self { bound, beyond }
    }
}
