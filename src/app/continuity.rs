//! Whether the log is the one that the broker last ran with, and all of it: by what its sinks were delivered, its key, the store,
//! and those that it was published to. Asked at a start, before anything is issued.

use super::parties::{Contradicted, Parties};
use super::recovery::{PUT_BACK, Recovering, WAY_OUT};
use super::{publishing, sinks};
use crate::audit::{Publisher, Recovered};
use crate::clock::Random;
use crate::config::Config;
use crate::keys::Kek;
use crate::store::LogId;
use anyhow::anyhow;
use std::sync::Arc;

/// What a start has opened, and is not yet gone on with.
pub(super) struct Continuity<'a> {
    pub(super) config: &'a Config,
    pub(super) kek: &'a Kek,
    pub(super) random: &'a dyn Random,
    pub(super) recovered: &'a Recovered,
    pub(super) recovering: Recovering<'a>,
}

impl Continuity<'_> {
    /// Brings store and log in step and holds the log against all who know of it. What they miss is an error, or given up
    /// together with the log's name where that is accepted.
    pub(super) async fn establish(&self) -> anyhow::Result<(Arc<Publisher>, Parties)> {
        let (recovering, log) = (&self.recovering, self.recovering.log);
        let was = log.id();
        let mut is_lacking = self.recovered.lack.is_some();
        is_lacking |= self.is_accepted(self.delivered_more()?)?;
        is_lacking |= self.is_accepted(self.lost_its_key()?)?;
        let proven = async || {
            let (publisher, parties) = self.open(was)?;
            parties.ask(&publisher, log).await?;
            Ok(publisher)
        };
        recovering.bring_up(self.recovered, proven).await?;
        is_lacking |= self.is_accepted(self.grew_while_stopped().await?)?;
        if is_lacking && log.id() == was {
            recovering.roll_back().await?;
        }
        // Not before a rollback that is accepted, which makes the log another one.
        let (mut publisher, mut parties) = self.open(was)?;
        match parties.ask(&publisher, log).await {
            // What copies and witnesses have is of what is given up.
            Err(error) if error.is::<Contradicted>() => {
                recovering.accepted(error.context(format!(
                    "the log is not the one that was published: {PUT_BACK}, or {WAY_OUT}"
                )))?;
                if log.id() == was {
                    recovering.roll_back().await?;
                    (publisher, parties) = self.open(was)?;
                }
            }
            asked => asked?,
        }
        if log.id() != was {
            parties.give_up();
        }
        Ok((publisher, parties))
    }

    /// The log as it is published, and those it is published to. It `was` another one before a rollback.
    fn open(&self, was: LogId) -> anyhow::Result<(Arc<Publisher>, Parties)> {
        let Recovering {
            disk, log, kept, ..
        } = self.recovering;
        let folder = self.config.log_directory();
        let given_up = Some(was).filter(|was| *was != log.id());
        let disk = Arc::clone(disk);
        let publisher = publishing::open(&folder, disk, log, given_up, self.kek, self.random)?;
        // After what is given up was set aside: it tells which copies are.
        let parties = Parties::new(&self.config.log, &folder, log, self.kek, kept)?;
        Ok((Arc::new(publisher), parties))
    }

    fn is_accepted(&self, lost: Option<anyhow::Error>) -> anyhow::Result<bool> {
        let is_lost = lost.is_some();
        lost.map_or(Ok(()), |lost| self.recovering.accepted(lost))?;
        Ok(is_lost)
    }

    fn delivered_more(&self) -> anyhow::Result<Option<anyhow::Error>> {
        let log = self.recovering.log;
        let ahead = sinks::ahead(self.config, log)?;
        Ok(ahead.map(|(sink, delivered)| {
            anyhow!(
                "the log ends at {} records, and sink `{sink}` has delivered {delivered}: {PUT_BACK}, or {WAY_OUT}",
                log.durable()
            )
        }))
    }

    fn lost_its_key(&self) -> anyhow::Result<Option<anyhow::Error>> {
        let folder = self.config.log_directory();
        let is_keyless = publishing::is_keyless(&folder, self.recovering.log, self.kek)?;
        Ok(is_keyless.then(|| {
            anyhow!(
                "the log in {} holds records, and the key that it signs its checkpoints with is not there: {PUT_BACK}, \
                 or {WAY_OUT}",
                folder.display()
            )
        }))
    }

    async fn grew_while_stopped(&self) -> anyhow::Result<Option<anyhow::Error>> {
        let next = self.recovered.next;
        let ended = self.recovering.kept.ended().await?;
        Ok(ended.filter(|ended| *ended < next).map(|ended| {
            anyhow!(
                "the log ended at {ended} records when the broker stopped, and has {next} now: {PUT_BACK} (or the store, \
                 if that is an older copy of its file), or {WAY_OUT}"
            )
        }))
    }
}
