//! What would be decided and why, for callers that need no credential to ask.

use super::Exchange;
use crate::id::{KeyPublicId, ScopeSet, SpiffeId};
use crate::policy::{Ask, Explanation};
use crate::refusal::{Code, Denial, Refusal};
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
    /// Explains a decision. Issues nothing.
    ///
    /// # Errors
    /// [`Code::NotFound`] for a key that does not exist.
    pub fn explain(&self, hypothesis: &Hypothesis) -> Result<Explanation, Denial> {
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
        let explained = supposed.and_then(|supposed| {
            let audience = self.audience(ask)?;
            Ok(self
                .policy
                .explain(supposed.verified(), ask, &audience.spec, source))
        });
        Ok(explained.unwrap_or_else(|refusal| self.before_policy(&refusal)))
    }

    /// What is refused before any policy is looked at.
    fn before_policy(&self, refusal: &Refusal) -> Explanation {
        Explanation {
            allowed: false,
            code: Some(refusal.code()),
            detail: refusal.detail().to_owned(),
            rules: Vec::new(),
            failed: Vec::new(),
            scopes: ScopeSet::default(),
            lifetime: Duration::ZERO,
            bound: false,
            revision: self.policy.policies().revision(),
        }
    }
}
