//! How a token is brought; whole servers are in the integration tests.

use super::answer::Refusal;
use super::bearer::token;
use http::HeaderMap;
use http::header::AUTHORIZATION;

fn with(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, value.parse().unwrap());
    }
    headers
}

#[test]
fn one_bearer_token_is_found() {
    for value in [
        "Bearer a.b.c",
        "bearer a.b.c",
        "BEARER  a.b.c",
        "bEaReR a.b.c ",
    ] {
        assert_eq!(token(&with(&[value])), Ok("a.b.c"), "{value}");
    }
}

#[test]
fn none_or_more_than_one_is_not() {
    assert_eq!(token(&with(&[])), Err(Refusal::Nothing));
    for value in ["Basic YTpi", "", "Bearera.b.c", "DPoP a.b.c"] {
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
        assert_eq!(token(&with(values)), Err(Refusal::Request), "{values:?}");
    }
}
