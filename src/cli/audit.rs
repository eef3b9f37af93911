//! `cambist audit`: the log, for those who read it and for those who must believe it.

mod check_proof;
mod filter;
mod prove;
mod query;
mod show;
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
    /// Tell one token's whole story: what it was made from, what was made from it, and what became of them
    Show(show::ShowArgs),
    /// Prove that a record is in the log, to somebody who only has the log's key
    Prove(prove::ProveArgs),
    /// Say whether a proof holds, from files alone; exits with 5 if it does not
    CheckProof(check_proof::CheckProofArgs),
    /// Say whether a log is whole and unchanged, from its files alone
    Verify(verify::VerifyArgs),
}

pub(super) async fn run(args: AuditArgs, world: &World) -> Result<(), Failure> {
    let connect = args.connect;
    match args.command {
        Command::Tail(args) => tail::run(*args, &connect, world).await,
        Command::Query(args) => query::run(*args, &connect, world).await,
        Command::Show(args) => show::run(args, &connect, world).await,
        Command::Prove(args) => prove::run(args, &connect, world).await,
        Command::CheckProof(args) => check_proof::run(&args, world),
        Command::Verify(args) => verify::run(&args, world),
    }
}
