//! What every request gets and is held to, whichever protocol it comes by.

use super::settings::ConnectionLimits;
use crate::authn::Peer;
use crate::limits;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::IntoResponse;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Limited;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::ServiceExt;

/// How busy a connection is.
#[derive(Debug, Default)]
pub(super) struct Activity {
    started: AtomicU64,
    in_flight: AtomicUsize,
}

impl Activity {
    /// Requests so far.
    pub(super) fn started(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    /// Requests whose answers have not left yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Whether nothing is in flight, and nothing began since `started` was read.
    pub(super) fn quiet_since(&self, started: u64) -> bool {
        self.in_flight() == 0 && self.started() == started
    }

    fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.started.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }
}

/// One request, until the last byte of its answer has left or nobody wants it any more.
#[derive(Debug)]
struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The router of one connection.
#[derive(Debug)]
pub(super) struct Requests {
    router: axum::Router,
    peer: Arc<Peer>,
    timeout: Duration,
    patient: Arc<[String]>,
    activity: Arc<Activity>,
}

impl Requests {
    pub(super) fn new(
        router: axum::Router,
        peer: Arc<Peer>,
        limits: &ConnectionLimits,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            router,
            peer,
            timeout: limits.request,
            patient: Arc::clone(&limits.patient),
            activity,
        }
    }

    /// The longest that a request for `path` may take.
    fn most(&self, path: &str) -> Duration {
        let patient = self.patient.iter().any(|start| path.starts_with(start));
        if patient {
            limits::ADMIN_CALL
        } else {
            self.timeout
        }
    }
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = self.activity.begin();
        request.extensions_mut().insert(Arc::clone(&self.peer));
        let grpc = is_grpc(request.headers());
        let most = self.most(request.uri().path());
        let timeout = grpc_timeout(request.headers())
            .filter(|_| grpc)
            .map_or(most, |asked| asked.min(most));
        let router = self.router.clone();
        Box::pin(async move {
            let answer = match bounded(request, grpc) {
                Ok(request) => tokio::time::timeout(timeout, router.oneshot(request))
                    .await
                    .map_or_else(|_| too_late(grpc), |Ok(answer)| answer),
                Err(status) => status.into_response(),
            };
            Ok(answer.map(|body| Answer { body, in_flight }))
        })
    }
}

/// Holds bodies to their bound. gRPC has one a message instead, which its codec keeps.
fn bounded(request: Request<Incoming>, grpc: bool) -> Result<Request<Body>, StatusCode> {
    if grpc {
        return Ok(request.map(Body::new));
    }
    if request.body().size_hint().lower() > limits::BODY as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(request.map(|body| Body::new(Limited::new(body, limits::BODY))))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn too_late(grpc: bool) -> Response<Body> {
    if grpc {
        tonic::Status::deadline_exceeded("the call's time is over").into_http()
    } else {
        StatusCode::REQUEST_TIMEOUT.into_response()
    }
}

/// The caller's deadline: up to eight digits and a unit (gRPC over HTTP/2, "Timeout"). What does not parse
/// asks for nothing.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// A body that counts as in flight until it is gone.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    #[expect(dead_code, reason = "held for its drop")]
    in_flight: InFlight,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timeout(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        grpc_timeout(&headers)
    }

    #[test]
    fn an_administrators_call_may_take_its_time() {
        let limits = ConnectionLimits {
            patient: ["/cambist.v1.Inventory/".to_owned()].into(),
            ..ConnectionLimits::default()
        };
        let (peer, activity) = (Arc::default(), Arc::default());
        let requests = Requests::new(axum::Router::new(), peer, &limits, activity);
        let most = |path| requests.most(path);
        assert_eq!(most("/cambist.v1.Inventory/Backup"), limits::ADMIN_CALL);
        for path in [
            "/cambist.v1.TokenExchange/Exchange",
            "/cambist.v1.InventoryX/",
            "/",
        ] {
            assert_eq!(most(path), limits::REQUEST, "{path}");
        }
    }

    #[test]
    fn each_unit_is_read_and_nothing_else() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(timeout("3M"), Some(Duration::from_secs(180)));
        assert_eq!(timeout("0S"), Some(Duration::ZERO));
        assert_eq!(
            timeout("99999999m"),
            Some(Duration::from_millis(99_999_999))
        );
        assert_eq!(timeout("5u"), Some(Duration::from_micros(5)));
        assert_eq!(timeout("7n"), Some(Duration::from_nanos(7)));
        for text in [
            "",
            "S",
            "1",
            "1s",
            "+1S",
            "-1S",
            "100000000S",
            "1.5S",
            "1 S",
        ] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~]{0,12}") {
            let _ = timeout(&text);
        }

        #[test]
        fn any_eight_digits_fit(value in 0_u64..100_000_000, unit in "[HMSmun]") {
            let read = timeout(&format!("{value}{unit}"));
            prop_assert!(read.is_some());
        }
    }
}
