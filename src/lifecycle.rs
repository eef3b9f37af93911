//! Start, reload, drain, stop: signals, tasks, and what systemd is told.
//!
//! A stop has an order. First `drain`: listeners stop accepting, requests in flight end. When the last has
//! ended, or the grace is over and `hard` cut it off, comes `quiet`: nothing asks any more, and background
//! tasks (the log's writer among them) finish what they hold. Then the process ends.

pub mod files;
mod signals;

pub use signals::{Signal, from_os};

use crate::limits;
use crate::listener::Shutdown;
use sd_notify::NotifyState;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Any error of a task or a reload: it is only printed.
pub type BoxError = Box<dyn Error + Send + Sync>;
/// A reload: reads something again and puts it in force, or leaves all as it was. May block.
pub type Reload = Arc<dyn Fn() -> Result<(), BoxError> + Send + Sync>;

/// The process, as its tasks see it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Default)]
struct Inner {
    shutdown: Shutdown,
    quiet: CancellationToken,
    background: TaskTracker,
    failure: OnceLock<String>,
    reloads: Mutex<Vec<(&'static str, Reload)>>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop.
    Stopped,
    /// Something died that should not have.
    Failed(String),
}

impl Lifecycle {
    /// A process that is starting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What listeners and request tasks need.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Cancelled when nothing asks any more: background tasks finish then.
    #[must_use]
    pub fn quiet(&self) -> &CancellationToken {
        &self.0.quiet
    }

    /// Runs a task without which the process makes no sense. If it fails, panics, or ends before a stop was
    /// asked for, the process drains and ends as failed.
    pub fn spawn<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let lifecycle = self.clone();
        // The inner task is what may panic; the outer one lives to tell.
        self.0.background.spawn(async move {
            match tokio::spawn(task).await {
                Ok(Ok(())) if lifecycle.0.shutdown.drain.is_cancelled() => {}
                Ok(Ok(())) => lifecycle.fail(format!("{name} ended by itself")),
                Ok(Err(error)) => lifecycle.fail(format!("{name}: {error}")),
                Err(panic) => lifecycle.fail(format!("{name}: {panic}")),
            }
        });
    }

    /// Ends the process as failed, by a drain. The first reason stays.
    pub fn fail(&self, reason: String) {
        tracing::error!(reason, "shutting down");
        let _earlier_reason_stays = self.0.failure.set(reason);
        self.0.shutdown.drain.cancel();
    }

    /// Asks for a stop, as SIGTERM does.
    pub fn stop(&self) {
        self.0.shutdown.drain.cancel();
    }

    /// Has `reload` called at each SIGHUP.
    pub fn on_reload(&self, what: &'static str, reload: Reload) {
        let mut reloads = self
            .0
            .reloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reloads.push((what, reload));
    }

    /// Tells systemd that the process is up, then serves signals until the end of the process: a first
    /// `Terminate` drains, a second one or the end of `grace` cuts off.
    pub async fn run(&self, mut signals: mpsc::Receiver<Signal>, grace: Duration) -> Ended {
        notify(&[NotifyState::Ready]);
        self.watchdog();
        self.until_stop(&mut signals).await;
        notify(&[NotifyState::Stopping]);
        tracing::info!(?grace, "draining");
        let Inner {
            shutdown,
            quiet,
            background,
            ..
        } = self.0.as_ref();
        shutdown.drain.cancel();
        shutdown.tasks.close();
        tokio::select! {
            () = shutdown.tasks.wait() => {}
            () = sleep(grace) => tracing::warn!("the grace is over; cutting off what is in flight"),
            () = terminate(&mut signals) => tracing::warn!("asked again; cutting off what is in flight"),
        }
        shutdown.hard.cancel();
        let _late = timeout(limits::CUT_OFF, shutdown.tasks.wait()).await;
        quiet.cancel();
        background.close();
        if timeout(limits::FINISH, background.wait()).await.is_err() {
            self.fail("background tasks did not finish".to_owned());
        }
        match self.0.failure.get() {
            None => Ended::Stopped,
            Some(reason) => Ended::Failed(reason.clone()),
        }
    }

    async fn until_stop(&self, signals: &mut mpsc::Receiver<Signal>) {
        let drain = &self.0.shutdown.drain;
        loop {
            let signal = tokio::select! {
                () = drain.cancelled() => return,
                signal = signals.recv() => signal,
            };
            match signal {
                Some(Signal::Terminate) => return,
                Some(Signal::Reload) => self.reload().await,
                None => return drain.cancelled().await,
            }
        }
    }

    async fn reload(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(since) => notify(&[NotifyState::Reloading, since]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
        let reloads = self.0.reloads.lock();
        let reloads = reloads.unwrap_or_else(PoisonError::into_inner).clone();
        for (what, reload) in reloads {
            // Whoever registered it has reported why; this only keeps a panic from passing unseen.
            let done = tokio::task::spawn_blocking(move || reload()).await;
            let ok = matches!(done, Ok(Ok(())));
            tracing::info!(what, ok, "reloaded on request");
        }
        notify(&[NotifyState::Ready]);
    }

    /// Answers systemd's watchdog from the runtime that serves requests: if it hangs, so does this.
    fn watchdog(&self) {
        let Some(period) = sd_notify::watchdog_enabled() else {
            return;
        };
        let quiet = self.0.quiet.clone();
        self.spawn("watchdog", async move {
            while timeout(period / 2, quiet.cancelled()).await.is_err() {
                notify(&[NotifyState::Watchdog]);
            }
            Ok::<_, BoxError>(())
        });
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("draining", &self.0.shutdown.drain.is_cancelled())
            .field("failure", &self.0.failure)
            .finish_non_exhaustive()
    }
}

impl From<Ended> for ExitCode {
    /// 0 for a stop, 1 for a failure.
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Stopped => Self::SUCCESS,
            Ended::Failed(_) => Self::FAILURE,
        }
    }
}

async fn terminate(signals: &mut mpsc::Receiver<Signal>) {
    loop {
        match signals.recv().await {
            Some(Signal::Terminate) => return,
            Some(Signal::Reload) => {}
            None => std::future::pending().await,
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
