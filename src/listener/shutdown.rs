//! How a listener is told to stop, and who waits for its connections.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The two steps of a shutdown, and the tasks that it waits for.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Stop accepting, let requests in flight end.
    pub drain: CancellationToken,
    /// Drop what is still there.
    pub hard: CancellationToken,
    /// Every connection and every request in flight runs in here.
    pub tasks: TaskTracker,
}
