//! `cambist clock`: an operator's word on the broker's time.

use super::connect::ConnectArgs;
use super::failure::Failure;
use super::time::from_proto;
use super::world::World;
use crate::proto::ConfirmClockRequest;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

/// The broker's clock
#[derive(Args, Debug)]
pub struct ClockArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: ClockCommand,
}

#[derive(Debug, Subcommand)]
enum ClockCommand {
    /// Say that the broker's clock is right after a step, so that it issues again
    ///
    /// If it was ahead, tokens from then become good as their time comes: a revocation of everything so far covers them, and
    /// `cambist signing-key rotate --compromised` ends them for good. What was revoked stays so, and from now on ends by this
    /// clock: say it only of one that is right. After a long stop it also ends at once what had its end meanwhile, which is kept
    /// for as long as the broker was stopped otherwise, or until it has run for a week without a step of its clock.
    Confirm,
}

#[derive(Serialize)]
struct Confirmed {
    /// The broker's time.
    now: Option<Timestamp>,
    /// How far this machine's clock is ahead of it, in seconds.
    ahead_seconds: Option<i64>,
}

pub(super) async fn run(args: ClockArgs, world: &World) -> Result<(), Failure> {
    let ClockCommand::Confirm = args.command;
    let mut client = args.connect.connect().await?.inventory();
    let answer = client.confirm_clock(ConfirmClockRequest {}).await;
    let answer = answer.map_err(|status| Failure::from_status(&status))?;
    let now = from_proto(answer.into_inner().now);
    let confirmed = Confirmed {
        now,
        ahead_seconds: now.map(|now| world.clock.now().as_second() - now.as_second()),
    };
    world.output.show(&confirmed, || {
        let now = now.map_or_else(|| "unknown".to_owned(), |now| format!("{now:.0}"));
        let ahead = confirmed.ahead_seconds.unwrap_or_default();
        format!("The broker's clock is confirmed: {now}; this machine's is {ahead} s ahead of it.")
    })
}
