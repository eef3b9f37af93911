//! `Revocation.Watch`.
//!
//! What is sent was encoded once for all who watch, so it goes out as it is: the body of the answer is made here, and takes the
//! place of the one that tonic makes, which would encode and keep each message anew for each caller. The feed itself wakes
//! it; there is no task and no timer for a watcher.

use super::RevocationService;
use crate::authn::Peer;
use crate::grpc::{Gate, peer};
use crate::proto as pb;
use crate::refusal::{Denial, Fault};
use crate::revocation::{View, Watcher};
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio_stream::wrappers::WatchStream as Changes;
use tokio_stream::{Empty, Stream as _};
use tonic::body::Body;
use tonic::{Request, Response, Status};

/// Nothing: [`watched`] puts the answer in its place.
pub(super) type WatchStream = Empty<Result<pb::WatchResponse, Status>>;

pub(super) fn open(
    service: &RevocationService,
    request: &Request<pb::WatchRequest>,
) -> Result<Response<WatchStream>, Status> {
    let peer = peer(request)?;
    // Before it is asked what the caller serves, so that no change of that goes unseen.
    let views = service.gate.exchange.audiences.views();
    let follower = service.gate.watcher(&peer)?;
    let view = follower.view().clone();
    let asked = request.get_ref();
    // A revision that we do not know is as good as none, and so is what was told of another view.
    let from = asked.from_revision.parse().ok();
    let from = from.filter(|_| asked.view == view.token());
    let answer = Answer {
        watcher: service.feed.watch(&follower.to_string(), &view, from)?,
        asked: None,
        views: Changes::from_changes(views),
        view,
        gate: service.gate.clone(),
        peer,
        is_over: false,
    };
    let mut response = Response::new(tokio_stream::empty());
    let handed = Handed(Arc::new(Mutex::new(Some(answer))));
    response.extensions_mut().insert(handed);
    Ok(response)
}

/// Puts the body of a watch into its answer; other answers stay as they are.
pub fn watched(mut response: http::Response<Body>) -> http::Response<Body> {
    let handed = response.extensions_mut().remove::<Handed>();
    let answer = handed.and_then(|handed| {
        let mut answer = handed.0.lock().unwrap_or_else(PoisonError::into_inner);
        answer.take()
    });
    match answer {
        Some(answer) => response.map(|_| Body::new(answer)),
        None => response,
    }
}

/// A body on its way to its answer. What goes with a response has to be a thing that can be cloned.
#[derive(Clone)]
struct Handed(Arc<Mutex<Option<Answer>>>);

/// The body of an answer.
struct Answer {
    watcher: Watcher,
    /// The heartbeat at which it was last asked whether the caller may, and what.
    asked: Option<u64>,
    /// Is told when somebody serves other tenants than before.
    views: Changes<()>,
    /// What it is told.
    view: View,
    gate: Gate,
    peer: Arc<Peer>,
    is_over: bool,
}

impl Answer {
    /// Asks anew whether the caller may, once a heartbeat, and whenever somebody serves other tenants than before: nothing
    /// says how fresh it is that does not tell of all that it serves. Answers whether what it is told is another now.
    fn may(&mut self, cx: &mut Context<'_>) -> Result<bool, Status> {
        let mut is_to_ask = false;
        // Until there is nothing new, so that it is woken by the next change.
        while let Poll::Ready(Some(())) = Pin::new(&mut self.views).poll_next(cx) {
            is_to_ask = true;
        }
        let beats = Some(self.watcher.beats());
        let asked = std::mem::replace(&mut self.asked, beats);
        // The first time it was asked when the call began.
        is_to_ask |= asked.is_some() && asked != beats;
        if !is_to_ask {
            return Ok(false);
        }
        let follower = self.gate.watcher(&self.peer)?;
        let is_another = self.view != *follower.view();
        if is_another {
            self.view = follower.view().clone();
            self.watcher.look(&self.view);
        }
        Ok(is_another)
    }

    fn end(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = loop {
            let polled = Pin::new(&mut self.watcher).poll_next(cx);
            match self.may(cx) {
                Ok(false) => break polled,
                // What came is of what it was told before.
                Ok(true) => {}
                Err(status) => return Poll::Ready(Some(self.end(&status))),
            }
        };
        Poll::Ready(Some(match ready!(polled) {
            Some(frame) => Ok(Frame::data(frame)),
            None => {
                let denial = Denial::failed(Fault::Draining, "the broker drains");
                self.end(&denial.into())
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.watcher.fmt(f)
    }
}
