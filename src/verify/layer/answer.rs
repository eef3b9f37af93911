//! How a "no" is said: by RFC 6750 section 3 over HTTP, with a status over gRPC.

use super::Settings;
use crate::verify::error::VerifyError;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tonic::{Code, Status};

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It brings no bearer token at all.
    Nothing,
    /// It brings one in a way that it must not be brought.
    Request,
    /// The token is not accepted.
    Token(VerifyError),
    /// The token is good, and says too little.
    Scope,
}

/// When to come again after a moment in which nothing could be known.
const RETRY_SECONDS: &str = "5";

impl Refusal {
    pub(super) fn answer<R: Default>(self, asked: &HeaderMap, settings: &Settings) -> Response<R> {
        let challenge = self.challenge(settings);
        let mut response = if is_grpc(asked) {
            Status::new(self.code(), self.words()).into_http()
        } else {
            let mut response = Response::new(R::default());
            *response.status_mut() = self.status();
            if self.is_outage() {
                let retry = HeaderValue::from_static(RETRY_SECONDS);
                response.headers_mut().insert(RETRY_AFTER, retry);
            }
            response
        };
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn is_outage(self) -> bool {
        matches!(self, Self::Token(error) if error.is_outage())
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Request => StatusCode::BAD_REQUEST,
            Self::Scope => StatusCode::FORBIDDEN,
            Self::Token(_) if self.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Nothing | Self::Token(_) => StatusCode::UNAUTHORIZED,
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Scope => Code::PermissionDenied,
            Self::Token(_) if self.is_outage() => Code::Unavailable,
            Self::Nothing | Self::Request | Self::Token(_) => Code::Unauthenticated,
        }
    }

    /// For whoever brought the token. Which marker revokes it is for those who administer markers.
    fn words(self) -> String {
        match self {
            Self::Nothing => "no bearer token".to_owned(),
            Self::Request => "not one bearer token".to_owned(),
            Self::Token(VerifyError::Revoked { .. }) => "the token is revoked".to_owned(),
            Self::Token(error) => error.to_string(),
            Self::Scope => "the token lacks a scope".to_owned(),
        }
    }

    fn error(self) -> Option<&'static str> {
        match self {
            // RFC 6750 section 3.1: who brought nothing is told nothing but how to.
            Self::Nothing => None,
            Self::Request => Some("invalid_request"),
            Self::Token(_) => Some("invalid_token"),
            Self::Scope => Some("insufficient_scope"),
        }
    }

    /// `WWW-Authenticate`; none where a token would not help.
    fn challenge(self, settings: &Settings) -> Option<HeaderValue> {
        if self.is_outage() {
            return None;
        }
        let realm = quoted(settings.guard.audience().as_str());
        let mut text = format!("Bearer realm=\"{realm}\"");
        if let Some(error) = self.error() {
            let words = quoted(&self.words());
            text = format!("{text}, error=\"{error}\", error_description=\"{words}\"");
        }
        if self == Self::Scope {
            text = format!("{text}, scope=\"{}\"", settings.scopes);
        }
        HeaderValue::try_from(text).ok()
    }
}

/// What may stand between quotes there (RFC 6750 section 3: visible ASCII and spaces, no quote, no backslash).
fn quoted(text: &str) -> String {
    let may = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    text.chars().filter(may).collect()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    let rest = kind.and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
