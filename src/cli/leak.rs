//! `cambist leak`: keys that were found where they should not be.

use super::connect::{ConnectArgs, Connection};
use super::failure::Failure;
use super::input::Source;
use super::key::{View, no_key};
use super::output::fields;
use super::world::World;
use crate::proto::ReportLeakRequest;
use crate::refusal::Code;
use clap::{Args, Subcommand};
use serde::Serialize;

/// Leaked keys: hand one in, and it is revoked
#[derive(Args, Debug)]
pub struct LeakArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: LeakCommand,
}

#[derive(Debug, Subcommand)]
enum LeakCommand {
    /// Revoke the key whose text was found, and every token made from it; the record says so
    Report(ReportArgs),
}

#[derive(Args, Debug)]
struct ReportArgs {
    /// File with the key's whole text and nothing else; - for standard input
    #[arg(value_name = "FILE")]
    key: Source,
    /// Where it was found, for the record
    #[arg(long)]
    url: Option<String>,
    /// What is known of it, for the record
    #[arg(long)]
    reason: Option<String>,
    /// A name for this write, so that repeating it is harmless [default: a random one]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    idempotency_key: Option<String>,
}

/// A key that was handed in, as `--json` prints it.
#[derive(Serialize)]
struct Reported {
    key: View,
    /// It had been revoked before, and nothing was done.
    already_revoked: bool,
    /// It is in force and nowhere written, where this is not so.
    durable: bool,
    /// At which the revocation is in force.
    #[serde(skip_serializing_if = "String::is_empty")]
    revision: String,
}

pub(super) async fn run(args: LeakArgs, world: &World) -> Result<(), Failure> {
    let LeakCommand::Report(report) = args.command;
    let text = report.key.api_key()?;
    let idempotency_key = world.idempotency_key(report.idempotency_key.as_deref())?;
    let request = ReportLeakRequest {
        secret: text.expose().to_owned(),
        url: report.url.unwrap_or_default(),
        reason: report.reason.unwrap_or_default(),
        idempotency_key: idempotency_key.clone(),
    };
    let mut client = args.connect.connect().await?.inventory();
    let answer = client.report_leak(request).await;
    let answer = answer
        .map_err(|status| {
            Connection::unsure(&status, &idempotency_key).also_after(
                Code::NotAuthorised,
                "anybody with a key's text revokes it with `cambist revoke --key FILE --reason WHY`",
            )
        })?
        .into_inner();
    let reported = Reported {
        key: answer.key.ok_or_else(no_key)?.into(),
        already_revoked: answer.already_revoked,
        durable: answer.durable,
        revision: answer.revision,
    };
    world.output.show(&reported, || {
        let mut rows = reported.key.fields(world.clock.now());
        rows.push(("in force at", reported.revision.clone()));
        let said = match reported.already_revoked {
            true => "The key had been revoked before; nothing was done.",
            false => "The key is revoked, and so is every token made from it.",
        };
        format!("{said}\n{}", fields(&rows))
    })?;
    if reported.durable {
        Ok(())
    } else {
        Err(Failure::not_durable())
    }
}
