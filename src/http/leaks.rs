//! Reports of leaked keys, in the manner of GitHub's secret-scanning partner programme: [`crate::leak`].
//!
//! Under the issuer's path, `POST /leaks`. There only where reporters are configured.
//!
//! | answer | when |
//! |---|---|
//! | 200, and what became of each finding | the report is a reporter's, and every finding was dealt with |
//! | 400 | it is a reporter's, and no report |
//! | 401 | it is not signed, not by a key that a reporter has published, or not over these bytes |
//! | 413 | the body or the number of findings is over its bound |
//! | 429, and `Retry-After` | too much that was not signed came from there, or from so many places that they are not told apart, and this is not signed by a key that is known already |
//! | 503, and `Retry-After` | not now: send it again then |
//!
//! But for the first and the last, and for findings of a report that can be read where others cannot, nothing is done.
//!
//! Every finding of a report is dealt with, whatever becomes of the others. Where nothing can be written, a key that was
//! found is revoked all the same, and that is answered with 503 and "applied, not durable": whoever gets 2xx does not send a
//! report again, and a broker that ends before it could write would have forgotten it. The record of it, and what its owner is
//! told, follow once it is written; a report that comes again by then is answered with 200.

use super::{context, path_of};
use crate::administration::{Author, Leaked, Precondition, Sighting, Who, Writing};
use crate::authn::Peer;
use crate::exchange::Exchange;
use crate::leak::{
    Alert, Desk, Feedback, InvalidReport, Label, Reporters, Signed, Strangers, Unproven,
};
use crate::limits;
use crate::refusal::{Code, Refusal};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::LengthLimitError;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Which of the reporter's keys signed.
const KEY: &str = "github-public-key-identifier";
/// The signature over the body: base64 of DER.
const SIGNATURE: &str = "github-public-key-signature";

/// What reports are taken with.
#[derive(Clone, Debug)]
pub struct LeakFace {
    exchange: Arc<Exchange>,
    desk: Arc<Desk>,
    reporters: Arc<Reporters>,
    strangers: Arc<Strangers>,
    /// How many reports may be worked on at a time.
    places: Arc<Semaphore>,
}

impl LeakFace {
    /// What a broker takes them with.
    #[must_use]
    pub fn new(exchange: Arc<Exchange>, desk: Arc<Desk>, reporters: Reporters) -> Self {
        let clock = Arc::clone(exchange.guard.clock());
        Self {
            exchange,
            desk,
            reporters: Arc::new(reporters),
            strangers: Arc::new(Strangers::new(clock)),
            places: places(),
        }
    }

    /// The route, for an issuer that is an https URL with or without a path.
    pub fn router(self, issuer: &str) -> Router {
        Router::new()
            .without_v07_checks()
            .route(&format!("{}/leaks", path_of(issuer)), post(leaks))
            .with_state(self)
    }

