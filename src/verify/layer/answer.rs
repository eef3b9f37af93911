//! How a "no" is said: by RFC 6750 section 3 and RFC 9449 section 7.1 over HTTP, with a status over gRPC.

use super::Settings;
use super::credentials::Scheme;
use crate::verify::dpop::ALGORITHM_NAMES;
use crate::verify::error::VerifyError;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tonic::{Code, Status};

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It brings no token at all.
    Nothing,
    /// It brings one in a way that it must not be brought.
    Request(Scheme),
    /// The token is not accepted, or not with its proof.
    Token(Scheme, VerifyError),
    /// The token is good, and says too little.
    Scope(Scheme),
}

/// When to come again after a moment in which nothing could be known.
const RETRY_SECONDS: &str = "5";

impl Refusal {
    pub(super) fn answer<R: Default>(self, asked: &HeaderMap, settings: &Settings) -> Response<R> {
        let challenges = self.challenges(settings);
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
        for challenge in challenges {
            response.headers_mut().append(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn is_outage(self) -> bool {
        matches!(self, Self::Token(_, error) if error.is_outage())
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Scope(_) => StatusCode::FORBIDDEN,
            Self::Token(..) if self.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Nothing | Self::Token(..) => StatusCode::UNAUTHORIZED,
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Scope(_) => Code::PermissionDenied,
            Self::Token(..) if self.is_outage() => Code::Unavailable,
            Self::Nothing | Self::Request(_) | Self::Token(..) => Code::Unauthenticated,
        }
    }

    /// For whoever brought the token. Which marker revokes it is for those who administer markers.
    fn words(self) -> String {
        match self {
            Self::Nothing => "no token".to_owned(),
            Self::Request(_) => "not one token".to_owned(),
            Self::Token(_, VerifyError::Revoked { .. }) => "the token is revoked".to_owned(),
            Self::Token(_, error) => error.to_string(),
            Self::Scope(_) => "the token lacks a scope".to_owned(),
        }
    }

    fn error(self) -> Option<&'static str> {
        match self {
            // RFC 6750 section 3.1: who brought nothing is told nothing but how to.
            Self::Nothing => None,
            Self::Request(_) => Some("invalid_request"),
            Self::Token(_, VerifyError::Proof(_)) => Some("invalid_dpop_proof"),
            Self::Token(..) => Some("invalid_token"),
            Self::Scope(_) => Some("insufficient_scope"),
        }
    }

    /// `WWW-Authenticate`, the scheme that was used first; none where a token would not help.
    fn challenges(self, settings: &Settings) -> Vec<HeaderValue> {
        let schemes: &[Scheme] = match self {
            _ if self.is_outage() => &[],
            Self::Nothing => &Scheme::ALL,
            // The token may be one that a proof would do for (RFC 9449 section 7.2).
            Self::Token(Scheme::Bearer, VerifyError::Confirmation) => &Scheme::ALL,
            Self::Request(Scheme::Bearer)
            | Self::Token(Scheme::Bearer, _)
            | Self::Scope(Scheme::Bearer) => &[Scheme::Bearer],
            Self::Request(Scheme::Dpop)
            | Self::Token(Scheme::Dpop, _)
            | Self::Scope(Scheme::Dpop) => &[Scheme::Dpop],
        };
        let taken = Scheme::known(settings.guard.proofs().is_some());
        let known = schemes.iter().filter(|scheme| taken.contains(scheme));
        let used = schemes.first();
        let challenges = known.filter_map(|scheme| {
            let text = self.challenge(*scheme, used == Some(scheme), settings);
            HeaderValue::try_from(text).ok()
        });
        challenges.collect()
    }

    fn challenge(self, scheme: Scheme, is_used: bool, settings: &Settings) -> String {
        let realm = quoted(settings.guard.audience().as_str());
        let mut text = format!("{} realm=\"{realm}\"", scheme.name());
        if let Some(error) = self.error().filter(|_| is_used) {
            let words = quoted(&self.words());
            text = format!("{text}, error=\"{error}\", error_description=\"{words}\"");
        }
        if matches!(self, Self::Scope(_)) {
            text = format!("{text}, scope=\"{}\"", settings.scopes);
        }
        match scheme {
            Scheme::Bearer => text,
            Scheme::Dpop => format!("{text}, algs=\"{ALGORITHM_NAMES}\""),
        }
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
