//! `cambist audit`: the log, for those who read it and for those who must believe it.

mod filter;
mod query;
mod source;
mod tail;
mod verify;
mod view;

use super::connect::ConnectArgs;
use super::failure::Failure;
use super::world::World;
use clap::{Args, Subcommand};

/// The audit log
#[derive(Args, Debug)]
pub struct AuditArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow the log: a line for each record as it comes
    Tail(Box<tail::TailArgs>),
    /// Find records by what they say, in a broker's log or in a folder
    Query(Box<query::QueryArgs>),
    /// Say whether a log is whole and unchanged, from its files alone
    Verify(verify::VerifyArgs),
}

pub(super) async fn run(args: AuditArgs, world: &World) -> Result<(), Failure> {
    let connect = args.connect;
    match args.command {
        Command::Tail(args) => tail::run(*args, &connect, world).await,
        Command::Query(args) => query::run(*args, &connect, world).await,
        Command::Verify(args) => verify::run(&args, world),
    }
}
