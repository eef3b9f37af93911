//! `cambist exchange`: one credential in, one token out.

use super::ask::AskArgs;
use super::connect::ConnectArgs;
use super::failure::Failure;
use super::world::World;
use crate::client::exec::{self, ExecInfo};
use crate::client::format::{self, Format};
use crate::client::{Endpoint, exchange};
use clap::Args;
use std::io::{ErrorKind, Write as _};

/// Exchange a credential for a token
#[derive(Args, Clone, Debug)]
pub struct ExchangeArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    ask: AskArgs,
    /// The form of the answer; --json is the same as `json`
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn run(args: ExchangeArgs, world: &World) -> Result<(), Failure> {
    let format = match args.format {
        Format::Raw if world.output.is_json() => Format::Json,
        Format::Header if world.output.is_json() => {
            return Err(
                Failure::usage("--json and --format header ask for two forms").next("give one"),
            );
        }
        format => format,
    };
    let exec = match format {
        Format::ExecCredential => exec_info()?,
        Format::Raw | Format::Json | Format::Header => ExecInfo::default(),
    };
    let ask = args.ask.ask(exec.audience)?;
    let settings = args.connect.settings()?;
    let source = args.ask.source(settings.identity.is_some())?;
    let endpoint: Endpoint = settings.endpoint()?;
    let channel = endpoint.channel().await.map_err(Failure::from_client)?;
    let token = exchange(channel, &source, &ask)
        .await
        .map_err(Failure::from_client)?;
    let text = format::render(&token, format, exec.version)
        .map_err(|error| Failure::fault("the token cannot be printed").why(error))?;
    match writeln!(std::io::stdout().lock(), "{}", text.expose()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::fault("standard output cannot be written").why(error))
        }
        _ => Ok(()),
    }
}

/// What kubectl asks for; an answer for the current version where nobody asked.
fn exec_info() -> Result<ExecInfo, Failure> {
    match std::env::var(exec::VARIABLE) {
        Ok(text) => ExecInfo::parse(&text).map_err(|error| Failure::usage(error.to_string())),
        Err(_) => Ok(ExecInfo::default()),
    }
}
