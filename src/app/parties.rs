//! Those who hold the log to its word: its last checkpoint is sent to them, and what they have is held against it at the start,
//! before anything is issued. The store is the nearest of them; the others are outside.

mod copies;
mod given_up;
mod kept;
mod witnesses;

pub(super) use kept::{Kept, begin_anew};

use super::{World, files};
use crate::audit::{KeepError, Log, Party, PublishError, Published, Publisher, Web, WitnessError};
use crate::config;
use crate::keys::Kek;
use crate::lifecycle::Lifecycle;
use crate::limits;
use anyhow::{Context as _, anyhow};
use copies::Copy;
use given_up::GivenUp;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use witnesses::Cosigner;

/// All who are sent checkpoints.
#[derive(Clone, Debug)]
pub(super) struct Parties {
    kept: Kept,
    copies: Arc<[Copy]>,
    witnesses: Arc<[Cosigner]>,
}

/// What one of them has against the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Contradicted {
    #[error("{place}: {against}")]
    Checkpoint {
        place: String,
        against: PublishError,
    },
    #[error("the witness {name}: {against}")]
    Witness { name: String, against: WitnessError },
}

impl Parties {
    pub(super) fn new(
        config: &config::Log,
        folder: &Path,
        log: &Log,
        kek: &Kek,
        kept: &Kept,
    ) -> anyhow::Result<Self> {
        let given_up = GivenUp::open(folder, log, kek);
        let given_up =
            given_up.context("what the log's folder tells of old logs cannot be read")?;
        let copies = config.copies.iter().map(|of| Copy::new(of, &given_up));
        let copies: anyhow::Result<Vec<_>> = copies.collect();
        let witnesses = config.witnesses.iter();
        let witnesses = witnesses.map(|of| Cosigner::new(of, kept));
        let witnesses: anyhow::Result<Vec<_>> = witnesses.collect();
        Ok(Self {
            kept: kept.clone(),
            copies: copies?.into(),
            witnesses: witnesses?.into(),
        })
    }

    /// Holds the log against what they have of it, before anything is issued. Who cannot be asked is passed over, but for the
    /// store and a copy that is required.
    pub(super) async fn ask(&self, publisher: &Arc<Publisher>, log: &Log) -> anyhow::Result<()> {
        if let Some(note) = self.kept.checkpoint().await? {
            let place = "the log's checkpoint in the store".to_owned();
            hold(note.into(), place, |_| false, publisher, log).await?;
        }
        for copy in &*self.copies {
            copy.ask(publisher, log).await?;
        }
        // After the copies: a witness that knows less would cosign what a copy shows to be another log.
        let mut asking = JoinSet::new();
        for cosigner in &*self.witnesses {
            let (cosigner, publisher, log) = (cosigner.clone(), Arc::clone(publisher), log.clone());
            asking.spawn(async move { cosigner.ask(&publisher, &log).await });
        }
        // Each to its end: what one of them still wrote would be written into the log that comes after a rollback.
        let mut all = Ok(());
        while let Some(asked) = asking.join_next().await {
            all = all.and(asked.context("a witness cannot be asked").flatten());
        }
        all
    }

    /// What the copies say is of a log that was given up: they are overwritten.
    pub(super) fn give_up(&self) {
        for copy in &*self.copies {
            copy.met.store(true, Ordering::Release);
        }
    }

    /// Sends each checkpoint on from now on.
    pub(super) fn start(&self, world: &World, publisher: &Arc<Publisher>, log: &Log) {
        let copies = self.copies.iter().map(|copy| &copy.party);
        let parties = copies.chain(self.witnesses.iter().map(|one| &one.party));
        let _first_stays = log.stats().parties.set(parties.cloned().collect());
        for copy in self.copies.iter().cloned() {
            let party = Arc::clone(&copy.party);
            let (publisher, log) = (Arc::clone(publisher), log.clone());
            let (news, lifecycle) = (publisher.follow(), world.lifecycle.clone());
            let send = move |last: Arc<Published>| {
                let (copy, publisher, log) = (copy.clone(), Arc::clone(&publisher), log.clone());
                let lifecycle = lifecycle.clone();
                async move {
                    let met = copy.meet(&publisher, &log).await;
                    met.inspect_err(|error| fail_if_contradicted(&lifecycle, error))?;
                    Ok::<_, anyhow::Error>(copy.keeper.keep(&last.note).await?)
                }
            };
            spawn(world, "copy", follow(news, party, send));
        }
        for cosigner in self.witnesses.iter().cloned() {
            let party = Arc::clone(&cosigner.party);
            let (publisher, log) = (Arc::clone(publisher), log.clone());
            let (news, lifecycle) = (publisher.follow(), world.lifecycle.clone());
            let send = move |last: Arc<Published>| {
                let (cosigner, publisher) = (cosigner.clone(), Arc::clone(&publisher));
                let (log, lifecycle) = (log.clone(), lifecycle.clone());
                async move {
                    let cosigned = cosigner.cosign(&publisher, &last, &log).await;
                    cosigned.inspect_err(|error| fail_if_contradicted(&lifecycle, error))
                }
            };
            spawn(world, "witness", follow(news, party, send));
        }
    }

