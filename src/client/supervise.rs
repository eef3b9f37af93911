//! Runs a command with a token at hand.

mod delivery;
#[cfg(test)]
mod tests;

use super::{Error, Tokens};
use delivery::TokenFile;
pub use delivery::{Delivery, InvalidVariable, Variable};
use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::fs::File;
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
    /// A signal that would end us came before the command was started.
    #[error("ended by signal {} before the command was started", .0.as_raw())]
    Signalled(Signal),
    /// The command's end, or a signal, cannot be waited for.
    #[error("cannot supervise the command: {0}")]
    Supervise(io::Error),
}

impl RunError {
    /// The exit code that shells, `env` and `timeout` use for a command that does not start, or that a signal ends.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Start { cause, .. } if cause.kind() == io::ErrorKind::NotFound => Some(127),
            Self::Start { .. } => Some(126),
            Self::Signalled(signal) => Some(after_signal(signal.as_raw())),
            Self::Token(_) | Self::Write { .. } | Self::Supervise(_) => None,
        }
    }
}

/// The signals that would end us and are the command's business, from now on.
///
/// # Errors
/// When a handler cannot be installed.
pub fn signals() -> io::Result<impl Stream<Item = Signal> + Send + Unpin> {
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
    Ok(all.filter_map(|(kind, ())| Signal::from_named_raw(kind.as_raw_value())))
}

/// What `work` comes to, unless a signal comes first: before there is a command to pass it on to, it is for us.
///
/// # Errors
/// [`RunError::Signalled`], and the work's own.
pub async fn unless_signalled<T, E>(
    signals: &mut (impl Stream<Item = Signal> + Unpin),
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, RunError>
where
    RunError: From<E>,
{
    tokio::select! {
        biased;
        Some(signal) = signals.next() => Err(RunError::Signalled(signal)),
        done = work => Ok(done?),
    }
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
/// end with: the command's own, or 128 and the number of the signal that ended it. A signal that comes before the
/// command is started ends the call.
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
    mut signals: impl Stream<Item = Signal> + Unpin,
) -> Result<u8, RunError> {
    withhold_settings(&mut command);
    let prepared = unless_signalled(&mut signals, async {
        let token = tokens.token().await?;
        let file = match delivery {
            Delivery::Environment(variable) => {
                tokens.close();
                command.env(variable.as_str(), token.value().expose());
                None
            }
            Delivery::File { path, variable } => {
                let file = TokenFile::create(path, &token).await?;
                command.env(variable.as_str(), file.path());
                Some(file)
            }
        };
        Ok::<_, RunError>((token, file))
    });
    let (token, file) = prepared.await?;
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
            Some(signal) = signals.next() => {
                if !from_terminal(signal) {
                    pass_on(&child, signal);
                }
            }
        }
    }
}

/// Whether the terminal sent this to the command as well. It sends Ctrl-C and its like to all of the process group in
/// its foreground, wherever standard input comes from; the command was started in ours.
fn from_terminal(signal: Signal) -> bool {
    let typed = signal == Signal::INT || signal == Signal::QUIT;
    let foreground = || rustix::termios::tcgetpgrp(File::open("/dev/tty").ok()?).ok();
    typed && foreground() == Some(rustix::process::getpgrp())
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
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.or_else(|| status.signal().map(after_signal))
        .unwrap_or(1)
}

/// What shells answer for a command that a signal ended.
fn after_signal(signal: i32) -> u8 {
    u8::try_from(signal.saturating_add(128)).unwrap_or(1)
}
