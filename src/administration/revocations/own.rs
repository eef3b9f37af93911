//! What a holder gives up of its own.

use super::{InHand, Revocable, RevocationAdmin, Revoked};
use crate::administration::change::{Author, Precondition};
use crate::authn::{Held, HeldThing, Holder};
use crate::id::{CredentialId, TokenId};
use crate::limits;
use crate::marker::{Part, Second, Thing};
use crate::refusal::Denial;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// For how long revocations of single tokens are counted.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// How many tokens of each credential each holder gave up one by one: since when, and how many. It holds who and what is
/// proven, and each no longer than its window.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<HashMap<(Holder, CredentialId), (Timestamp, usize)>>);

impl Counts {
    /// Counts one more. Answers whether it may still be a token by itself.
    fn admits(&self, by: &Holder, of: CredentialId, now: Timestamp) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        let (_, count) = counts.entry((by.clone(), of)).or_insert((now, 0));
        *count = count.saturating_add(1);
        *count <= limits::SELF_REVOCATIONS
    }
}

/// How a token is given up.
enum Way {
    /// By a marker of its own.
    Alone,
    /// By the one for all of its credential up to an instant, which is there.
    Among(CredentialId, Timestamp),
    /// By the one for all of its credential up to now.
    With(CredentialId),
}

impl RevocationAdmin {
    /// Revokes what a holder showed. Who gives up many tokens of one credential, one by one, gives up all of its tokens so
    /// far. The credential is another's, whose tokens they may have been, and ends by being shown itself only.
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
                credential,
                issued_at,
                expires_at,
            } => match self.way(held.by(), id, credential, issued_at) {
                Way::Alone => {
                    let end = expires_at;
                    Revocable::Token(id, Some(InHand { end, root }))
                }
                Way::Among(credential, before) => Revocable::TokensOf(credential, before),
                Way::With(credential) => return self.cut_off(credential, reason, author, on).await,
            },
            HeldThing::Credential(CredentialId::ApiKey(id), _) => Revocable::ApiKey(id),
            HeldThing::Credential(CredentialId::Certificate(digest), end) => {
                Revocable::Certificate(digest, Some(end))
            }
        };
        self.revoke(&what, reason, author, on).await
    }

    fn way(
        &self,
        by: &Holder,
        id: TokenId,
        credential: Option<CredentialId>,
        issued_at: Timestamp,
    ) -> Way {
        let Some(credential) = credential else {
            return Way::Alone;
        };
        let name = id.to_string();
        // What is revoked already is no other one, however often it is shown.
        let part = Part::absolute(Thing::Token(&self.issuer, &name));
        if self.hot.markers().covers(&part) {
            return Way::Alone;
        }
        let now = self.changes.now_or_latest();
        let all = self.hot.markers().get(&Thing::TokensOf(credential).id());
        match all.map(|cover| cover.before) {
            Some(before) if before >= Second::of(issued_at) => {
                Way::Among(credential, before.instant().unwrap_or(now))
            }
            _ if self.given_up.admits(by, credential, now) => Way::Alone,
            _ => Way::With(credential),
        }
    }

    /// Revokes the tokens of a credential up to now, also what they were exchanged for while that was on its way.
    async fn cut_off(
        &self,
        credential: CredentialId,
        reason: &str,
        author: &Author,
        on: &Precondition,
    ) -> Result<Revoked, Denial> {
        let up_to = |at| Revocable::TokensOf(credential, at);
        let asked = self.changes.now_or_latest();
        let revoked = self.revoke(&up_to(asked), reason, author, on).await?;
        // From here on nothing is made of them.
        let in_force = self.changes.now_or_latest();
        if Second::of(in_force) == Second::of(asked) {
            return Ok(revoked);
        }
        let on = Precondition::default();
        self.revoke(&up_to(in_force), reason, author, &on).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_tokens_are_given_up_one_by_one_in_an_hour_and_not_one_more() {
        let counts = Counts::default();
        let (key, other) = (
            CredentialId::Certificate([7; 32]),
            CredentialId::Certificate([8; 32]),
        );
        let by = Holder::Bearer("somebody".into());
        let at = |second| Timestamp::from_second(second).unwrap();
        for _ in 0..limits::SELF_REVOCATIONS {
            assert!(counts.admits(&by, key, at(1_000)));
        }
        assert!(!counts.admits(&by, key, at(1_000)));
        // Each by itself: of another credential, and by somebody else of the same name.
        assert!(counts.admits(&by, other, at(1_000)));
        assert!(counts.admits(&Holder::Proven("somebody".into()), key, at(1_000)));
        assert!(!counts.admits(&by, key, at(1_000 + 3_599)));
        assert!(counts.admits(&by, key, at(1_000 + 3_600)));
        assert_eq!(counts.0.lock().unwrap().len(), 1);
    }
}
