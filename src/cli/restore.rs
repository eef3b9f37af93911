//! `cambist restore`: puts a backup in the store's place, while no broker runs.

use super::exit::Exit;
use super::failure::{Failure, chain};
use super::world::World;
use crate::app::{self, OpenError};
use crate::config::Config;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Put a backup in the store's place, while the broker is stopped
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// The broker's configuration file
    #[arg(long, value_name = "FILE", env = "CAMBIST_CONFIG")]
    config: PathBuf,
    /// The backup, which stays as it is
    backup: PathBuf,
    /// Put it in the place of the store that is there, which is moved aside
    #[arg(long)]
    replace: bool,
}

#[derive(Serialize)]
struct Done {
    store: PathBuf,
    /// That the backup holds.
    revision: String,
    /// Where the store is that was there before.
    replaced: Option<PathBuf>,
}

pub(super) fn run(args: &RestoreArgs, world: &World) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::configuration)?;
    let progress = world.output.progress("putting the backup in place");
    let restored = app::restore(&config, &args.backup, args.replace);
    drop(progress);
    let restored = restored.map_err(|error| failure(&error))?;
    let done = Done {
        store: config.store_file(),
        revision: restored.revision.to_string(),
        replaced: restored.replaced,
    };
    world.output.show(&done, || {
        let (store, revision) = (done.store.display(), &done.revision);
        let mut text = format!("{store} is now the backup, as of revision {revision}.");
        if let Some(replaced) = &done.replaced {
            text = format!(
                "{text}\nWhat was there before is in {}.",
                replaced.display()
            );
        }
        text
    })?;
    let config = args.config.display();
    world.output.note(&format!(
        "When it starts, the broker does again from its log what the backup lacks and must not be lost: revocations \
         and spent uses. If the log cannot give that back, it does not start; then `cambist serve --config {config} \
         --accept-rollback` suspends all use-limited keys and cuts off all tokens so far."
    ));
    Ok(())
}

fn failure(error: &anyhow::Error) -> Failure {
    let refused = |code| Failure::new(Exit::Refused, code, "the backup was not put in place");
    let failed = match error.downcast_ref::<OpenError>() {
        Some(OpenError::InUse(_)) => refused("in_use").next("stop the broker first"),
        Some(OpenError::Exists(_)) => refused("exists")
            .next("give --replace to put the backup in its place; it is moved aside, not deleted"),
        Some(
            OpenError::Damaged { .. }
            | OpenError::NotAStore { .. }
            | OpenError::Orphaned(_)
            | OpenError::Version { .. },
        ) => refused("backup_not_usable").next("give another backup: this one was not touched"),
        Some(
            OpenError::Copying
            | OpenError::Io { .. }
            | OpenError::NoRandomness(_)
            | OpenError::Unusable { .. },
        )
        | None => Failure::fault("the backup was not put in place"),
    };
    failed.why(chain(error))
}
