//! `cambist serve`: the broker itself.

use super::check_config;
use super::failure::{Failure, chain};
use super::world::World;
use crate::app;
use crate::config::Config;
use crate::lifecycle::{Ended, Lifecycle, from_os};
use crate::telemetry::{LogFormat, init};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

/// Run the broker
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The broker's configuration file
    #[arg(long, value_name = "FILE", env = "CAMBIST_CONFIG")]
    config: PathBuf,
    /// What is logged: a level, or directives such as `info,cambist=debug`
    #[arg(long, value_name = "FILTER", env = "CAMBIST_LOG", default_value = "info")]
    log: String,
    /// Start although the store lost changes that the log cannot give back: suspends all use-limited keys and cuts
    /// off all tokens so far
    #[arg(long)]
    accept_rollback: bool,
}

/// Serves until it is told to stop.
pub(super) async fn run(args: ServeArgs, world: &World) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::configuration)?;
    check_config::files(&config, world)?;
    init(&args.log, LogFormat::of_a_service())
        .map_err(|error| Failure::usage("nothing can be logged").why(error))?;
    let lifecycle = Lifecycle::new();
    let signals = from_os(lifecycle.quiet().clone());
    let signals =
        signals.map_err(|error| Failure::fault("signals cannot be waited for").why(error))?;
    let world = app::World {
        clock: Arc::clone(&world.clock),
        random: Arc::clone(&world.random),
        lifecycle: lifecycle.clone(),
        accept_rollback: args.accept_rollback,
        records: None,
    };
    let started = app::start(&config, &world).await;
    started.map_err(|error| Failure::fault("the broker cannot start").why(chain(&error)))?;
    match lifecycle.run(signals, config.limits.drain).await {
        Ended::Stopped => Ok(()),
        Ended::Failed(reason) => Err(Failure::fault("the broker ended by itself").why(reason)),
    }
}
