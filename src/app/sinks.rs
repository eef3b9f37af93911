//! The sinks of the log: one task each, until nothing is asked any more.

use super::World;
use super::open::Opened;
use crate::audit::sink::{Around, Cursor, Cursors as _, Kind, Relay, Settings, SinkName, Sinks};
use crate::audit::{DiskCursors, DiskReader, Log, Logged};
use crate::config::Config;
use anyhow::Context as _;
use std::sync::Arc;

/// The folder of the cursors, in that of the data.
const FOLDER: &str = "sinks";

/// Starts them. Before anything is recorded, so that a sink that begins with the log's end has the start.
pub(super) fn start(config: &Config, world: &World, opened: &Opened) -> anyhow::Result<Sinks> {
    let segments = Arc::new(DiskReader::new(&config.log_directory()));
    let segments = Arc::new(Logged::new(segments, Arc::clone(&opened.publisher)));
    let around = || Around {
        log: opened.log.clone(),
        segments: segments.clone(),
        cursors: Arc::new(DiskCursors::new(&config.data.join(FOLDER))),
        clock: Arc::clone(&world.clock),
        random: Arc::clone(&world.random),
    };
    let mut all = Vec::new();
    for settings in &config.log.sinks {
        let around = around();
        let sink = settings.kind.open(&around);
        let relay = Relay::open(settings.clone(), sink, around)?;
        all.push(Arc::clone(relay.stats()));
        let quiet = world.lifecycle.quiet().clone();
        world.lifecycle.spawn("sink", async move {
            quiet.run_until_cancelled(relay.run()).await;
            Ok::<_, anyhow::Error>(())
        });
    }
    Ok(Sinks::new(all))
}

/// A sink that has delivered records of this very log that it does not hold, and how many: only what is durable is
/// delivered, so that the log has lost them.
pub(super) fn ahead(config: &Config, log: &Log) -> anyhow::Result<Option<(SinkName, u64)>> {
    let cursors = DiskCursors::new(&config.data.join(FOLDER));
    for Settings { name, .. } in &config.log.sinks {
        let kept = cursors.load(name);
        let kept = kept.with_context(|| format!("the cursor of sink `{name}` cannot be read"))?;
        let cursor = kept.as_deref().and_then(Cursor::decode);
        let is_ahead = |cursor: &Cursor| cursor.log == log.id() && cursor.next > log.durable();
        if let Some(cursor) = cursor.filter(is_ahead) {
            return Ok(Some((name.clone(), cursor.next)));
        }
    }
    Ok(None)
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
