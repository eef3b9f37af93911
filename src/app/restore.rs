//! Putting a backup in the store's place, while no broker runs.

use super::files;
use crate::config::Config;
use crate::store::embedded::{self, Restored};
use std::path::Path;

/// Puts a backup in the place of the store that the configuration names. What is there is only replaced when
/// `replace` says so, and is then moved aside. The log stays as it is: from it, the next start does again what the
/// backup lacks and must not be lost.
///
/// # Errors
/// [`OpenError`](embedded::OpenError) of the store, or what is wrong with the data folder. Nothing is moved before the
/// backup was read and copied whole; what was moved aside when a later step fails stays there.
pub fn restore(config: &Config, backup: &Path, replace: bool) -> anyhow::Result<Restored> {
    files::private_folder(&config.data)?;
    Ok(embedded::restore(backup, &config.store_file(), replace)?)
}
