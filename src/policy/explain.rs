//! Explanation: what would be decided, which rule decides, and which condition fails.

use super::ceiling::{Narrowed, narrow};
use super::depth;
use super::document::CompiledPolicy;
use super::engine::Snapshot;
use super::grant::Rule;
use super::input::Input;
use super::model::{Question, subject};
use crate::id::ScopeSet;
use crate::refusal::{Code, Refusal};
use cedar_policy::{Effect, PolicyId, PolicySet};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// What would be decided and why: for those who may ask, because it says how policies read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether a token would be granted.
    pub allowed: bool,
    /// Why not.
    pub code: Option<Code>,
    /// The precise cause, where it would be refused.
    pub detail: String,
    /// The rules that decide.
    pub rules: Vec<Rule>,
    /// For policies in reach that would permit: the conditions that do not hold.
    pub failed: Vec<FailedCondition>,
    /// Scopes that would be granted.
    pub scopes: ScopeSet,
    /// Lifetime that would be granted.
    pub lifetime: Duration,
    /// Whether the token would be bound.
    pub bound: bool,
    /// Revision of the policies.
    pub revision: Arc<str>,
}

/// A condition that keeps a policy from permitting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCondition {
    /// The policy.
    pub rule: Rule,
    /// The condition's text, and why it could not be evaluated, if that is so.
    pub condition: String,
}

impl Explanation {
    /// Nothing decided, nothing granted.
    #[must_use]
    pub fn of_nothing(revision: Arc<str>) -> Self {
        Self {
            allowed: false,
            code: None,
            detail: String::new(),
            rules: Vec::new(),
            failed: Vec::new(),
            scopes: ScopeSet::default(),
            lifetime: Duration::ZERO,
            bound: false,
            revision,
        }
    }

    /// The same with a refusal in the place of what would be granted.
    #[must_use]
    pub fn refused(self, refusal: &Refusal) -> Self {
        Self {
            code: Some(refusal.code()),
            detail: refusal.detail().to_owned(),
            rules: self.rules,
            failed: self.failed,
            ..Self::of_nothing(self.revision)
        }
    }
}

impl Snapshot {
    /// Explains the decision on an input.
    #[must_use]
    pub fn explain(&self, input: &Input) -> Explanation {
        let decision = self.decide_afresh(input);
        let failed = narrow(input)
            .ok()
            .and_then(|narrowed| depth::with_stack(|| self.failed(input, &narrowed)))
            .unwrap_or_default();
        let decided = Explanation {
            rules: decision.rules.to_vec(),
            failed,
            ..Explanation::of_nothing(Arc::clone(&self.revision))
        };
        match decision.outcome {
            Ok(allowed) => Explanation {
                allowed: true,
                scopes: allowed.scopes,
                lifetime: allowed.lifetime,
                bound: allowed.bound,
                ..decided
            },
            Err(refusal) => decided.refused(&refusal),
        }
    }

    /// Takes the permits in the slice apart.
    fn failed(&self, input: &Input, narrowed: &Narrowed) -> Option<Vec<FailedCondition>> {
        let subject = subject(input).ok()?;
        let question = self.model.question(input, &subject, narrowed).ok()?;
        let shown = self
            .slices
            .shown(input, &subject)
            .flat_map(|bucket| &bucket.policies);
        let mut failed: Vec<FailedCondition> = shown
            .flat_map(|compiled| self.conditions(compiled, &question))
            .collect();
        failed.sort_by(|a, b| a.rule.cmp(&b.rule));
        Some(failed)
    }

    /// The conditions of one policy that do not hold. A condition that cannot be evaluated counts only if none
    /// before it is false: what guards it may well be what is false.
    fn conditions(&self, compiled: &CompiledPolicy, question: &Question) -> Vec<FailedCondition> {
        let mut failed = Vec::new();
        // A `forbid` that does not hold forbids nothing.
        if compiled.policy.effect() == Effect::Forbid {
            return failed;
        }
        let Ok(json) = compiled.policy.to_json() else {
            return failed;
        };
        for condition in pieces(&json) {
            let piece = piece(&json, &condition);
            let Some(piece) = piece else { continue };
            let reason = match self.holds(&piece, question) {
                Ok(true) => continue,
                Ok(false) => String::new(),
                Err(_) if !failed.is_empty() => break,
                Err(error) => format!(" (could not be evaluated: {error})"),
            };
            failed.push(FailedCondition {
                rule: compiled.rule.clone(),
                condition: format!("{}{reason}", text(&json, &condition)),
            });
            if matches!(condition, Piece::Scope) {
                break;
            }
        }
        failed
    }

