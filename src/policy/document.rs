//! Policy documents: Cedar text, read and checked on its own.

use super::annotation::{Demands, Place, demands};
use super::depth;
use super::diagnostic::{Diagnostic, Source};
use super::grant::Rule;
use super::literal::impossible;
use super::model::{Model, model};
use super::policies::Policies;
use super::slice::ScopeKey;
use crate::limits;
use cedar_policy::{PolicyId, PolicySet, ValidationMode, ValidationWarning};
use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Where a document comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file that the configuration names: read-only to administrators.
    Configuration,
    /// Written through the API, kept in the store.
    Store,
}

/// A named text with any number of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name: 1 to [`limits::NAME`] of `[A-Za-z0-9._/-]`.
    pub name: String,
    /// Cedar text.
    pub text: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// A policy and what was read from it.
#[derive(Debug)]
pub(super) struct CompiledPolicy {
    pub(super) rule: Rule,
    pub(super) policy: cedar_policy::Policy,
    pub(super) demands: Demands,
    pub(super) scope: ScopeKey,
    /// Where it starts in its document.
    pub(super) start: usize,
}

/// A document whose policies are valid, each for itself.
#[derive(Debug)]
pub(super) struct CompiledDocument {
    pub(super) document: Document,
    pub(super) policies: Vec<Arc<CompiledPolicy>>,
    pub(super) warnings: Vec<Diagnostic>,
}

/// What there is to say of a text of policies, taken by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How many policies it holds; 0 when it is not valid.
    pub policies: usize,
    /// Errors and warnings, in order of position.
    pub findings: Vec<Diagnostic>,
}

impl Checked {
    /// Whether the text may be loaded, as far as it goes by itself.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.findings.iter().all(|finding| finding.warning)
    }
}

/// Checks a text of policies, taken by itself.
#[must_use]
pub fn check(text: &str) -> Checked {
    // In a set of its own, so that the bounds of a whole set hold here too.
    let checked = Policies::new().and_then(|alone| alone.check("policy", text));
    match checked {
        Ok(loaded) => Checked {
            policies: loaded.policies,
            findings: loaded.warnings,
        },
        Err(findings) => Checked {
            policies: 0,
            findings,
        },
    }
}

/// Whether a text may name a document or a policy. Without a colon, so that no name reads like a ceiling's or
/// like another document's policy; compared byte by byte, never folded.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._/-".contains(&b);
    (1..=limits::NAME).contains(&text.len()) && text.bytes().all(allowed)
}

impl CompiledDocument {
    /// Reads and checks a document.
    pub(super) fn new(document: Document) -> Result<Self, Vec<Diagnostic>> {
        let model = model().map_err(|finding| vec![finding])?;
        let source = Source {
            name: &document.name,
            text: &document.text,
        };
        if !is_name(&document.name) {
            let message = "a document's name is 1 to 128 characters of `A-Z a-z 0-9 . _ / -`";
            return Err(vec![source.error("", 0, message)]);
        }
        if document.text.len() > limits::POLICY_DOCUMENT {
            let message = format!("a document is at most {} bytes", limits::POLICY_DOCUMENT);
            return Err(vec![source.error("", 0, message)]);
        }
        depth::check(source.text)
            .map_err(|deep| vec![source.error("", deep.at, deep.what.message())])?;
        let (policies, mut findings) = depth::with_stack(|| {
            let (policies, mut findings) = read(source)?;
            findings.extend(validate(model, source, &policies)?);
            Ok::<_, Vec<Diagnostic>>((policies, findings))
        })?;
        // The validator has no order of its own: two findings at one place are told in the same order each time.
        findings.sort_by(|a, b| {
            let place = |finding: &Diagnostic| (finding.line, finding.column);
            place(a)
                .cmp(&place(b))
                .then_with(|| a.message.cmp(&b.message))
        });
        if findings.iter().any(|finding| !finding.warning) {
            return Err(findings);
        }
        Ok(Self {
            policies: policies.into_iter().map(Arc::new).collect(),
            warnings: findings,
            document,
        })
    }
}

