//! Runs a command with a token at hand.

mod delivery;
#[cfg(test)]
mod tests;

use super::{Error, Tokens};
use delivery::TokenFile;
pub use delivery::{Delivery, InvalidVariable, Variable};
use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::SignalStream;
use tokio_stream::{Stream, StreamExt as _, StreamMap};

/// Our own settings begin with this; they name credentials and are not the command's business.
const OWN_PREFIX: &[u8] = b"CAMBIST_";

/// Why a command was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no token to begin with.
    #[error(transparent)]
    Token(#[from] Error),
    /// The token cannot be written where the command looks for it.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// Where.
        path: std::path::PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The command cannot be started.
    #[error("cannot run `{}`: {cause}", command.display())]
    Start {
        /// Its name.
        command: OsString,
        /// Why not.
        cause: io::Error,
    },
    /// The command's end, or a signal, cannot be waited for.
    #[error("cannot supervise the command: {0}")]
    Supervise(io::Error),
}

impl RunError {
    /// The exit code that shells, `env` and `timeout` use for a command that does not start.
    #[must_use]
    pub fn start_code(&self) -> Option<u8> {
        match self {
            Self::Start { cause, .. } if cause.kind() == io::ErrorKind::NotFound => Some(127),
            Self::Start { .. } => Some(126),
            Self::Token(_) | Self::Write { .. } | Self::Supervise(_) => None,
        }
    }
}

/// The signals that would end us and are the command's business, from now on. Ctrl-C on a terminal
/// reaches the command without our help, so it is then taken and not passed on.
///
/// # Errors
/// When a handler cannot be installed.
pub fn signals(on_terminal: bool) -> io::Result<impl Stream<Item = Signal> + Send + Unpin> {
    const PASSED_ON: [SignalKind; 6] = [
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::interrupt(),
    ];
    let mut all = StreamMap::new();
    for kind in PASSED_ON {
        all.insert(kind, SignalStream::new(signal(kind)?));
    }
    Ok(all.filter_map(move |(kind, ())| {
        let from_terminal = kind == SignalKind::interrupt() || kind == SignalKind::quit();
        Signal::from_named_raw(kind.as_raw_value()).filter(|_| !(on_terminal && from_terminal))
    }))
}

/// Takes our own settings out of what the command inherits or was given.
fn withhold_settings(command: &mut Command) {
    let given = command.as_std().get_envs().map(|(name, _)| name.to_owned());
    let inherited = std::env::vars_os().map(|(name, _)| name);
    let names: Vec<OsString> = given.chain(inherited).collect();
    for name in names {
        if name.as_bytes().starts_with(OWN_PREFIX) {
            command.env_remove(name);
        }
    }
}

/// Runs `command` with a token as `delivery` says, passes signals on to it, and returns the exit code to
/// end with: the command's own, or 128 and the number of the signal that ended it.
///
/// In a file the token is renewed while the command runs, and the file is removed at the end. An
/// environment cannot be changed from outside: there the token is as good as it was at the start.
/// The command gets none of our own settings (`CAMBIST_…`) besides.
///
/// # Errors
/// [`RunError`]; the command is then not running any more.
pub async fn supervise(
    mut command: Command,
    delivery: Delivery,
    tokens: Tokens,
    signals: impl Stream<Item = Signal> + Unpin,
) -> Result<u8, RunError> {
    withhold_settings(&mut command);
    let token = tokens.token().await?;
    let file = match delivery {
        Delivery::Environment(variable) => {
            tokens.close();
            let until = token.expires_at();
            tracing::info!(%until, "the token in the environment cannot be renewed; a file's can");
            command.env(variable.as_str(), token.value().expose());
            None
        }
        Delivery::File { path, variable } => {
            let file = TokenFile::create(path, &token).await?;
            command.env(variable.as_str(), file.path());
            Some(file)
        }
    };
    command.kill_on_drop(true);
    let child = command.spawn().map_err(|cause| RunError::Start {
        command: command.as_std().get_program().to_owned(),
        cause,
    })?;
    // The command's environment holds the token too: it is not kept for longer than needed.
    drop(command);
    let status = match &file {
        Some(file) => tokio::select! {
            status = wait(child, signals) => status,
            never = file.renew(&tokens, token) => match never {},
        },
        None => wait(child, signals).await,
    };
    Ok(exit_code(status.map_err(RunError::Supervise)?))
}

async fn wait(
    mut child: Child,
    mut signals: impl Stream<Item = Signal> + Unpin,
) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            // The end first: a signal is never sent to a process that was reaped.
            biased;
            status = child.wait() => return status,
            Some(signal) = signals.next() => pass_on(&child, signal),
        }
    }
}

fn pass_on(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = rustix::process::kill_process(pid, signal)
    {
        tracing::warn!(%error, ?signal, "the signal could not be passed on");
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