    fn holds(&self, piece: &cedar_policy::Policy, question: &Question) -> Result<bool, String> {
        let set = PolicySet::from_policies([piece.clone()]).map_err(|e| e.to_string())?;
        let response = self
            .authorizer
            .is_authorized(&question.request, &set, &question.entities);
        match response.diagnostics().errors().next() {
            Some(cedar_policy::AuthorizationError::PolicyEvaluationError(error)) => {
                Err(error.inner().to_string())
            }
            None => Ok(response.decision() == cedar_policy::Decision::Allow),
        }
    }
}

/// A part of a policy that can fail by itself.
enum Piece {
    Scope,
    When(Value),
    Unless(Value),
}

/// The scope, then every conjunct in the order of the text.
fn pieces(policy: &Value) -> Vec<Piece> {
    let mut pieces = vec![Piece::Scope];
    let conditions = policy.get("conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        let Some(body) = condition.get("body") else {
            continue;
        };
        // `unless { a || b }` is `when { !a && !b }`.
        if condition.get("kind").and_then(Value::as_str) == Some("unless") {
            pieces.extend(split(body, "||").into_iter().map(Piece::Unless));
        } else {
            pieces.extend(split(body, "&&").into_iter().map(Piece::When));
        }
    }
    pieces
}

/// The operands of a chain of one operator. Chains lean left and may be long, so this goes down in a loop.
fn split(body: &Value, operator: &str) -> Vec<Value> {
    let mut open = vec![body];
    let mut done = Vec::new();
    while let Some(expression) = open.pop() {
        let sides = expression.get(operator);
        match sides.and_then(|sides| Some((sides.get("left")?, sides.get("right")?))) {
            Some((left, right)) => open.extend([right, left]),
            None => done.push(expression.clone()),
        }
    }
    done
}

/// The part as a policy of its own: the whole scope with no condition, or no scope with one condition.
fn piece(policy: &Value, piece: &Piece) -> Option<cedar_policy::Policy> {
    let condition = |kind: &str, body: &Value| json!([{ "kind": kind, "body": body }]);
    let all = json!({ "op": "All" });
    let scope = |name: &str| policy.get(name).cloned();
    let value = match piece {
        Piece::Scope => json!({
            "effect": "permit",
            "principal": scope("principal")?,
            "action": scope("action")?,
            "resource": scope("resource")?,
            "conditions": [],
        }),
        Piece::When(body) => json!({
            "effect": "permit", "principal": all, "action": all, "resource": all,
            "conditions": condition("when", body),
        }),
        Piece::Unless(body) => json!({
            "effect": "permit", "principal": all, "action": all, "resource": all,
            "conditions": condition("unless", body),
        }),
    };
    cedar_policy::Policy::from_json(Some(PolicyId::new("piece")), value).ok()
}

/// The part's text, without the policy around it.
fn text(policy: &Value, part: &Piece) -> String {
    // Printed as a `when`, which Cedar prints as it stands: an `unless` comes back as a negation.
    let (printed, prefix) = match part {
        Piece::Scope => (piece(policy, part), "scope: "),
        Piece::When(_) => (piece(policy, part), ""),
        Piece::Unless(body) => (piece(policy, &Piece::When(body.clone())), "unless "),
    };
    let printed = printed
        .and_then(|policy| policy.to_cedar())
        .unwrap_or_default();
    let line = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    let body = match part {
        Piece::Scope => line
            .strip_prefix("permit(")
            .and_then(|rest| rest.strip_suffix(");")),
        Piece::When(_) | Piece::Unless(_) => line
            .split_once('{')
            .and_then(|(_, rest)| rest.rsplit_once('}'))
            .map(|(body, _)| body),
    };
    format!("{prefix}{}", body.unwrap_or(&line).trim())
}
