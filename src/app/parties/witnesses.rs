//! Witnesses: what each has seen of the log is held against it, and what it has against the log that was given up is not.

use super::kept::Kept;
use super::{Contradicted, web};
use crate::audit::{Log, NoteKey, Party, PartyKind, Published, Publisher, Witness, WitnessError};
use crate::config;
use anyhow::Context as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A witness, and how it fares.
#[derive(Clone, Debug)]
pub(super) struct Cosigner {
    witness: Arc<Witness>,
    key: NoteKey,
    pub(super) party: Arc<Party>,
    kept: Kept,
    /// Whether it is kept that it cosigns this log.
    known: Arc<AtomicBool>,
}

impl Cosigner {
    pub(super) fn new(configured: &config::LogWitness, kept: &Kept) -> anyhow::Result<Self> {
        let config::LogWitness { server, key } = configured;
        let party = Party::new(PartyKind::Witness, key.name().to_owned());
        let witness = Witness::new(web(server)?, server.url.clone(), key.clone());
        Ok(Self {
            witness: Arc::new(witness),
            key: key.clone(),
            party: Arc::new(party),
            kept: kept.clone(),
            known: Arc::default(),
        })
    }

    /// Holds the log against what the witness has seen, before anything is issued, by having the last checkpoint cosigned. One
    /// that does not answer, or gives an answer of no use, is passed over.
    pub(super) async fn ask(&self, publisher: &Arc<Publisher>, log: &Log) -> anyhow::Result<()> {
        let mut asked = self.ask_last(publisher, log).await;
        if let Err(error) = &asked
            && let Some(WitnessError::Beyond { .. }) = error.downcast_ref()
        {
            // The checkpoint that it has is gone here, as after `checkpoint` and `tile` were moved away, and the records are
            // not: it can tell of the next one whether it is theirs.
            let (to, durable) = (Arc::clone(publisher), log.durable());
            let advanced = tokio::task::spawn_blocking(move || to.advance(durable)).await;
            match advanced.context("the log cannot be published")? {
                Ok(()) => asked = self.ask_last(publisher, log).await,
                Err(error) => {
                    tracing::warn!(%error, "no checkpoint of the log is published; tried again");
                }
            }
        }
        match asked {
            Err(error) if error.is::<WitnessError>() => {
                self.party.failed();
                let name = self.party.name();
                tracing::warn!(name, %error, "a witness does not say that the log has only grown: nothing is held against it");
                Ok(())
            }
            asked => asked,
        }
    }

    async fn ask_last(&self, publisher: &Arc<Publisher>, log: &Log) -> anyhow::Result<()> {
        match publisher.published() {
            Some(last) => self.cosign(publisher, &last, log).await,
            None => Ok(()),
        }
    }

    /// Has a checkpoint cosigned.
    pub(super) async fn cosign(
        &self,
        publisher: &Arc<Publisher>,
        last: &Published,
        log: &Log,
    ) -> anyhow::Result<()> {
        let cosigned = self.witness.cosign(publisher, last, log.durable()).await;
        match cosigned {
            Ok(()) => self.keep_known().await,
            Err(against) if against.contradicts() => {
                let name = self.party.name().to_owned();
                if self.kept.believes(&self.key).await? {
                    return Err(Contradicted::Witness { name, against }.into());
                }
                let of = format!(
                    "{against}; it has cosigned nothing since a rollback was accepted: tell it the log's new key, and to \
                     forget the old log"
                );
                Err(anyhow::Error::new(against).context(of))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A full disk does not keep a checkpoint from being cosigned, or the broker from starting.
    async fn keep_known(&self) -> anyhow::Result<()> {
        if self.known.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.kept.cosigns(&self.key).await {
            Ok(()) => self.known.store(true, Ordering::Release),
            Err(error) => {
                let name = self.party.name();
                tracing::warn!(name, %error, "that a witness has cosigned the log cannot be kept; tried again");
            }
        }
        Ok(())
    }
}
