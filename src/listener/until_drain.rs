//! Conversations that would go on for as long as their callers like, and hold up a drain meanwhile.

use axum::body::{Bytes, HttpBody};
use http::Request;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;

/// A request body that ends with the drain, as if its caller had nothing more to say.
#[derive(Debug)]
struct UntilDrain {
    body: Body,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// The same request, whose body ends when `drain` is cancelled: what was asked is answered, and the call is over.
pub fn until_drain(request: Request<Body>, drain: &CancellationToken) -> Request<Body> {
    let drain = Box::pin(drain.clone().cancelled_owned());
    request.map(|body| Body::new(UntilDrain { body, drain }))
}

impl HttpBody for UntilDrain {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.drain.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
