//! The stage itself: `(Verified, Ask)` → `Grant`, or a refusal that says whose it is.

use super::ceiling::Settings;
use super::engine::Allowed;
use super::explain::Explanation;
use super::grant::{Ask, Grant, Refused};
use super::input::Input;
use super::policies::Policies;
use crate::authn::Verified;
use crate::inventory::AudienceSpec;
use crate::refusal::{Code, Refusal};
use std::net::IpAddr;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Decides what a verified caller may have.
#[derive(Clone, Debug)]
pub struct Policy {
    policies: Arc<Policies>,
    settings: Settings,
}

impl Policy {
    /// Decides by `policies`, below the ceilings in `settings`.
    #[must_use]
    pub fn new(policies: Arc<Policies>, settings: Settings) -> Self {
        Self { policies, settings }
    }

    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Decides. `audience` is the registration that the ask's audience resolved to, `source` the caller's address.
    ///
    /// # Errors
    /// [`Refused`], with the caller's proof given back for the record.
    pub fn decide(
        &self,
        verified: Verified,
        ask: &Ask,
        audience: &AudienceSpec,
        source: Option<IpAddr>,
    ) -> Result<Grant, Box<Refused>> {
        let input = Input::new(&verified, ask, audience, source, &self.settings);
        let decision = self.policies.snapshot().decide(input);
        let rules = Arc::clone(&decision.rules);
        let input = decision.input.clone();
        let refuse = |verified, refusal, rules, input| {
            Err(Box::new(Refused {
                verified,
                refusal,
                rules,
                input,
            }))
        };
        let allowed: &Allowed = match &decision.outcome {
            Ok(allowed) => allowed,
            Err(refusal) => return refuse(verified, refusal.clone(), rules, input),
        };
        let bound_to = verified.confirmation().copied();
        if allowed.bound != bound_to.is_some() {
            // The input says what the proof says; a token bound to nothing must not come of it if not.
            let refusal = Refusal::new(Code::BindingRequired, "the proved key is gone");
            return refuse(verified, refusal, rules, input);
        }
        let may_act = match (verified.may_act(), &ask.may_act) {
            (Some(named), Some(wanted)) if named != wanted => {
                let refusal = Refusal::new(
                    Code::ActorNotAllowed,
                    "may_act would name another party than before",
                );
                return refuse(verified, refusal, rules, input);
            }
            (Some(named), _) => Some(Arc::clone(named)),
            (None, wanted) => wanted.clone(),
        };
        Ok(Grant {
            may_act,
            audience: audience.name.clone(),
            scopes: allowed.scopes.clone(),
            lifetime: allowed.lifetime,
            not_after: verified.ceiling().not_after,
            bound_to,
            exchange: allowed.exchange.clone(),
            rules,
            input,
            verified,
        })
    }

    /// Says what [`Policy::decide`] would, and why.
    #[must_use]
    pub fn explain(
        &self,
        verified: &Verified,
        ask: &Ask,
        audience: &AudienceSpec,
        source: Option<IpAddr>,
    ) -> Explanation {
        let input = Input::new(verified, ask, audience, source, &self.settings);
        self.policies.snapshot().explain(&input)
    }
}
