//! The sinks of the log: one task each, until nothing is asked any more.

use super::World;
use super::open::Opened;
use crate::audit::sink::{Around, Kind, Relay, Settings, Sinks};
use crate::audit::{DiskCursors, DiskReader};
use crate::config::Config;
use std::sync::Arc;

/// The folder of the cursors, in that of the data.
const FOLDER: &str = "sinks";

/// Starts them. Before anything is recorded, so that a sink that begins with the log's end has the start.
pub(super) fn start(config: &Config, world: &World, opened: &Opened) -> anyhow::Result<Sinks> {
    let around = Around {
        log: opened.log.clone(),
        segments: Arc::new(DiskReader::new(&config.log_directory())),
        cursors: Arc::new(DiskCursors::new(&config.data.join(FOLDER))),
        clock: Arc::clone(&world.clock),
        random: Arc::clone(&world.random),
    };
    let mut all = Vec::new();
    for settings in &config.log.sinks {
        let sink = settings.kind.open(&around);
        let relay = Relay::open(settings.clone(), sink, around.clone())?;
        all.push(Arc::clone(relay.stats()));
        let quiet = world.lifecycle.quiet().clone();
        world.lifecycle.spawn("sink", async move {
            quiet.run_until_cancelled(relay.run()).await;
            Ok::<_, anyhow::Error>(())
        });
    }
    Ok(Sinks::new(all))
}

/// What is wrong with the files of a sink, by what they hold.
pub(super) fn check(settings: &Settings) -> anyhow::Result<()> {
    let checked = match &settings.kind {
        Kind::Stdout => Ok(()),
        Kind::Otlp(otlp) => otlp.check(),
        Kind::Syslog(syslog) => syslog.check(),
        Kind::Webhook(webhook) => webhook.check(),
    };
    checked.map_err(anyhow::Error::msg)
}
