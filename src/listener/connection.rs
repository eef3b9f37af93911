//! Serving one connection: HTTP/2 and HTTP/1.1, and when it has to end.

use super::request::{Activity, Requests};
use super::settings::ConnectionLimits;
use super::shutdown::Shutdown;
use crate::authn::Peer;
use crate::limits;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How often an HTTP/2 peer is asked whether it is still there, and how long its answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// Serves plain HTTP on loopback listeners that are not the broker's faces: operations. Ends with
/// `shutdown.drain`.
pub async fn serve_plain(listener: TcpListener, router: axum::Router, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(limits::OPS_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (Ok((stream, address)), Ok(place)) =
            (accepted, Arc::clone(&places).try_acquire_owned())
        else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (router, stop) = (router.clone(), shutdown.clone());
        shutdown.tasks.spawn(async move {
            let peer = Arc::new(Peer {
                address: Some(address.ip().to_canonical()),
                ..Peer::default()
            });
            serve(stream, peer, router, &ConnectionLimits::default(), &stop).await;
            drop(place);
        });
    }
}

/// Serves `io` until it closes, is idle or too old, or the listener is told to stop.
pub(super) async fn serve<IO>(
    io: IO,
    peer: Arc<Peer>,
    router: axum::Router,
    limits: &ConnectionLimits,
    shutdown: &Shutdown,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let requests = Requests::new(router, peer, limits, Arc::clone(&activity));
    LastInLine {
        future: Box::pin(attend(
            io,
            requests,
            Arc::clone(&activity),
            limits,
            shutdown,
        )),
        activity,
        is_shared: false,
        waits: false,
    }
    .await;
}

/// A connection that, each time it is woken, first goes to the end of the line: what else is ready to run comes before it.
///
/// Every reply wakes its connection, and a runtime would run the connection next. In the end of the line it finds
/// the other replies that were ready too, and they leave in one TLS record and one system call. Where no other reply can
/// come it does not wait for one: a watcher's own connection sends what it was woken for while that is in the cache.
struct LastInLine<F> {
    future: Pin<Box<F>>,
    activity: Arc<Activity>,
    /// Whether there was more than one request when it last ran: only when it runs there come to be more.
    is_shared: bool,
    waits: bool,
}

impl<F: Future> Future for LastInLine<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.waits = self.is_shared && !self.waits;
        if self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.future.as_mut().poll(cx);
        self.is_shared = self.activity.in_flight() > 1;
        polled
    }
}

async fn attend<IO>(
    io: IO,
    requests: Requests,
    activity: Arc<Activity>,
    limits: &ConnectionLimits,
    shutdown: &Shutdown,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = protocols(limits, &shutdown.tasks);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), requests));
    // In a task of its own: here, its timers and tokens would be asked anew with all that comes and goes.
    let time_to_go = time_to_go(activity, limits, shutdown.clone());
    let time_to_go = AbortOnDropHandle::new(tokio::spawn(time_to_go));
    let grace = tokio::select! {
        biased;
        // First: it does not depend on how busy a peer keeps its connection.
        grace = time_to_go => grace.unwrap_or_default(),
        ended = connection.as_mut() => return log_end(ended),
    };
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        () = shutdown.hard.cancelled() => {}
        () = sleep(grace) => {}
        ended = connection => log_end(ended),
    }
}

/// Ends when a connection has to, and answers how long what is in flight may still take.
fn time_to_go(
    activity: Arc<Activity>,
    limits: &ConnectionLimits,
    shutdown: Shutdown,
) -> impl Future<Output = Duration> + use<> {
    let (age, idle, grace) = (limits.age, limits.idle, limits.grace);
    async move {
        let mut age = pin!(sleep(age));
        loop {
            let seen = activity.started();
            tokio::select! {
                () = shutdown.hard.cancelled() => return Duration::ZERO,
                // How long a drain may take is decided once, by who began it.
                () = shutdown.drain.cancelled() => return Duration::MAX,
                () = age.as_mut() => return grace,
                () = sleep(idle) => if activity.quiet_since(seen) {
                    return grace;
                },
            }
        }
    }
}

/// Peers break connections all day long; only who debugs wants to know.
fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}

fn protocols(bounds: &ConnectionLimits, tasks: &TaskTracker) -> Builder<Tracked> {
    let mut builder = Builder::new(Tracked(tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.request)
        .max_buf_size(limits::HEADERS as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(limits::HEADERS)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}

/// Runs each HTTP/2 request among the tasks that a shutdown waits for.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
