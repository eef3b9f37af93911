//! Those outside who hold the log to its word: copies of its last checkpoint are sent to them, and read back at the start.

use super::{World, files};
use crate::audit::{
    FileKeeper, KeepError, Keeper, Log, Party, PartyKind, PublishError, Published, Publisher, Web,
    WebKeeper, Witness,
};
use crate::config::{self, CopyPlace};
use crate::limits;
use anyhow::{Context as _, anyhow};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A place for copies, and how it fares.
#[derive(Clone, Debug)]
struct Copy {
    keeper: Keeper,
    required: bool,
    /// Whether the log was held against what is there. Before that it is not overwritten: it may say that the log lost
    /// records.
    met: Arc<AtomicBool>,
    party: Arc<Party>,
}

impl Copy {
    /// Holds the log against what is there, if that could not be done at the start.
    async fn meet(&self, publisher: &Arc<Publisher>, log: &Log) -> anyhow::Result<()> {
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
        let (publisher, durable) = (Arc::clone(publisher), log.durable());
        let held = move || publisher.has_grown_from(&note, durable);
        let held = tokio::task::spawn_blocking(held).await;
        let held = held.context("the log cannot be held against a copy")?;
        held.map_err(|against| Contradicted::or_fault(self.keeper.to_string(), against))
    }
}

/// All who are sent checkpoints.
#[derive(Clone, Debug)]
pub(super) struct Parties {
    copies: Arc<[Copy]>,
    witnesses: Arc<[(Arc<Witness>, Arc<Party>)]>,
}

/// What a copy has against the log.
#[derive(Debug, thiserror::Error)]
#[error("the copy of the log's checkpoint at {place}: {against}")]
pub(super) struct Contradicted {
    place: String,
    against: PublishError,
}

impl Contradicted {
    /// What was found; not that it could not be looked for.
    fn or_fault(place: String, against: PublishError) -> anyhow::Error {
        match against {
            PublishError::Behind { .. } | PublishError::Forked(_) | PublishError::Foreign(_) => {
                Self { place, against }.into()
            }
            fault => anyhow!(fault).context(format!(
                "the log cannot be held against the copy of its checkpoint at {place}"
            )),
        }
    }
}

impl Parties {
    pub(super) fn new(config: &config::Log) -> anyhow::Result<Self> {
        let copies: anyhow::Result<Vec<Copy>> = config.copies.iter().map(copy).collect();
        let witnesses: anyhow::Result<Vec<_>> = config.witnesses.iter().map(witness).collect();
        Ok(Self {
            copies: copies?.into(),
            witnesses: witnesses?.into(),
        })
    }

    /// Holds the log against what was published of it, before anything is issued. A copy that cannot be read is passed
    /// over, unless it is required; one that is not there yet says nothing.
    pub(super) async fn ask(&self, publisher: &Arc<Publisher>, log: &Log) -> anyhow::Result<()> {
        let published = publisher.published().map_or(0, |last| last.checkpoint.size);
        for copy in &*self.copies {
            let place = copy.keeper.to_string();
            // A file may be on a mount that hangs.
            let kept = timeout(limits::LOG_PARTY_CALL, copy.keeper.kept()).await;
            let note = match kept.unwrap_or(Err(KeepError::Slow)) {
                Ok(Some(note)) => note,
                Ok(None) if copy.required && published > 0 => {
                    return Err(anyhow!(
                        "there is no copy of the log's checkpoint at {place}, and one is required: put one there, \
                         the log's own `checkpoint` if there never was another"
                    ));
                }
                Ok(None) => {
                    tracing::warn!(%place, "no copy of the log's checkpoint is there yet");
                    copy.met.store(true, Ordering::Release);
                    continue;
                }
                Err(error) if copy.required => {
                    return Err(anyhow!(error).context(format!(
                        "the copy of the log's checkpoint at {place} cannot be read, and is required"
                    )));
                }
                Err(error) => {
                    copy.party.failed();
                    tracing::warn!(%place, %error, "a copy of the log's checkpoint cannot be read: nothing is held against it");
                    continue;
                }
            };
            copy.hold(note, publisher, log).await?;
            copy.met.store(true, Ordering::Release);
        }
        Ok(())
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
        let parties = copies.chain(self.witnesses.iter().map(|(_, party)| party));
        let _first_stays = log.stats().parties.set(parties.cloned().collect());
        for copy in self.copies.iter().cloned() {
            let party = Arc::clone(&copy.party);
            let (publisher, log) = (Arc::clone(publisher), log.clone());
            let (news, lifecycle) = (publisher.follow(), world.lifecycle.clone());
            let send = move |last: Arc<Published>| {
                let (copy, publisher, log) = (copy.clone(), Arc::clone(&publisher), log.clone());
                let lifecycle = lifecycle.clone();
                async move {
                    if let Err(error) = copy.meet(&publisher, &log).await {
                        if error.is::<Contradicted>() {
                            lifecycle.fail(format!("{error:#}"));
                        }
                        return Err(error);
                    }
                    Ok::<_, anyhow::Error>(copy.keeper.keep(&last.note).await?)
                }
            };
            spawn(world, "copy", follow(news, party, send));
        }
        for (witness, party) in self.witnesses.iter().cloned() {
            let (news, publisher) = (publisher.follow(), Arc::clone(publisher));
            let send = move |last: Arc<Published>| {
                let (witness, publisher) = (Arc::clone(&witness), Arc::clone(&publisher));
                async move { witness.cosign(&publisher, &last).await }
            };
            spawn(world, "witness", follow(news, party, send));
        }
    }

    /// The last checkpoint, to those who have it not: one attempt, and not for long.
    pub(super) async fn part(&self, publisher: &Publisher) {
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

/// Runs until nothing is asked any more.
fn spawn(world: &World, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let quiet = world.lifecycle.quiet().clone();
    world.lifecycle.spawn(name, async move {
        quiet.run_until_cancelled(work).await;
        quiet.cancelled().await;
        Ok::<_, anyhow::Error>(())
    });
}

fn witness(configured: &config::LogWitness) -> anyhow::Result<(Arc<Witness>, Arc<Party>)> {
    let config::LogWitness { server, key } = configured;
    let party = Party::new(PartyKind::Witness, key.name().to_owned());
    let witness = Witness::new(web(server)?, server.url.clone(), key.clone());
    Ok((Arc::new(witness), Arc::new(party)))
}

fn copy(configured: &config::LogCopy) -> anyhow::Result<Copy> {
    let keeper = match &configured.place {
        CopyPlace::File(path) => Keeper::File(FileKeeper::new(path.clone())),
        CopyPlace::Web { server, token_file } => Keeper::Web(WebKeeper {
            web: web(server)?,
            url: server.url.clone(),
            token: token_file.clone(),
        }),
    };
    let party = Party::new(PartyKind::Copy, keeper.to_string());
    Ok(Copy {
        keeper,
        required: configured.required,
        met: Arc::default(),
        party: Arc::new(party),
    })
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