/// Parses the text, names its policies and reads their annotations.
fn read(source: Source<'_>) -> Result<(Vec<CompiledPolicy>, Vec<Diagnostic>), Vec<Diagnostic>> {
    let parsed = PolicySet::from_str(source.text).map_err(|errors| {
        let found = errors.iter().map(|error| source.found("", 0, error));
        found.collect::<Vec<_>>()
    })?;
    let mut findings = Vec::new();
    for template in parsed.templates() {
        let at = source.text.find(&template.to_string()).unwrap_or_default();
        let name = template.annotation("id").unwrap_or_default();
        let help = "write one policy for each principal or audience, or name a group with `in`";
        let message = "templates cannot be used: nothing here fills in `?principal` or `?resource`";
        findings.push(source.error(name, at, message).help(Some(help)));
    }
    let mut policies = Vec::with_capacity(parsed.num_of_policies());
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut end = 0_usize;
    for (index, policy) in in_order(&parsed).into_iter().enumerate() {
        let text = policy.to_string();
        let start = source
            .text
            .get(end..)
            .and_then(|rest| rest.find(&text))
            .map_or(end, |at| end.saturating_add(at));
        end = start.saturating_add(text.len());
        let own = policy.annotation("id");
        let name = own.map_or_else(
            || format!("{}:{}", source.name, index.saturating_add(1)),
            str::to_owned,
        );
        let place = Place {
            source,
            name: &name,
            start,
            text: &text,
        };
        if own.is_some_and(|own| !is_name(own)) {
            let message = "a policy's name is 1 to 128 characters of `A-Z a-z 0-9 . _ / -`";
            findings.push(place.error("@id", message));
        }
        if seen.insert(name.clone(), start).is_some() {
            let message = format!("another policy of this document is named `{name}` too");
            findings.push(place.error("@id", message));
            continue;
        }
        for literal in policy.entity_literals() {
            if let Some(message) = impossible(&literal) {
                findings.push(place.error(&literal.to_string(), message));
            }
        }
        match demands(policy, place) {
            Ok(demands) => policies.push(CompiledPolicy {
                rule: Rule(name.as_str().into()),
                policy: policy.new_id(PolicyId::new(&name)),
                demands,
                scope: ScopeKey::of(policy),
                start,
            }),
            Err(errors) => findings.extend(errors),
        }
    }
    Ok((policies, findings))
}

/// The policies in the order of the text: the parser numbers them `policy0`, `policy1` and so on.
fn in_order(parsed: &PolicySet) -> Vec<&cedar_policy::Policy> {
    let mut policies: Vec<_> = parsed.policies().collect();
    policies.sort_by_key(|policy| {
        let id: &str = policy.id().as_ref();
        id.strip_prefix("policy")
            .and_then(|number| number.parse::<usize>().ok())
            .unwrap_or(usize::MAX)
    });
    policies
}

/// Strict validation against the schema.
fn validate(
    model: &Model,
    source: Source<'_>,
    policies: &[CompiledPolicy],
) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let set = PolicySet::from_policies(policies.iter().map(|compiled| compiled.policy.clone()))
        .map_err(|error| vec![source.found("", 0, &error)])?;
    let starts: HashMap<&str, usize> = policies
        .iter()
        .map(|compiled| (compiled.rule.0.as_ref(), compiled.start))
        .collect();
    let start = |id: &PolicyId| {
        let id: &str = id.as_ref();
        starts.get(id).copied().unwrap_or_default()
    };
    let result = model.validator.validate(&set, ValidationMode::Strict);
    let mut findings: Vec<Diagnostic> = Vec::new();
    let mut refused = HashSet::new();
    for error in result.validation_errors() {
        let id = error.policy_id();
        refused.insert(id);
        findings.push(source.found(id.as_ref(), start(id), error));
    }
    for warning in result.validation_warnings() {
        let id = warning.policy_id();
        let found = source.found(id.as_ref(), start(id), warning);
        if !refuses(warning) {
            findings.push(found.warning());
        } else if refused.insert(id) {
            // A policy with an error often can never apply either: one cause, one finding.
            findings.push(found);
        }
    }
    Ok(findings)
}

/// Cedar only warns of these. A policy that can never apply is a mistake that would show on the first request,
/// or never (a `forbid` that forbids nothing); text that reads other than it runs is no text to decide by.
fn refuses(warning: &ValidationWarning) -> bool {
    matches!(
        warning,
        ValidationWarning::ImpossiblePolicy(_)
            | ValidationWarning::InvalidActionApplication(_)
            | ValidationWarning::BidiCharsInString(_)
            | ValidationWarning::BidiCharsInIdentifier(_)
    )
}
