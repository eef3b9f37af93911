//! How a token is brought; whole servers are in the integration tests.

use super::answer::Refusal;
use super::credentials::{self, Scheme};
use http::HeaderMap;
use http::header::AUTHORIZATION;

fn with(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, value.parse().unwrap());
    }
    headers
}

/// Where there are proofs.
fn token(headers: &HeaderMap) -> Result<(Scheme, &str), Refusal> {
    credentials::token(headers, Scheme::known(true))
}

#[test]
fn where_nothing_checks_proofs_there_is_no_such_scheme() {
    for value in ["DPoP a.b.c", "DPoP", "DPoP a b", "dpop a,b"] {
        let headers = with(&[value]);
        let found = credentials::token(&headers, Scheme::known(false));
        assert_eq!(found, Err(Refusal::Nothing), "{value}");
    }
    let headers = with(&["Bearer a.b.c"]);
    let found = credentials::token(&headers, Scheme::known(false));
    assert_eq!(found, Ok((Scheme::Bearer, "a.b.c")));
}

#[test]
fn one_token_is_found_with_its_scheme() {
    for value in [
        "Bearer a.b.c",
        "bearer a.b.c",
        "BEARER  a.b.c",
        "bEaReR a.b.c ",
    ] {
        let headers = with(&[value]);
        let found = token(&headers);
        assert_eq!(found, Ok((Scheme::Bearer, "a.b.c")), "{value}");
    }
    for value in ["DPoP a.b.c", "dpop a.b.c", "DPOP   a.b.c "] {
        let headers = with(&[value]);
        let found = token(&headers);
        assert_eq!(found, Ok((Scheme::Dpop, "a.b.c")), "{value}");
    }
}

#[test]
fn none_or_more_than_one_is_not() {
    assert_eq!(token(&with(&[])), Err(Refusal::Nothing));
    for value in ["Basic YTpi", "", "Bearera.b.c", "DPoPa.b.c"] {
        assert_eq!(token(&with(&[value])), Err(Refusal::Nothing), "{value}");
    }
    for values in [
        &["Bearer"][..],
        &["Bearer "],
        &["Bearer a b"],
        &["Bearer a, Bearer b"],
        &["Bearer a,b"],
        &["Bearer a", "Bearer a"],
        &["Bearer a", "Basic YTpi"],
    ] {
        let refused = Err(Refusal::Request(Scheme::Bearer));
        assert_eq!(token(&with(values)), refused, "{values:?}");
    }
    for values in [&["DPoP"][..], &["DPoP a b"], &["dpop a,b"]] {
        let refused = Err(Refusal::Request(Scheme::Dpop));
        assert_eq!(token(&with(values)), refused, "{values:?}");
    }
    let headers = with(&["DPoP a", "Bearer a"]);
    let two = token(&headers);
    assert_eq!(two, Err(Refusal::Request(Scheme::Bearer)));
}
