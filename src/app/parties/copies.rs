//! Places for copies of the last checkpoint.

use super::given_up::GivenUp;
use super::web;
use crate::audit::{FileKeeper, KeepError, Keeper, Log, Party, PartyKind, Publisher, WebKeeper};
use crate::config::{self, CopyPlace};
use crate::limits;
use anyhow::anyhow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::timeout;

/// A place for copies, and how it fares.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) keeper: Keeper,
    required: bool,
    /// Whether the log was held against what is there. Before that it is not overwritten: it may say that the log lost
    /// records.
    pub(super) met: Arc<AtomicBool>,
    pub(super) party: Arc<Party>,
    given_up: GivenUp,
}

impl Copy {
    pub(super) fn new(configured: &config::LogCopy, given_up: &GivenUp) -> anyhow::Result<Self> {
        let keeper = match &configured.place {
            CopyPlace::File(path) => Keeper::File(FileKeeper::new(path.clone())),
            CopyPlace::Web { server, token_file } => Keeper::Web(WebKeeper {
                web: web(server)?,
                url: server.url.clone(),
                token: token_file.clone(),
            }),
        };
        let party = Party::new(PartyKind::Copy, keeper.to_string());
        Ok(Self {
            keeper,
            required: configured.required,
            met: Arc::default(),
            party: Arc::new(party),
            given_up: given_up.clone(),
        })
    }

    /// Holds the log against what is there, before anything is issued. What cannot be read is passed over, unless it is
    /// required; what is not there yet says nothing.
    pub(super) async fn ask(&self, publisher: &Arc<Publisher>, log: &Log) -> anyhow::Result<()> {
        let published = publisher.published().map_or(0, |last| last.checkpoint.size);
        let place = self.keeper.to_string();
        // A file may be on a mount that hangs.
        let kept = timeout(limits::LOG_PARTY_CALL, self.keeper.kept()).await;
        let note = match kept.unwrap_or(Err(KeepError::Slow)) {
            Ok(Some(note)) => note,
            Ok(None) if self.required && published > 0 => {
                return Err(anyhow!(
                    "there is no copy of the log's checkpoint at {place}, and one is required: put one there, \
                     the log's own `checkpoint` if there never was another"
                ));
            }
            Ok(None) => {
                tracing::warn!(%place, "no copy of the log's checkpoint is there yet");
                self.met.store(true, Ordering::Release);
                return Ok(());
            }
            Err(error) if self.required => {
                return Err(anyhow!(error).context(format!(
                    "the copy of the log's checkpoint at {place} cannot be read, and is required"
                )));
            }
            Err(error) => {
                self.party.failed();
                tracing::warn!(%place, %error, "a copy of the log's checkpoint cannot be read: nothing is held against it");
                return Ok(());
            }
        };
        self.hold(note, publisher, log).await?;
        self.met.store(true, Ordering::Release);
        Ok(())
    }

    /// Holds the log against what is there, if that could not be done at the start.
    pub(super) async fn meet(&self, publisher: &Arc<Publisher>, log: &Log) -> anyhow::Result<()> {
        if self.met.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some(note) = self.keeper.kept().await? {
            self.hold(note, publisher, log).await?;
        }
        self.met.store(true, Ordering::Release);
        Ok(())
    }

    async fn hold(
        &self,
        note: Vec<u8>,
        publisher: &Arc<Publisher>,
        log: &Log,
    ) -> anyhow::Result<()> {
        let place = format!("the copy of the log's checkpoint at {}", self.keeper);
        let this = self.clone();
        let is_excused = move |note: &[u8]| this.is_of_given_up(note);
        super::hold(note, place, is_excused, publisher, log).await
    }

    /// A copy that was away when a rollback was accepted still holds what was given up then.
    fn is_of_given_up(&self, note: &[u8]) -> bool {
        let is_so = self.given_up.signed(note);
        if is_so {
            let place = self.keeper.to_string();
            tracing::warn!(%place, "a copy is of a log that was given up, and is replaced");
        }
        is_so
    }
}
