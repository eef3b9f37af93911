//! `cambist run`: a command with a token at hand.

use super::ask::AskArgs;
use super::connect::ConnectArgs;
use super::failure::Failure;
use super::time;
use super::world::World;
use crate::client::Tokens;
use crate::client::supervise::{
    Delivery, RunError, Variable, signals, supervise, unless_signalled,
};
use crate::telemetry::{self, LogFormat};
use clap::Args;
use rustix::process::Signal;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::process::Command;
use tokio_stream::Stream;

/// The variable that holds the token.
const TOKEN: &str = "CAMBIST_TOKEN";
/// The variable that holds the path of the token's file.
const TOKEN_FILE: &str = "CAMBIST_TOKEN_FILE";

/// Run a command with a token in its environment, or in a file that is kept fresh
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The command and its arguments; it inherits none of the CAMBIST_ variables, and its exit code becomes this one's
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    ask: AskArgs,
    /// Keep the token in this file, renewed while the command runs and removed at its end
    #[arg(long, value_name = "FILE", help_heading = "Delivery")]
    file: Option<PathBuf>,
    /// The variable for the token, or for the file's path [default: CAMBIST_TOKEN, CAMBIST_TOKEN_FILE]
    #[arg(long, value_name = "NAME", help_heading = "Delivery")]
    variable: Option<Variable>,
}

/// Returns the exit code to end with: the command's own, or that of a failure to begin with.
pub(super) async fn run(args: RunArgs, world: &World) -> Result<u8, Failure> {
    let delivery = delivery(args.file, args.variable)?;
    let mut words = args.command.into_iter();
    let program = words
        .next()
        .ok_or_else(|| Failure::usage("no command is named"))?;
    let mut command = Command::new(program);
    command.args(words);
    let ask = args.ask.ask(None)?;
    let settings = args.connect.settings()?;
    let source = args.ask.source(settings.identity.is_some())?;
    // Taken before anything is on its way, so that none of them ends us without a word.
    let signals =
        signals().map_err(|error| Failure::fault("signals cannot be waited for").why(error))?;
    let tokens = Tokens::builder(settings.endpoint()?, source, ask)
        .clock(Arc::clone(&world.clock))
        .random(Arc::clone(&world.random))
        .build()
        .map_err(Failure::from_client)?;
    match supervised(command, delivery, tokens, signals, world).await {
        Ok(code) => Ok(code),
        Err(RunError::Token(error)) => Err(Failure::from_client(error)),
        Err(error) => match (&error, error.exit_code()) {
            // Whoever sent it knows.
            (RunError::Signalled(_), Some(code)) => Ok(code),
            (_, Some(code)) => {
                world.output.fail(&Failure::fault(error.to_string()));
                Ok(code)
            }
            (_, None) => Err(Failure::fault(error.to_string())),
        },
    }
}

async fn supervised(
    command: Command,
    delivery: Delivery,
    tokens: Tokens,
    mut signals: impl Stream<Item = Signal> + Unpin,
    world: &World,
) -> Result<u8, RunError> {
    let token = unless_signalled(&mut signals, tokens.token()).await?;
    if matches!(delivery, Delivery::Environment(_)) {
        let until = time::relative(Some(token.expires_at()), world.clock.now());
        world.output.note(&format!(
            "the command's token is good until {until}; an environment cannot be renewed, --file can"
        ));
    }
    drop(token);
    // From here on nobody waits for our answer: what goes wrong is told when it does.
    let format = match world.output.is_json() {
        true => LogFormat::Json,
        false => LogFormat::Text,
    };
    if let Err(error) = telemetry::init("warn", format) {
        world
            .output
            .warn(&format!("failed renewals will not be told: {error}"));
    }
    supervise(command, delivery, tokens, signals).await
}

fn delivery(file: Option<PathBuf>, variable: Option<Variable>) -> Result<Delivery, Failure> {
    let usual = if file.is_some() { TOKEN_FILE } else { TOKEN };
    let variable = match variable {
        Some(variable) => variable,
        None => usual
            .parse()
            .map_err(|error: crate::client::supervise::InvalidVariable| {
                Failure::fault(error.to_string())
            })?,
    };
    Ok(match file {
        Some(path) => Delivery::File { path, variable },
        None => Delivery::Environment(variable),
    })
}
