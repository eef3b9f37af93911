//! `cambist restore`: puts a backup in the store's place, while no broker runs.

use clap::Args;
use std::path::PathBuf;

/// Put a backup in the store's place, while the broker is stopped
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// The broker's configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The backup
    pub backup: PathBuf,
    /// Accept that what the log cannot replay is lost: use-limited keys are suspended, all tokens so far cut off
    #[arg(long)]
    pub accept_rollback: bool,
}
