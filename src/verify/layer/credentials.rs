//! The token of a request (RFC 6750 section 2.1, RFC 9449 section 7.1).

use super::answer::Refusal;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// How a token is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// On its own, or from the connection that it is bound to.
    Bearer,
    /// With a proof of the key that it is bound to.
    Dpop,
}

impl Scheme {
    pub(super) const ALL: [Self; 2] = [Self::Bearer, Self::Dpop];

    /// Those that a server takes: a proof only where something checks it.
    pub(super) const fn known(has_proofs: bool) -> &'static [Self] {
        if has_proofs {
            &Self::ALL
        } else {
            &[Self::Bearer]
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// The one token that the headers hold, and its scheme. Any but these is one that nobody here ever heard of.
pub(super) fn token<'a>(
    headers: &'a HeaderMap,
    known: &[Scheme],
) -> Result<(Scheme, &'a str), Refusal> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = match (all.next(), all.next()) {
        (None, _) => return Err(Refusal::Nothing),
        (Some(value), None) => value,
        // Whoever is before us may have looked at the other one.
        (Some(_), Some(_)) => return Err(Refusal::Request(Scheme::Bearer)),
    };
    let text = value
        .to_str()
        .map_err(|_| Refusal::Request(Scheme::Bearer))?;
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut known = known.iter();
    let scheme = known.find(|scheme| name.eq_ignore_ascii_case(scheme.name()));
    let scheme = *scheme.ok_or(Refusal::Nothing)?;
    // RFC 9110 section 11.4: one or more spaces after the scheme.
    let token = rest.trim_matches(' ');
    if token.is_empty() || token.contains([' ', ',']) {
        return Err(Refusal::Request(scheme));
    }
    Ok((scheme, token))
}
