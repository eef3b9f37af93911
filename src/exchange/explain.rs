//! What would be decided and why, for callers that need no credential to ask.

use super::{Exchange, spend};
use crate::authn::{Uses, Verified};
use crate::id::{KeyPublicId, SpiffeId};
use crate::policy::{Ask, Explanation};
use crate::refusal::{Code, Denial, Refusal};
use jiff::Timestamp;
use std::net::IpAddr;
use std::time::Duration;

/// An exchange that might be asked for.
#[derive(Debug)]
pub enum Hypothesis {
    /// By an API key.
    Key {
        /// Its public id.
        id: KeyPublicId,
        /// What would be asked.
        ask: Ask,
        /// Where from.
        source: Option<IpAddr>,
    },
    /// By a workload with a certificate.
    Workload {
        /// Its SPIFFE ID.
        id: SpiffeId,
        /// What would be asked.
        ask: Ask,
        /// Where from.
        source: Option<IpAddr>,
    },
}

impl Exchange {
    /// Explains a decision. Issues nothing, and spends nothing.
    ///
    /// # Errors
    /// [`Code::NotFound`] for a key that does not exist; a failure when the store does not say what is left of its uses.
    pub async fn explain(&self, hypothesis: &Hypothesis) -> Result<Explanation, Denial> {
        let now = self.guard.wall();
        let (supposed, ask, source) = match hypothesis {
            Hypothesis::Key { id, ask, source } => {
                let missing = || Refusal::new(Code::NotFound, format!("no key `{id}`"));
                let entry = self.keys.find(id).ok_or_else(missing)?;
                (self.authn.suppose_key(&entry, *source, now), ask, *source)
            }
            Hypothesis::Workload { id, ask, source } => {
                (Ok(self.authn.suppose_workload(id, now)), ask, *source)
            }
        };
        let asked = supposed.and_then(|supposed| Ok((supposed, self.audience(ask)?)));
        let (supposed, audience) = match asked {
            Ok(asked) => asked,
            Err(refusal) => return Ok(self.before_policy(&refusal)),
        };
        let verified = supposed.verified();
        let explained = self.policy.explain(verified, ask, &audience.spec, source);
        Ok(match self.after_policy(verified, &explained, now).await? {
            Ok(lifetime) => Explanation {
                lifetime,
                ..explained
            },
            Err(refusal) => explained.refused(&refusal),
        })
    }

    /// How long a token that policy grants would live, or why there would be none all the same.
    async fn after_policy(
        &self,
        verified: &Verified,
        explained: &Explanation,
        now: Timestamp,
    ) -> Result<Result<Duration, Refusal>, Denial> {
        if !explained.allowed {
            return Ok(Ok(explained.lifetime));
        }
        if let Uses::Limited { key, limit } = verified.uses()
            && spend::left(&self.changes, key, limit).await? == 0
        {
            return Ok(Err(spend::none_left()));
        }
        Ok(self
            .mint
            .lifetime(explained.lifetime, verified.ceiling().not_after, now))
    }

    /// What is refused before any policy is looked at.
    fn before_policy(&self, refusal: &Refusal) -> Explanation {
        Explanation::of_nothing(self.policy.policies().revision()).refused(refusal)
    }
}
