//! The engine: one immutable set of policies, and the decisions it makes.

use super::ceiling::{Narrowed, Stopped, narrow, within};
use super::document::{CompiledDocument, CompiledPolicy};
use super::grant::Rule;
use super::input::{Input, InputText, RecordedInputRef};
use super::model::{Model, Question, subject};
use super::slice::{Bucket, Slices};
use crate::authn::{CredentialKind, Reach};
use crate::id::{Audience, ScopeSet};
use crate::limits;
use crate::refusal::{Code, Refusal};
use cedar_policy::{Authorizer, Response};
use jiff::Timestamp;
use quick_cache::sync::Cache;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
pub(super) mod tests;

/// The policies in force at one revision. Immutable: a change makes another snapshot.
pub struct Snapshot {
    pub(super) model: &'static Model,
    pub(super) revision: Arc<str>,
    pub(super) documents: Vec<Arc<CompiledDocument>>,
    pub(super) slices: Slices,
    pub(super) rules: HashMap<Arc<str>, Arc<CompiledPolicy>>,
    pub(super) authorizer: Authorizer,
    /// Decisions made at this revision. A decision depends on its input alone, and the whole input is the key,
    /// so a remembered one is what deciding again would give; the memory ends with the revision.
    pub(super) remembered: Cache<Input, Arc<Decision>, Weight>,
}

/// A decision and what the record of it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is allowed, or why nothing is.
    pub outcome: Result<Allowed, Refusal>,
    /// The rules that decided, sorted; empty where nothing permits it.
    pub rules: Arc<[Rule]>,
    /// The input with its revisions, for the record.
    pub input: InputText,
}

/// What a decision allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Scopes of the token.
    pub scopes: ScopeSet,
    /// Its longest lifetime, in whole seconds.
    pub lifetime: Duration,
    /// Whether it is bound to the key that the caller proved.
    pub bound: bool,
    /// Audiences that tokens made from it may be for.
    pub exchange: Reach<Arc<[Audience]>>,
}

/// What Cedar says of the slice.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) permits: Vec<Arc<str>>,
    pub(super) forbids: Vec<Arc<str>>,
    /// Policies that could not be evaluated, with the reason.
    pub(super) errors: Vec<(Arc<str>, String)>,
}

/// A remembered decision weighs about what it occupies.
#[derive(Clone, Debug)]
pub(super) struct Weight;

/// What an entry occupies beside its JSON.
const ENTRY: u64 = 1024;

impl quick_cache::Weighter<Input, Arc<Decision>> for Weight {
    fn weight(&self, _: &Input, decision: &Arc<Decision>) -> u64 {
        let json = u64::try_from(decision.input.as_str().len()).unwrap_or(u64::MAX);
        // The key holds the same values again.
        json.saturating_mul(2).saturating_add(ENTRY)
    }
}

