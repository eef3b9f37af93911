//! Where what a reader's thread finds goes out.

use crate::limits;
use crate::refusal::{Code, Denial, Fault, Refusal};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{self, OwnedPermit, Sender};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(super) type Stream<T> = ReceiverStream<Result<T, Status>>;

/// The sending end of an answer: a few items wait for a caller who reads slowly, and whoever writes waits with them. One
/// who does not read at all is told so, whenever it reads again, and holds nobody's place for longer.
#[derive(Debug)]
pub(super) struct Outlet<T> {
    items: Sender<Result<T, Status>>,
    /// Kept free for a last word, however full it is.
    last: OwnedPermit<Result<T, Status>>,
    runtime: Handle,
    patience: Duration,
    /// When nothing is left waiting any more.
    until: Option<Instant>,
    stop: CancellationToken,
}

/// How long a caller may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For an item.
    pub(super) item: Duration,
    /// For all of them.
    pub(super) all: Duration,
}

/// Why nothing more goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The caller has left.
    Gone,
    /// It does not read.
    Slow,
    /// The broker would like to stop.
    Stopped,
}

impl<T: Send + 'static> Outlet<T> {
    /// An outlet whose caller may leave items unread for as long as `patience` says, and nothing unread after `stop`.
    pub(super) fn new(
        patience: Patience,
        stop: CancellationToken,
    ) -> Result<(Self, Stream<T>), Denial> {
        let (items, stream) = mpsc::channel(limits::UNREAD_RECORDS.saturating_add(1));
        let last = items.clone().try_reserve_owned();
        let last = last.map_err(|error| Denial::failed(Fault::Internal, error.to_string()))?;
        let runtime = Handle::current();
        let outlet = Self {
            items,
            last,
            runtime,
            patience: patience.item,
            until: Instant::now().checked_add(patience.all),
            stop,
        };
        Ok((outlet, ReceiverStream::new(stream)))
    }

    /// Sends an item, from a thread that may block.
    pub(super) fn put(&self, item: T) -> Result<(), Closed> {
        let left = self.until.map(|until| until.duration_since(Instant::now()));
        let patience = left.map_or(self.patience, |left| left.min(self.patience));
        // Where there is room it goes out, however late.
        let sent = self.items.send_timeout(Ok(item), patience);
        let sent = self.stop.run_until_cancelled(sent);
        match self.runtime.block_on(sent) {
            Some(Ok(())) => Ok(()),
            Some(Err(SendTimeoutError::Closed(_))) => Err(Closed::Gone),
            Some(Err(SendTimeoutError::Timeout(_))) => Err(Closed::Slow),
            None => Err(Closed::Stopped),
        }
    }

    /// Sends an item for which there is room.
    pub(super) fn try_put(&self, item: T) -> Result<(), Closed> {
        self.items.try_send(Ok(item)).map_err(|_| Closed::Gone)
    }

    /// Sends all of `items`, from a thread that may block, and ends.
    pub(super) fn put_all(self, mut items: impl Iterator<Item = T>) {
        if items.try_for_each(|item| self.put(item)) == Err(Closed::Slow) {
            self.end(too_slow());
        }
    }

    /// Says why there is nothing more.
    pub(super) fn end(self, status: Status) {
        self.last.send(Err(status));
    }

    /// What tells whether there is somebody to read for.
    pub(super) fn is_wanted(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (items, stop) = (self.items.clone(), self.stop.clone());
        move || !items.is_closed() && !stop.is_cancelled()
    }

    /// Ends when the caller has left.
    pub(super) async fn closed(&self) {
        self.items.closed().await;
    }
}

/// What a caller is told that does not read.
pub(super) fn too_slow() -> Status {
    Refusal::new(
        Code::TooBusy,
        "the caller does not read, or not fast enough",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt as _;
    use tonic::Code as Grpc;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Patience = Patience {
        item: Duration::from_millis(20),
        all: LONG,
    };

    /// Writes `count` numbers in a thread, as readers of the log do.
    fn written(outlet: Outlet<usize>, count: usize) -> tokio::task::JoinHandle<Result<(), Closed>> {
        tokio::task::spawn_blocking(move || (0..count).try_for_each(|n| outlet.put(n)))
    }

    #[tokio::test]
    async fn so_many_items_wait_for_a_slow_caller_and_not_one_more() {
        let end = |count| async move {
            let (outlet, stream) = Outlet::new(SHORT, CancellationToken::new()).unwrap();
            let done = written(outlet, count).await.unwrap();
            drop(stream);
            done
        };
        assert_eq!(end(limits::UNREAD_RECORDS).await, Ok(()));
        assert_eq!(end(limits::UNREAD_RECORDS + 1).await, Err(Closed::Slow));
    }

    #[tokio::test]
    async fn who_does_not_read_is_told_when_it_reads_again() {
        let (outlet, stream) = Outlet::new(SHORT, CancellationToken::new()).unwrap();
        let writing = tokio::task::spawn_blocking(move || outlet.put_all(0..));
        writing.await.unwrap();
        let all: Vec<_> = stream.collect().await;
        assert_eq!(all.len(), limits::UNREAD_RECORDS + 1);
        let (last, items) = all.split_last().unwrap();
        assert_eq!(last.as_ref().unwrap_err().code(), Grpc::ResourceExhausted);
        let items = items.iter().map(|item| *item.as_ref().unwrap());
        assert!(items.eq(0..limits::UNREAD_RECORDS));
    }

    #[tokio::test]
    async fn nobody_waits_for_an_item_when_the_time_for_all_is_over() {
        let over = Patience {
            item: LONG,
            all: Duration::ZERO,
        };
        let (outlet, mut stream) = Outlet::new(over, CancellationToken::new()).unwrap();
        let writing = tokio::task::spawn_blocking(move || {
            let room = (0..limits::UNREAD_RECORDS).try_for_each(|n| outlet.put(n));
            (room, outlet.put(limits::UNREAD_RECORDS), outlet)
        });
        let (room, beyond, outlet) = writing.await.unwrap();
        assert_eq!((room, beyond), (Ok(()), Err(Closed::Slow)));
        // Who keeps up is sent what there is.
        stream.next().await.unwrap().unwrap();
        let writing = tokio::task::spawn_blocking(move || outlet.put(0));
        assert_eq!(writing.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_caller_that_left_or_in_a_drain() {
        let long = Patience {
            item: LONG,
            all: Duration::MAX,
        };
        let (outlet, stream) = Outlet::new(long, CancellationToken::new()).unwrap();
        let is_wanted = outlet.is_wanted();
        let writing = written(outlet, usize::MAX);
        assert!(is_wanted());
        drop(stream);
        assert_eq!(writing.await.unwrap(), Err(Closed::Gone));
        assert!(!is_wanted());
        let stop = CancellationToken::new();
        let (outlet, _stream) = Outlet::new(long, stop.clone()).unwrap();
        let writing = written(outlet, usize::MAX);
        stop.cancel();
        assert_eq!(writing.await.unwrap(), Err(Closed::Stopped));
    }
}
