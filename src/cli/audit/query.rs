//! `cambist audit query`: records by what they say.

use super::filter::{TermArgs, TimeArgs};
use super::source::{Found, More, SourceArgs, sound};
use super::view::{View, json};
use crate::audit::Order;
use crate::cli::connect::ConnectArgs;
use crate::cli::failure::Failure;
use crate::cli::output::{escaped, table};
use crate::cli::world::World;
use clap::Args;

/// Rows of a table, which is held in memory to be laid out, unless others are asked for.
const ROWS: u32 = 100;

/// Find records by what they say
#[derive(Args, Debug)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The last ones first
    #[arg(long)]
    newest: bool,
    /// At most so many [default: 100 in a table, and all with --json or --csv]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Print comma-separated values, for a summary of refusals a row for each code and network; --json prints each
    /// record as it stands in the log, one a line
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    terms: TermArgs,
}

pub(super) async fn run(
    args: QueryArgs,
    connect: &ConnectArgs,
    world: &World,
) -> Result<(), Failure> {
    let log = args.source.open(connect).await?;
    let filter = args.time.within(args.terms.filter(), world.clock.now());
    let order = match args.newest {
        true => Order::NewestFirst,
        false => Order::OldestFirst,
    };
    let output = world.output;
    let is_table = !args.csv && !output.is_json();
    let limit = args.limit.or(is_table.then_some(ROWS));
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    if args.csv && !output.line(&View::CSV.join(","))? {
        return Ok(());
    }
    let each = |found: Found| {
        let there = match found {
            Ok(entry) if output.is_json() => output.line(&json(&entry))?,
            Ok(entry) if args.csv => output.line(&View::of(&entry).csv())?,
            Ok(entry) => {
                rows.push(View::of(&entry).row());
                true
            }
            Err(problem) => {
                problems.push(problem);
                true
            }
        };
        Ok(if there { More::Yes } else { More::No })
    };
    log.query(&filter, order, limit, each).await?;
    if is_table {
        let full = args.limit.is_none() && rows.len() >= usize::try_from(ROWS).unwrap_or_default();
        output.line(&table(&View::HEADER, rows, "There are no such records."))?;
        if full {
            output.note("There may be more: --limit shows as many as you like.");
        }
    }
    for problem in &problems {
        output.warn(&escaped(problem));
    }
    sound(&problems)
}