pub(super) fn memory() -> Cache<Input, Arc<Decision>, Weight> {
    let items = usize::try_from(limits::REMEMBERED_DECISIONS / (4 * ENTRY)).unwrap_or(1024);
    Cache::with_weighter(items, limits::REMEMBERED_DECISIONS, Weight)
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.revision)
            .field("policies", &self.rules.len())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The revision: a hash over every document's name and text.
    #[must_use]
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// The schema's revision.
    #[must_use]
    pub fn schema_revision(&self) -> &Arc<str> {
        &self.model.revision
    }

    /// How many policies it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether it holds none, and so permits nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The audiences that policies name, in conditions and `@exchange_to` too: one that is not registered is
    /// likely misspelt.
    #[must_use]
    pub fn audiences(&self) -> BTreeSet<Audience> {
        let policies = self.rules.values();
        let named = policies.flat_map(|compiled| {
            let literals = compiled.policy.entity_literals().into_iter();
            let audiences = literals
                .filter(|literal| literal.type_name().basename() == "Audience")
                .filter_map(|literal| Audience::parse(literal.id().unescaped()).ok());
            let exchange = compiled
                .demands
                .exchange_to
                .iter()
                .flat_map(|list| list.iter());
            audiences.chain(exchange.cloned())
        });
        named.collect()
    }

    /// Decides. Never fails: what goes wrong is a refusal.
    #[must_use]
    pub fn decide(&self, mut input: Input) -> Arc<Decision> {
        // Each own token ends at another instant, which no rule looks at: it is left out of the key, or no token
        // would find what its siblings were told, and put back into what is recorded.
        let own = input.principal.kind == CredentialKind::OwnToken;
        let not_after = input.ceilings.not_after;
        if own {
            input.ceilings.not_after = Timestamp::MIN;
        }
        let known = self.remembered.get(&input);
        let decision = known.unwrap_or_else(|| {
            let decision = Arc::new(self.decide_afresh(&input));
            self.remembered.insert(input.clone(), Arc::clone(&decision));
            decision
        });
        if !own {
            return decision;
        }
        input.ceilings.not_after = not_after;
        let outcome = decision.outcome.clone();
        Arc::new(self.record(&input, outcome, Arc::clone(&decision.rules)))
    }

    /// Decides without looking at what was decided before.
    #[must_use]
    pub fn decide_afresh(&self, input: &Input) -> Decision {
        let (outcome, rules) = self.outcome(input);
        self.record(input, outcome, rules)
    }

    fn record(
        &self,
        input: &Input,
        outcome: Result<Allowed, Refusal>,
        rules: Arc<[Rule]>,
    ) -> Decision {
        let recorded = RecordedInputRef {
            version: 1,
            policies: &self.revision,
            schema: &self.model.revision,
            input,
        };
        match InputText::encode(&recorded) {
            Ok(input) => Decision {
                outcome,
                rules,
                input,
            },
            // What cannot be recorded cannot be allowed.
            Err(error) => {
                let detail = format!("the policy input cannot be encoded: {error}");
                Decision {
                    outcome: Err(Refusal::new(Code::PolicyDenied, detail)),
                    rules: Arc::default(),
                    input: InputText::null(),
                }
            }
        }
    }

    fn outcome(&self, input: &Input) -> (Result<Allowed, Refusal>, Arc<[Rule]>) {
        let narrowed = match narrow(input) {
            Ok(narrowed) => narrowed,
            Err(Stopped { rule, refusal }) => {
                return (Err(refusal), Arc::from([Rule(rule.into())]));
            }
        };
        match self.verdict(input, &narrowed) {
            Ok(verdict) => self.conclude(input, narrowed, verdict),
            Err(refusal) => (Err(refusal), Arc::default()),
        }
    }

    /// Asks Cedar about the slice.
    pub(super) fn verdict(&self, input: &Input, narrowed: &Narrowed) -> Result<Verdict, Refusal> {
        let subject = subject(input)?;
        let question = self.model.question(input, &subject, narrowed)?;
        let mut verdict = Verdict::default();
        for bucket in self.slices.shown(input, &subject) {
            self.ask(&question, bucket, &mut verdict);
        }
        Ok(verdict)
    }

    fn ask(&self, question: &Question, bucket: &Bucket, verdict: &mut Verdict) {
        let response =
            self.authorizer
                .is_authorized(&question.request, &bucket.set, &question.entities);
        verdict.add(&response);
    }

    fn conclude(
        &self,
        input: &Input,
        narrowed: Narrowed,
        mut verdict: Verdict,
    ) -> (Result<Allowed, Refusal>, Arc<[Rule]>) {
        let denied = |detail: String| Err(Refusal::new(Code::PolicyDenied, detail));
        if !verdict.errors.is_empty() {
            let rules = sorted(verdict.errors.into_iter().map(|(rule, _)| rule).collect());
            let detail = format!("could not be evaluated: {}", names(&rules));
            return (denied(detail), rules);
        }
        if !verdict.forbids.is_empty() {
            let rules = sorted(std::mem::take(&mut verdict.forbids));
            return (denied(format!("forbidden by {}", names(&rules))), rules);
        }
        if verdict.permits.is_empty() {
            return (denied("no policy permits it".to_owned()), Arc::default());
        }
        let rules = sorted(verdict.permits);
        (self.demand(input, narrowed, &rules), rules)
    }

    /// Applies what the permitting policies demand: the most restrictive of each kind.
    fn demand(
        &self,
        input: &Input,
        narrowed: Narrowed,
        permits: &[Rule],
    ) -> Result<Allowed, Refusal> {
        let mut lifetime = Duration::from_secs(narrowed.lifetime);
        let mut exchange = narrowed.exchange;
        for rule in permits {
            let Some(compiled) = self.rules.get(&rule.0) else {
                let detail = format!("`{rule}` is not a policy in force");
                return Err(Refusal::new(Code::PolicyDenied, detail));
            };
            let demands = &compiled.demands;
            if let Some(ceiling) = demands.max_lifetime {
                lifetime = lifetime.min(ceiling);
            }
            if let Some(list) = &demands.exchange_to {
                exchange = within(&exchange, &Reach::Listed(Arc::clone(list)));
            }
            if demands.require_binding && !input.context.proves_key {
                let detail = format!("no key was proved, and `{rule}` demands it");
                return Err(Refusal::new(Code::BindingRequired, detail));
            }
        }
        Ok(Allowed {
            scopes: narrowed.scopes,
            lifetime,
            bound: narrowed.bound,
            exchange,
        })
    }
}

impl Verdict {
    /// Adds what one bucket says. A bucket answers `Allow` with its permits, or `Deny` with its forbids, which
    /// outweigh permits of any bucket; so nothing is lost by asking bucket by bucket.
    fn add(&mut self, response: &Response) {
        let diagnostics = response.diagnostics();
        let reasons = diagnostics.reason().map(|id| Arc::from(id.as_ref()));
        match response.decision() {
            cedar_policy::Decision::Allow => self.permits.extend(reasons),
            cedar_policy::Decision::Deny => self.forbids.extend(reasons),
        }
        for error in diagnostics.errors() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let id = Arc::from(error.policy_id().as_ref());
            self.errors.push((id, error.inner().to_string()));
        }
    }
}

fn sorted(names: Vec<Arc<str>>) -> Arc<[Rule]> {
    let mut rules: Vec<Rule> = names.into_iter().map(Rule).collect();
    rules.sort_unstable();
    rules.into()
}

/// The first few names, for a detail that stays short.
fn names(rules: &[Rule]) -> String {
    let first: Vec<String> = rules
        .iter()
        .take(4)
        .map(|rule| format!("`{rule}`"))
        .collect();
    let more = if rules.len() > first.len() {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", first.join(", "))
}
