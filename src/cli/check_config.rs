//! `cambist check-config`: what is wrong, where, and what would be right.

use super::failure::Failure;
use super::output::fields;
use super::world::World;
use crate::app;
use crate::config::{Address, Config};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Say what is wrong with a configuration file, where, and what would be right
#[derive(Args, Debug)]
pub struct CheckConfigArgs {
    /// The configuration file
    file: PathBuf,
    /// Do not look at the files that it names, which may be on another machine
    #[arg(long)]
    without_files: bool,
}

#[derive(Serialize)]
struct Valid {
    valid: bool,
    file: PathBuf,
    issuer: String,
    node: String,
    listeners: Vec<String>,
    audiences: usize,
    trust_domains: usize,
    digest: String,
}

/// Refuses a configuration whose files are not there or not right.
pub(super) fn files(config: &Config, world: &World) -> Result<(), Failure> {
    let mut problems = config.check_files();
    if problems.is_empty() {
        problems = app::check(config, &world.clock);
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::configuration(problems)),
    }
}

pub(super) fn run(args: &CheckConfigArgs, world: &World) -> Result<(), Failure> {
    let config = Config::load(&args.file).map_err(Failure::configuration)?;
    if !args.without_files {
        files(&config, world)?;
    }
    let valid = Valid {
        valid: true,
        file: args.file.clone(),
        issuer: config.issuer.to_string(),
        node: config.node.to_string(),
        listeners: config
            .listeners
            .iter()
            .map(|listener| Address::to_string(&listener.address))
            .collect(),
        audiences: config.audiences.len(),
        trust_domains: config.trust_domains.len(),
        digest: config.digest_text(),
    };
    world.output.show(&valid, || {
        let rows = fields(&[
            ("issuer", valid.issuer.clone()),
            ("node", valid.node.clone()),
            ("listeners", valid.listeners.join(" ")),
            ("audiences", valid.audiences.to_string()),
            ("trust domains", valid.trust_domains.to_string()),
            ("digest", valid.digest.clone()),
        ]);
        format!("{} is valid.\n{rows}", valid.file.display())
    })
}
