//! What a holder gives up of its own.

use super::{InHand, Revocable, RevocationAdmin, Revoked};
use crate::administration::change::{Author, Precondition};
use crate::authn::{Held, HeldThing};
use crate::id::CredentialId;
use crate::limits;
use crate::marker::{Part, Thing};
use crate::refusal::Denial;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// For how long revocations of single tokens are counted.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// How many tokens of each credential were given up one by one: since when, and how many. It holds credentials that are
/// proven, and each no longer than its window.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<HashMap<CredentialId, (Timestamp, usize)>>);

impl Counts {
    /// Counts one more. Answers whether it may still be a token by itself.
    fn admits(&self, root: CredentialId, now: Timestamp) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        let (_, count) = counts.entry(root).or_insert((now, 0));
        *count = count.saturating_add(1);
        *count <= limits::SELF_REVOCATIONS
    }
}

impl RevocationAdmin {
    /// Revokes what a holder showed. Who gives up many tokens of one credential, one by one, gives up the credential.
    ///
    /// # Errors
    /// As of [`RevocationAdmin::revoke`].
    pub async fn give_up(
        &self,
        held: &Held,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Revoked, Denial> {
        let what = match *held.thing() {
            HeldThing::Token {
                id,
                root,
                expires_at,
            } => {
                let now = self.changes.now_or_latest();
                let name = id.to_string();
                let part = Part::absolute(Thing::Token(&self.issuer, &name));
                // What is revoked already is no other one, however often it is shown.
                let is_one = self.hot.markers().covers(&part)
                    || root.is_none_or(|root| self.given_up.admits(root, now));
                match root.filter(|_| !is_one) {
                    Some(CredentialId::ApiKey(id)) => Revocable::ApiKey(id),
                    // Its end is not told by its tokens.
                    Some(CredentialId::Certificate(digest)) => Revocable::Certificate(digest, None),
                    None => {
                        let end = expires_at;
                        Revocable::Token(id, Some(InHand { end, root }))
                    }
                }
            }
            HeldThing::Credential(CredentialId::ApiKey(id), _) => Revocable::ApiKey(id),
            HeldThing::Credential(CredentialId::Certificate(digest), end) => {
                Revocable::Certificate(digest, Some(end))
            }
        };
        self.revoke(&what, reason, author, on).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_tokens_are_given_up_one_by_one_in_an_hour_and_not_one_more() {
        let counts = Counts::default();
        let root = CredentialId::Certificate([7; 32]);
        let at = |second| Timestamp::from_second(second).unwrap();
        for _ in 0..limits::SELF_REVOCATIONS {
            assert!(counts.admits(root, at(1_000)));
        }
        assert!(!counts.admits(root, at(1_000)));
        assert!(counts.admits(CredentialId::Certificate([8; 32]), at(1_000)));
        assert!(!counts.admits(root, at(1_000 + 3_599)));
        assert!(counts.admits(root, at(1_000 + 3_600)));
        assert_eq!(counts.0.lock().unwrap().len(), 1);
    }
}
