//! Ceilings that a policy sets by annotation.

use super::diagnostic::{Diagnostic, Source};
use crate::id::Audience;
use crate::limits;
use cedar_policy::{Effect, Policy};
use jiff::SignedDuration;
use std::sync::Arc;
use std::time::Duration;

/// The annotations that a policy may carry.
const KNOWN: &str =
    "known annotations: @id, @description, @max_lifetime, @require_binding, @exchange_to";

/// What a `permit` demands of the tokens that it permits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demands {
    pub(super) max_lifetime: Option<Duration>,
    pub(super) require_binding: bool,
    pub(super) exchange_to: Option<Arc<[Audience]>>,
}

/// Where a policy is, for findings.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) source: Source<'a>,
    pub(super) name: &'a str,
    /// Offset of the policy in the document.
    pub(super) start: usize,
    /// The policy's own text.
    pub(super) text: &'a str,
}

impl Place<'_> {
    /// An error at the first occurrence of `needle` in the policy.
    pub(super) fn error(&self, needle: &str, message: impl Into<String>) -> Diagnostic {
        let at = self.start + self.text.find(needle).unwrap_or_default();
        self.source.error(self.name, at, message)
    }
}

/// Reads a policy's annotations; whatever is not understood is an error, because an annotation that is
/// misspelt would be a ceiling that does not hold.
pub(super) fn demands(policy: &Policy, place: Place<'_>) -> Result<Demands, Vec<Diagnostic>> {
    let mut demands = Demands::default();
    let mut errors = Vec::new();
    for (key, value) in policy.annotations() {
        if let Err((message, help)) = read(&mut demands, policy.effect(), key, value) {
            errors.push(place.error(&format!("@{key}"), message).help(Some(help)));
        }
    }
    if errors.is_empty() {
        Ok(demands)
    } else {
        Err(errors)
    }
}

fn read(
    demands: &mut Demands,
    effect: Effect,
    key: &str,
    value: &str,
) -> Result<(), (String, String)> {
    let malformed = |help: String| Err((format!("`@{key}(\"{value}\")` is not understood"), help));
    match key {
        // The name is taken before, with the document's other names at hand.
        "id" | "description" => return Ok(()),
        "max_lifetime" | "require_binding" | "exchange_to" => {}
        _ => return Err((format!("unknown annotation `@{key}`"), KNOWN.to_owned())),
    }
    if effect == Effect::Forbid {
        return Err((
            format!("`@{key}` has no meaning on a `forbid`"),
            "it limits what a `permit` permits".to_owned(),
        ));
    }
    match key {
        "max_lifetime" => match lifetime(value) {
            Some(lifetime) => demands.max_lifetime = Some(lifetime),
            None => {
                return malformed(
                    "write whole seconds or more, such as \"90s\", \"10m\" or \"1h\"".into(),
                );
            }
        },
        "require_binding" if value == "true" => demands.require_binding = true,
        "require_binding" => {
            return malformed(
                "write \"true\", or leave it out: no policy can lift what an audience demands"
                    .into(),
            );
        }
        _ => match audiences(value) {
            Some(audiences) => demands.exchange_to = Some(audiences),
            None => {
                return malformed(format!(
                    "write up to {} registered audience names separated by spaces; \"\" means none",
                    limits::KEY_AUDIENCES
                ));
            }
        },
    }
    Ok(())
}

fn lifetime(value: &str) -> Option<Duration> {
    let parsed: SignedDuration = value.parse().ok()?;
    let lifetime = Duration::try_from(parsed).ok()?;
    (lifetime.as_secs() > 0 && lifetime.subsec_nanos() == 0).then_some(lifetime)
}

fn audiences(value: &str) -> Option<Arc<[Audience]>> {
    let names = value.split(' ').filter(|name| !name.is_empty());
    let mut audiences: Vec<Audience> = names.map(Audience::parse).collect::<Result<_, _>>().ok()?;
    audiences.sort_unstable();
    audiences.dedup();
    (audiences.len() <= limits::KEY_AUDIENCES).then(|| audiences.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_whole_positive_seconds() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("PT10M", 600)] {
            assert_eq!(lifetime(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "0s",
            "-10m",
            "500ms",
            "1500ms",
            "1 fortnight",
            "ten",
        ] {
            assert_eq!(lifetime(text), None, "{text:?}");
        }
    }

    #[test]
    fn exchange_lists_are_bounded_at_n_and_n_plus_one() {
        let of = |n: usize| {
            let names: Vec<_> = (0..n).map(|i| format!("a{i}")).collect();
            audiences(&names.join(" "))
        };
        assert_eq!(
            of(limits::KEY_AUDIENCES).map(|list| list.len()),
            Some(limits::KEY_AUDIENCES)
        );
        assert_eq!(of(limits::KEY_AUDIENCES + 1), None);
        assert_eq!(audiences("").map(|list| list.len()), Some(0));
        assert_eq!(audiences("a\nb"), None);
    }
}
