//! The operating system's signals.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT.
    Terminate,
    /// SIGHUP.
    Reload,
}

/// Signals from now on, until `end`. Must be called within a tokio runtime.
///
/// # Errors
/// When the operating system lets no handler be set.
pub fn from_os(end: CancellationToken) -> io::Result<mpsc::Receiver<Signal>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let asked = tokio::select! {
                () = end.cancelled() => return,
                _ = term.recv() => Signal::Terminate,
                _ = int.recv() => Signal::Terminate,
                _ = hangup.recv() => Signal::Reload,
            };
            if sender.send(asked).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
