//! The token of a request (RFC 6750 section 2.1).

use super::answer::Refusal;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The one bearer token that the headers hold.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = match (all.next(), all.next()) {
        (None, _) => return Err(Refusal::Nothing),
        (Some(value), None) => value,
        // Whoever is before us may have looked at the other one.
        (Some(_), Some(_)) => return Err(Refusal::Request),
    };
    let text = value.to_str().map_err(|_| Refusal::Request)?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Refusal::Nothing);
    }
    // RFC 9110 section 11.4: one or more spaces after the scheme.
    let token = rest.trim_matches(' ');
    if token.is_empty() || token.contains([' ', ',']) {
        return Err(Refusal::Request);
    }
    Ok(token)
}