    /// Does what a report asks for, once it is known whose it is.
    async fn take(
        &self,
        peer: &Arc<Peer>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Vec<Feedback>, No> {
        let admitted = self.strangers.admit(peer.address);
        // Too many came from there that nobody signed. One that somebody signed is none of them.
        let unsigned = || match admitted {
            Some(_) => No::Unsigned,
            None => No::TooMany,
        };
        let key = only(headers, KEY).ok_or_else(unsigned)?;
        let signature = only(headers, SIGNATURE).ok_or_else(unsigned)?;
        let signature = STANDARD.decode(signature).map_err(|_| unsigned())?;
        let body = whole(body).await?;
        let place = place(&self.places).await?;
        let signed = Signed {
            key,
            signature: &signature,
            body: &body,
        };
        let reporter = match admitted {
            Some(admitted) => {
                let reporter = self.reporters.signer(signed).await;
                let reporter = reporter.map_err(No::Unproven)?;
                self.strangers.proven(admitted);
                reporter
            }
            // Nobody is asked for keys on behalf of those.
            None => self.reporters.known(signed).ok_or(No::TooMany)?,
        };
        let author = Author {
            who: Who::Reporter(reporter),
            context: context(Arc::clone(peer)),
        };
        let (alerts, unread) = Alert::read(&body).map_err(No::Invalid)?;
        let desk = Arc::clone(&self.desk);
        // Whoever reports keys does not keep them by going away.
        let work = async move {
            let _place = place;
            revoke(&desk, &alerts, &author).await
        };
        let worked = self.exchange.tasks.spawn(work).await;
        let told = worked.map_err(|_| No::Failed)??;
        match unread {
            0 => Ok(told),
            _ => Err(No::Invalid(InvalidReport::Malformed)),
        }
    }

    /// Puts it on the record that somebody came who is no reporter.
    fn refused(&self, why: &No, peer: Arc<Peer>) {
        let (code, detail) = match why {
            No::Unsigned => (Code::NotAuthorised, "a report of leaks is not signed"),
            No::Unproven(Unproven::UnknownKey) => {
                (Code::NotAuthorised, "no reporter of leaks has such a key")
            }
            No::Unproven(Unproven::WrongSignature) => (
                Code::NotAuthorised,
                "the signature of a report of leaks is wrong",
            ),
            No::TooMany => (
                Code::TooBusy,
                "too many reports of leaks that nobody signed",
            ),
            No::Busy => return self.exchange.turned_away(Code::TooBusy, &context(peer)),
            _ => return,
        };
        let refusal = Refusal::new(code, detail);
        self.exchange.refused(&refusal, &context(peer));
    }
}

/// Hands in what was found, one after the other. One that cannot be dealt with keeps no other.
async fn revoke(desk: &Desk, alerts: &[Alert], author: &Author) -> Result<Vec<Feedback>, No> {
    let (mut told, mut left, mut writing) = (Vec::new(), None, Writing::First);
    for alert in alerts {
        let sighting = Sighting {
            url: alert.url.clone(),
            source: alert.source.clone(),
            reason: String::new(),
        };
        let on = Precondition::default();
        let leaked = desk.report(&alert.token, &sighting, author, &on, writing);
        let label = match leaked.await {
            Ok(Leaked::Revoked(_, at)) => {
                if at.is_none() {
                    left.get_or_insert(No::NotDurable);
                    // The rest is in force at once, however long a write takes to fail.
                    writing = Writing::Later;
                }
                Label::TruePositive
            }
            Ok(Leaked::Before(_)) => Label::TruePositive,
            Ok(Leaked::WrongSecret | Leaked::Unknown) => Label::FalsePositive,
            Err(_) => {
                left = Some(No::Failed);
                continue;
            }
        };
        told.push(Feedback::new(alert, label));
    }
    left.map_or(Ok(told), Err)
}

async fn leaks(
    State(face): State<LeakFace>,
    Extension(peer): Extension<Arc<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Vec<Feedback>>, No> {
    let told = face.take(&peer, &headers, body).await;
    told.map(Json).inspect_err(|why| face.refused(why, peer))
}

fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits::LEAK_REPORTS))
}

/// A place among those that are worked on, or word that there is none for now.
async fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, No> {
    let place = timeout(limits::LEAK_WAIT, Arc::clone(places).acquire_owned()).await;
    place.ok().and_then(Result::ok).ok_or(No::Busy)
}

/// A header that is there once: of two, nobody could say which one was meant.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The body as it came. The listener's bound is not relied on: it leaves to gRPC what calls itself so.
async fn whole(body: Body) -> Result<Bytes, No> {
    to_bytes(body, limits::LEAK_REPORT).await.map_err(|error| {
        let first: &dyn Error = &error;
        let mut causes = std::iter::successors(Some(first), |&error| error.source());
        match causes.any(|error| error.is::<LengthLimitError>()) {
            true => No::TooLarge,
            false => No::Broken,
        }
    })
}

/// Why a report is not taken.
#[derive(Debug)]
enum No {
    Unsigned,
    Unproven(Unproven),
    Invalid(InvalidReport),
    TooLarge,
    /// The connection, or the sender, ended before the body did.
    Broken,
    TooMany,
    Busy,
    /// On our side; the desk has told why.
    Failed,
    /// Every key that was found is revoked, and for one at least that is not written.
    NotDurable,
}

