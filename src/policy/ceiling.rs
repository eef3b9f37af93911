//! Ceilings: what bounds a grant before any policy is asked. They only narrow.

use super::grant::Binding;
use super::input::Input;
use crate::authn::Reach;
use crate::id::{Audience, Scope, ScopeSet};
use crate::limits;
use crate::refusal::{Code, Refusal};
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Lifetimes that hold for every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where nobody asks for another.
    pub default_lifetime: Duration,
    /// What nothing exceeds.
    pub max_lifetime: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_lifetime: limits::DEFAULT_LIFETIME,
            max_lifetime: limits::MAX_LIFETIME,
        }
    }
}

/// What is left of an ask below every ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Narrowed {
    pub(super) scopes: ScopeSet,
    /// In seconds; at least 1.
    pub(super) lifetime: u64,
    /// Whether the token will be bound: always when the caller proved a key.
    pub(super) bound: bool,
    pub(super) exchange: Reach<Arc<[Audience]>>,
}

/// A ceiling that stops a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stopped {
    /// The ceiling's name among the rules of a record.
    pub(super) rule: &'static str,
    pub(super) refusal: Refusal,
}

fn stop(rule: &'static str, code: Code, detail: String) -> Stopped {
    Stopped {
        rule,
        refusal: Refusal::new(code, detail),
    }
}

/// Applies every ceiling.
pub(super) fn narrow(input: &Input) -> Result<Narrowed, Stopped> {
    check_audience(input)?;
    check_tenant(input)?;
    let narrowed = Narrowed {
        scopes: scopes(input)?,
        lifetime: lifetime(input)?,
        bound: input.context.proves_key,
        exchange: within(&input.ceilings.exchange, &input.ceilings.audiences),
    };
    check_binding(input)?;
    Ok(narrowed)
}

fn check_audience(input: &Input) -> Result<(), Stopped> {
    let name = &input.audience.name;
    let covers = |reach: &Reach<Arc<[Audience]>>| match reach {
        Reach::Listed(audiences) => audiences.contains(name),
        Reach::Policy => true,
    };
    let code = Code::AudienceNotAllowed;
    if !covers(&input.ceilings.audiences) {
        let detail = format!("`{name}` is not among the credential's audiences");
        return Err(stop("ceiling:audience", code, detail));
    }
    if !covers(&input.ceilings.exchange) {
        let detail = format!("`{name}` is not within the exchange ceiling of the token's ancestry");
        return Err(stop("ceiling:exchange", code, detail));
    }
    Ok(())
}

/// An audience with a tenant is for that tenant alone; one without is shared by all.
fn check_tenant(input: &Input) -> Result<(), Stopped> {
    let (theirs, ours) = (&input.principal.tenant, &input.audience.tenant);
    if ours.is_none() || theirs == ours {
        return Ok(());
    }
    let detail = format!("`{}` belongs to another tenant", input.audience.name);
    Err(stop("ceiling:tenant", Code::AudienceNotAllowed, detail))
}

/// Scopes that are asked for are granted whole or refused: dropping one silently would hand out a token that
/// fails later, somewhere else.
fn scopes(input: &Input) -> Result<ScopeSet, Stopped> {
    let vocabulary = &input.audience.scopes;
    let reach = &input.ceilings.scopes;
    let Some(asked) = &input.ask.scopes else {
        return Ok(match reach {
            Reach::Listed(listed) => listed.intersection(vocabulary),
            Reach::Policy => ScopeSet::default(),
        });
    };
    let refused = |scope: &Scope, why: &str| {
        let detail = format!("`{scope}` is not {why}");
        Err(stop("ceiling:scope", Code::ScopeNotAllowed, detail))
    };
    for scope in asked {
        if !vocabulary.contains(scope) {
            return refused(scope, "a scope of this audience");
        }
        if let Reach::Listed(listed) = reach
            && !listed.contains(scope)
        {
            return refused(scope, "within the credential's scopes");
        }
    }
    Ok(asked.clone())
}

fn lifetime(input: &Input) -> Result<u64, Stopped> {
    let ceilings = &input.ceilings;
    let asked = input.ask.lifetime.unwrap_or(ceilings.default_lifetime);
    let ours = input.audience.max_lifetime.unwrap_or(u64::MAX);
    match asked.min(ceilings.max_lifetime).min(ours) {
        0 => {
            let detail = "less than a second is asked, or allowed".to_owned();
            Err(stop("ceiling:lifetime", Code::LifetimeExhausted, detail))
        }
        lifetime => Ok(lifetime),
    }
}

fn check_binding(input: &Input) -> Result<(), Stopped> {
    let why = if input.ceilings.must_bind {
        "what the token is made from is bound"
    } else if input.audience.bound {
        "the audience demands it"
    } else if input.ask.binding == Binding::Required {
        "the caller asked for it"
    } else {
        return Ok(());
    };
    if input.context.proves_key {
        return Ok(());
    }
    let detail = format!("no key was proved, and {why}");
    Err(stop("ceiling:binding", Code::BindingRequired, detail))
}

/// What lies within both.
pub(super) fn within(
    a: &Reach<Arc<[Audience]>>,
    b: &Reach<Arc<[Audience]>>,
) -> Reach<Arc<[Audience]>> {
    match (a, b) {
        (Reach::Policy, other) | (other, Reach::Policy) => other.clone(),
        // The usual case: a key's tokens carry the key's own list.
        (Reach::Listed(a), Reach::Listed(b)) if Arc::ptr_eq(a, b) || a == b => {
            Reach::Listed(Arc::clone(a))
        }
        (Reach::Listed(a), Reach::Listed(b)) => {
            Reach::Listed(a.iter().filter(|name| b.contains(name)).cloned().collect())
        }
    }
}
