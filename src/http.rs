//! The HTTP face: what a third party needs to verify our tokens, and that each of them is on the record; and where leaked
//! keys are reported.

mod leaks;
mod log;

pub use leaks::LeakFace;
pub use log::LogFace;

use crate::audit::Context;
use crate::authn::{Face, Peer};
use crate::keys::{KeyRing, authorization_server, jwks_uri, openid_configuration};
use crate::limits;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

/// Well-known name of the authorization server's metadata (RFC 8414 section 3).
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
/// Well-known name of the OpenID provider's configuration (OpenID Connect Discovery section 4).
const OPENID: &str = "/.well-known/openid-configuration";

#[derive(Clone, Debug)]
struct Published {
    issuer: Arc<str>,
    ring: Arc<KeyRing>,
}

/// The context that records of a call over HTTP get.
fn context(peer: Arc<Peer>) -> Context {
    Context {
        face: Face::Http,
        peer,
        ask: None,
        request: None,
    }
}

/// Routes of the metadata documents and of the key set, for an issuer that is an https URL with or without a
/// path. A change of keys is announced to caches ahead of its use, so the answers may be cached.
///
/// RFC 8414 puts the well-known name between host and path, OpenID after the path; clients do either
/// for both, so both are served.
pub fn router(issuer: &Arc<str>, ring: Arc<KeyRing>) -> Router {
    let path = path_of(issuer);
    let keys = jwks_uri(issuer);
    // What the path of an issuer holds is meant as it stands: `:` and `*` are letters like others.
    let mut router = Router::new()
        .without_v07_checks()
        .route(&format!("{AUTHORIZATION_SERVER}{path}"), get(server))
        .route(&format!("{path}{OPENID}"), get(openid))
        .route(path_of(&keys), get(jwks));
    if !path.is_empty() {
        router = router
            .route(&format!("{path}{AUTHORIZATION_SERVER}"), get(server))
            .route(&format!("{OPENID}{path}"), get(openid));
    }
    router.with_state(Published {
        issuer: Arc::clone(issuer),
        ring,
    })
}

/// A URL's path without a trailing slash; empty when there is none.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest
        .find('/')
        .and_then(|at| rest.get(at..))
        .unwrap_or_default();
    path.strip_suffix('/').unwrap_or(path)
}

/// Whatever is not served: a plain answer instead of gRPC's.
pub async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn server(State(published): State<Published>) -> Response {
    json(authorization_server(&published.issuer).to_string())
}

async fn openid(State(published): State<Published>) -> Response {
    let algorithms = &published.ring.view().algorithms;
    json(openid_configuration(&published.issuer, algorithms).to_string())
}

async fn jwks(State(published): State<Published>) -> Response {
    json(published.ring.view().jwks.to_string())
}

fn json(body: String) -> Response {
    let cache = format!("public, max-age={}", limits::JWKS_MAX_AGE.as_secs());
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CACHE_CONTROL, cache),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_is_served_as_it_stands_whatever_letters_it_has() {
        let ring = KeyRing::empty_for_test();
        for path in ["/:prod", "/*all", "/a/*b:c", "/~x"] {
            let issuer: Arc<str> = format!("https://h.example{path}").into();
            let router = router(&issuer, Arc::clone(&ring));
            let status = async |path: String| {
                let request = http::Request::get(path);
                let request = request.body(axum::body::Body::empty()).unwrap();
                let answer = tower::ServiceExt::oneshot(router.clone(), request).await;
                answer.unwrap().status()
            };
            assert_eq!(status(format!("{path}{OPENID}")).await, StatusCode::OK);
            let elsewhere = status(format!("/elsewhere{OPENID}")).await;
            assert_eq!(elsewhere, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn the_path_of_an_issuer_has_no_trailing_slash() {
        assert_eq!(path_of("https://broker.example.org"), "");
        assert_eq!(path_of("https://broker.example.org/"), "");
        assert_eq!(path_of("https://broker.example.org:8443/a/b/"), "/a/b");
    }
}
