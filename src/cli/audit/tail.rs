//! `cambist audit tail`: records as they come.

use super::filter::{TermArgs, message};
use super::source::entry;
use super::view::{View, json};
use crate::cli::connect::{ConnectArgs, Connection};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::world::World;
use crate::proto::{RecordFilter, TailRequest, TailResponse};
use crate::refusal::{Code, Fault};
use clap::Args;
use std::time::Duration;
use tonic::Status;
use tonic_types::StatusExt as _;

/// Pause before a broker that went away is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Follow the log
#[derive(Args, Debug)]
pub(super) struct TailArgs {
    /// Begin with this record [default: with the next one that comes]
    #[arg(long, value_name = "SEQUENCE")]
    from_sequence: Option<u64>,
    #[command(flatten)]
    terms: TermArgs,
}

/// How a stretch of following ended.
enum Ended {
    /// Nobody reads what is printed any more.
    Unread,
    /// The broker ended it, or the connection did.
    Told(Status),
}

pub(super) async fn run(
    args: TailArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let connection = connect.connect().await?;
    let filter = message(&args.terms.filter());
    let mut next = args.from_sequence;
    let mut has_begun = false;
    loop {
        let before = next;
        let ended = follow(&connection, &filter, &mut next, world).await?;
        has_begun |= next != before;
        let Ended::Told(status) = ended else {
            return Ok(());
        };
        let failure = Failure::from_status(&status);
        if !has_begun || !passes(&failure) {
            return Err(failure);
        }
        if next != before {
            world.output.note("the broker ended the call; going on");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Prints what comes, and keeps in `next` where to go on.
async fn follow(
    connection: &Connection,
    filter: &RecordFilter,
    next: &mut Option<u64>,
    world: &World,
) -> Result<Ended, Failure> {
    let request = TailRequest {
        filter: Some(filter.clone()),
        from_sequence: *next,
    };
    let mut messages = match connection.audit().tail(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(Ended::Told(status)),
    };
    loop {
        match messages.message().await {
            Ok(Some(TailResponse {
                record,
                next: after,
            })) => {
                if let Some(entry) = record.map(entry) {
                    let line = match world.output.is_json() {
                        true => json(&entry),
                        false => View::of(&entry).line(),
                    };
                    if !world.output.line(&line)? {
                        return Ok(Ended::Unread);
                    }
                }
                *next = Some(after);
            }
            Ok(None) => {
                return Ok(Ended::Told(Status::unavailable(
                    "the broker ended the call",
                )));
            }
            Err(status) => {
                let info = status.get_details_error_info();
                let told = info.and_then(|info| info.metadata.get("next")?.parse().ok());
                *next = told.or(*next);
                return Ok(Ended::Told(status));
            }
        }
    }
}

/// Whether it is over in a while: what has come is not lost, and what comes is in the log.
fn passes(failure: &Failure) -> bool {
    let codes = [Fault::Draining.code(), Code::TooBusy.code()];
    failure.exit() == Exit::Unreachable || codes.contains(&failure.code())
}