impl No {
    /// When it may be otherwise.
    fn again(&self) -> Option<Duration> {
        match self {
            Self::Unproven(Unproven::KeysUnavailable(again)) => Some(*again),
            Self::Busy | Self::Failed | Self::NotDurable => Some(limits::LEAK_RETRY),
            Self::TooMany => Some(limits::LEAK_WINDOW),
            _ => None,
        }
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, word) = match &self {
            Self::Unsigned => (
                StatusCode::UNAUTHORIZED,
                "the report is not signed: a key's identifier and a signature in base64 go in headers".to_owned(),
            ),
            Self::Unproven(why @ Unproven::KeysUnavailable(_)) => (unavailable, why.to_string()),
            Self::Unproven(why) => (StatusCode::UNAUTHORIZED, why.to_string()),
            Self::Invalid(InvalidReport::TooMany) => (StatusCode::PAYLOAD_TOO_LARGE, InvalidReport::TooMany.to_string()),
            Self::Invalid(why) => (StatusCode::BAD_REQUEST, why.to_string()),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the report is longer than {} bytes", limits::LEAK_REPORT),
            ),
            Self::Broken => (StatusCode::BAD_REQUEST, "the report broke off".to_owned()),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, Code::TooBusy.text().to_owned()),
            Self::Busy => (unavailable, Code::TooBusy.text().to_owned()),
            Self::Failed => (
                unavailable,
                "not every finding could be dealt with: report them again".to_owned(),
            ),
            Self::NotDurable => (
                unavailable,
                "applied, not durable: the keys are revoked, and that is not written yet: report them again".to_owned(),
            ),
        };
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        // In whole seconds, and none too early.
        let again = self.again().map(|again| {
            let seconds = again
                .saturating_add(Duration::from_nanos(999_999_999))
                .as_secs();
            [(header::RETRY_AFTER, seconds.max(1).to_string())]
        });
        match again {
            Some(again) => (status, headers, again, format!("{word}\n")).into_response(),
            None => (status, headers, format!("{word}\n")).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_reports_are_worked_on_at_a_time_and_the_next_one_waits_so_long() {
        let places = places();
        let mut held = Vec::new();
        for _ in 0..limits::LEAK_REPORTS {
            held.push(place(&places).await.unwrap());
        }
        let before = tokio::time::Instant::now();
        assert!(matches!(place(&places).await, Err(No::Busy)));
        assert_eq!(before.elapsed(), limits::LEAK_WAIT);
        held.pop();
        assert!(place(&places).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_bound_and_no_further() {
        let most = Body::from(vec![b' '; limits::LEAK_REPORT]);
        assert_eq!(whole(most).await.unwrap().len(), limits::LEAK_REPORT);
        let more = Body::from(vec![b' '; limits::LEAK_REPORT + 1]);
        assert!(matches!(whole(more).await, Err(No::TooLarge)));
    }

    #[test]
    fn what_is_not_now_says_when_and_nothing_else_does() {
        let again = |no: No| {
            let answer = no.into_response();
            let again = answer.headers().get(header::RETRY_AFTER);
            let again = again.map(|again| again.to_str().unwrap().to_owned());
            assert_eq!(
                matches!(answer.status().as_u16(), 429 | 503),
                again.is_some()
            );
            again
        };
        let unproven = |again| No::Unproven(Unproven::KeysUnavailable(again));
        for (wait, seconds) in [
            (0, "1"),
            (1, "1"),
            (1_000, "1"),
            (1_001, "2"),
            (300_000, "300"),
        ] {
            let wait = Duration::from_millis(wait);
            assert_eq!(again(unproven(wait)).as_deref(), Some(seconds), "{wait:?}");
        }
        let retry = limits::LEAK_RETRY.as_secs().to_string();
        for no in [No::Busy, No::Failed, No::NotDurable] {
            assert_eq!(again(no).as_deref(), Some(&*retry));
        }
        let window = limits::LEAK_WINDOW.as_secs().to_string();
        assert_eq!(again(No::TooMany).as_deref(), Some(&*window));
        for no in [
            No::Unsigned,
            No::Unproven(Unproven::UnknownKey),
            No::Invalid(InvalidReport::TooMany),
            No::TooLarge,
            No::Broken,
        ] {
            assert_eq!(again(no), None);
        }
    }

    #[test]
    fn a_header_that_is_there_twice_says_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(only(&headers, KEY), None);
        headers.append("Github-Public-Key-Identifier", "a".parse().unwrap());
        assert_eq!(only(&headers, KEY), Some("a"));
        headers.append("GITHUB-PUBLIC-KEY-IDENTIFIER", "a".parse().unwrap());
        assert_eq!(only(&headers, KEY), None);
    }
}