    /// The last checkpoint, to the store, if it has it not; and that the log has ended with it.
    pub(super) async fn keep(&self, last: &Published, ended: bool) {
        if let Err(error) = self.kept.keep(last, ended).await
            && self.kept.is_first_failure()
        {
            tracing::warn!(%error, "the log's last checkpoint is not kept in the store; tried again later");
        }
    }

    /// The last checkpoint, to those who have it not: one attempt, and not for long. The store is given `last`, be it one that
    /// could not be published; `ended` says that it is of all records, and that no other one comes.
    pub(super) async fn part(&self, publisher: &Publisher, last: &Published, ended: bool) {
        if timeout(limits::STORE_LAST, self.keep(last, ended))
            .await
            .is_err()
        {
            tracing::warn!("the store does not answer: it has not the log's last checkpoint");
        }
        let Some(last) = publisher.published() else {
            return;
        };
        let mut sending = JoinSet::new();
        for copy in self.copies.iter().cloned() {
            if !copy.met.load(Ordering::Acquire) {
                continue;
            }
            let last = Arc::clone(&last);
            sending.spawn(async move {
                let sent = timeout(limits::LOG_PARTING, copy.keeper.keep(&last.note)).await;
                told(&copy.party, &last, sent.unwrap_or(Err(KeepError::Slow)));
            });
        }
        while sending.join_next().await.is_some() {}
    }
}

/// Holds the log against a checkpoint of it that `place` has, but for one of another log that is excused.
async fn hold(
    note: Vec<u8>,
    place: String,
    is_excused: impl FnOnce(&[u8]) -> bool + Send + 'static,
    publisher: &Arc<Publisher>,
    log: &Log,
) -> anyhow::Result<()> {
    let (publisher, durable) = (Arc::clone(publisher), log.durable());
    let held = move || match publisher.has_grown_from(&note, durable) {
        Err(PublishError::Foreign(_)) if is_excused(&note) => Ok(()),
        held => held,
    };
    let held = tokio::task::spawn_blocking(held).await;
    let held = held.with_context(|| format!("the log cannot be held against {place}"))?;
    held.map_err(|against| match against.contradicts() {
        true => Contradicted::Checkpoint { place, against }.into(),
        // Not what was found, but that it could not be looked for.
        false => anyhow!(against).context(format!("the log cannot be held against {place}")),
    })
}

/// Whether an error is of what somebody has against the log, its own tree included, and not of what keeps them from being asked.
pub(super) fn is_contradicted(error: &anyhow::Error) -> bool {
    let own = error.downcast_ref::<PublishError>();
    error.is::<Contradicted>() || own.is_some_and(PublishError::contradicts)
}

/// What was away at the start, and has something against the log, ends what would not have begun.
fn fail_if_contradicted(lifecycle: &Lifecycle, error: &anyhow::Error) {
    if error.is::<Contradicted>() {
        lifecycle.fail(format!("{error:#}"));
    }
}

/// Runs until nothing is asked any more.
fn spawn(world: &World, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let quiet = world.lifecycle.quiet().clone();
    world.lifecycle.spawn(name, async move {
        quiet.run_until_cancelled(work).await;
        quiet.cancelled().await;
        Ok::<_, anyhow::Error>(())
    });
}

/// How a server is reached, by its own CAs.
fn web(server: &config::Server) -> anyhow::Result<Web> {
    let roots = files::roots(&server.ca)?;
    Web::new(&roots).with_context(|| server.ca.display().to_string())
}

/// Sends each checkpoint, the latest alone, and what fails again, less and less often.
async fn follow<F, E>(
    mut news: watch::Receiver<Option<Arc<Published>>>,
    party: Arc<Party>,
    mut send: impl FnMut(Arc<Published>) -> F,
) where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let mut pause = limits::LOG_PARTY_RETRY_MIN;
    loop {
        let last = news.borrow_and_update().clone();
        let sent = match &last {
            Some(last) => told(&party, last, send(Arc::clone(last)).await),
            None => true,
        };
        if sent {
            pause = limits::LOG_PARTY_RETRY_MIN;
            if news.changed().await.is_err() {
                return;
            }
        } else {
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(limits::LOG_PARTY_RETRY_MAX);
        }
    }
}

/// Counts what became of a checkpoint, and answers whether it was taken. The first of several failures is told.
fn told<E: Display>(party: &Party, last: &Published, sent: Result<(), E>) -> bool {
    let size = last.checkpoint.size;
    let name = party.name();
    match sent {
        Ok(()) => {
            if party.took(size) {
                tracing::info!(name, size, "the log's checkpoints are taken");
            }
            true
        }
        Err(error) => {
            if party.failed() {
                tracing::warn!(name, size, %error, "a checkpoint of the log is not taken; tried again");
            }
            false
        }
    }
}
