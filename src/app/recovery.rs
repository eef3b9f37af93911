//! Before anything is served: store and log each hold the other's last position. If the store is behind (an
//! old backup was put back), what must never be lost is done again from the log; where that cannot be complete,
//! the broker does not start unless the operator accepts it.

use super::parties::{Kept, begin_anew};
use crate::administration::suspend_limited;
use crate::audit::{
    Act, ActKind, Author, Device, Disk, Drained, Log, Logged, Publisher, ROLLBACK_ACCEPTED,
    Recovered, read,
};
use crate::clock::guard::TimeGuard;
use crate::inventory::KEY_PREFIX;
use crate::store::embedded::EmbeddedStore;
use crate::store::recovery::{LogEnd, Recovery, accept_rollback, decide, redo};
use crate::store::{LogPosition, Revision, Store, StoreMember, load_all};
use anyhow::{Context as _, anyhow};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// What else can be done where a start would go on from what is not all there.
pub(super) const WAY_OUT: &str = "start with --accept-rollback, which suspends all use-limited keys and cuts off all \
                                  tokens so far";

/// What is read of a record.
#[derive(Deserialize)]
struct Member<'a> {
    #[serde(borrow)]
    store: Option<&'a RawValue>,
    store_after: Option<u64>,
    #[serde(borrow)]
    store_mac: Option<Cow<'a, str>>,
}

/// A change of the store, as a record has it.
struct Change {
    /// The record that has the one before it.
    after: Option<u64>,
    member: String,
}

/// The change of the store that a record is of, if it is of one. Somebody else may have put it there.
fn change_of(entry: &read::Entry, author: &Author) -> anyhow::Result<Option<Change>> {
    let sequence = entry.sequence;
    let read = serde_json::from_slice::<Member<'_>>(&entry.line);
    let read = read.with_context(|| format!("record {sequence} cannot be read"))?;
    let Some(member) = read.store.map(RawValue::get) else {
        return Ok(None);
    };
    let (after, tag) = (read.store_after, read.store_mac.unwrap_or_default());
    if !author.wrote(sequence, after, member, &tag) {
        return Err(anyhow!(
            "record {sequence} has a change of the store that this broker did not write there"
        ));
    }
    let member = member.to_owned();
    Ok(Some(Change { after, member }))
}

/// What store and log are to agree on.
pub(super) struct Recovering<'a> {
    pub(super) store: &'a EmbeddedStore,
    pub(super) disk: &'a Arc<Disk>,
    pub(super) log: &'a Log,
    pub(super) guard: &'a TimeGuard,
    pub(super) kept: &'a Kept,
    /// Go on although something is lost.
    pub(super) accept: bool,
}

impl Recovering<'_> {
    /// Brings the store up to the log, once that is `proven` to be the one that was published: what is done again here stays
    /// done, whatever becomes of the start.
    pub(super) async fn bring_up(
        &self,
        recovered: &Recovered,
        proven: impl AsyncFnOnce() -> anyhow::Result<Arc<Publisher>>,
    ) -> anyhow::Result<()> {
        let end = recovered.next.checked_sub(1).map(|sequence| LogEnd {
            log: self.log.id(),
            sequence,
            taken: recovered.drained.map(|drained| drained.revision),
            taken_at: recovered.drained.map(|drained| drained.sequence),
        });
        match decide(&self.store.lineage().await?, end.as_ref()) {
            Recovery::InStep => {}
            Recovery::Untold(position) => match self.has_taken(recovered.drained) {
                Ok(()) => {
                    // A full disk is no reason not to start: what the log has is skipped when the outbox is drained.
                    if let Err(error) = self.store.drained(position).await {
                        tracing::warn!(%error, "the store does not take how far the log has come");
                    }
                }
                Err(error) if self.accept => {
                    tracing::warn!(%error, "the log does not hold what it says of the store");
                    self.roll_back().await?;
                }
                Err(error) => {
                    return Err(error.context(format!(
                        "the log does not hold what it says of the store: put the log's folder back as it was, or {WAY_OUT}"
                    )));
                }
            },
            Recovery::StoreBehind { from_sequence } => {
                let (Some(end), Some(taken)) = (&end, recovered.drained) else {
                    return Err(anyhow!(
                        "the log does not say how far it had taken the store over"
                    ));
                };
                let replayed = async {
                    let publisher = proven().await?;
                    self.replay(publisher, end, taken.revision, from_sequence)
                        .await
                };
                match replayed.await {
                    Ok(()) => {
                        note(self.log, "recovery.replay", from_sequence, end.sequence).await?
                    }
                    Err(error) if self.accept => {
                        tracing::warn!(%error, "the log cannot give back all that the store lost");
                        self.roll_back().await?;
                    }
                    Err(error) => {
                        return Err(error.context(format!(
                            "the log cannot give back all that the store lost: put back a newer backup, or {WAY_OUT}"
                        )));
                    }
                }
            }
            Recovery::LogBehind | Recovery::Foreign if self.accept => self.roll_back().await?,
            Recovery::LogBehind => {
                return Err(anyhow!(
                    "the log lacks records that the store saw: put the log's folder back as it was, or {WAY_OUT}"
                ));
            }
            Recovery::Foreign => {
                return Err(anyhow!(
                    "store and log do not belong together: put back the two of one time, or {WAY_OUT}"
                ));
            }
        }
        Ok(())
    }

    /// Whether the last change of the store that the log seems to have taken over is one that it has: what waits in the outbox
    /// up to there is not written again.
    fn has_taken(&self, taken: Option<Drained>) -> anyhow::Result<()> {
        let taken = taken.context("the log does not say how far it had taken the store over")?;
        let device: Arc<dyn Device> = self.disk.clone();
        let entry = read::records(device, taken.sequence)?.next();
        let entry = entry.context("the log's last change of the store is not there")??;
        let change = change_of(&entry, &self.log.author())?.map(|change| change.member);
        let change: Option<StoreMember> =
            change.as_deref().map(serde_json::from_str).transpose()?;
        match change.is_some_and(|change| change.rev == taken.revision) {
            true => Ok(()),
            false => Err(anyhow!(
                "record {} is not the log's last change of the store",
                taken.sequence
            )),
        }
    }

    async fn replay(
        &self,
        publisher: Arc<Publisher>,
        end: &LogEnd,
        taken: Revision,
        from: u64,
    ) -> anyhow::Result<()> {
        let (store, author) = (self.store, self.log.author());
        let lineage = store.lineage().await?;
        let logged = Logged::new(self.disk.clone(), publisher);
        let device: Arc<dyn Device> = self.disk.clone();
        // The last change that was met; none before the first one.
        let mut last = None;
        let known = lineage.log.map(|known| known.sequence);
        let members = read::records(device, from)?.filter_map(|entry| {
            let change = entry.and_then(|entry| logged.held(entry));
            let change = change.map_err(anyhow::Error::from).and_then(|entry| {
                let change = change_of(&entry, &author)?;
                Ok(change.map(|change| (entry.sequence, change)))
            });
            let (sequence, Change { after, member }) = match change.transpose()? {
                Err(error) => return Some(Err(format!("{error:#}"))),
                Ok(change) => change,
            };
            let follows = match last.replace(sequence) {
                None => after <= known,
                last => after == last,
            };
            Some(match follows {
                true => Ok((sequence, member)),
                false => Err(format!(
                    "the change of the store before that of record {sequence} is gone"
                )),
            })
        });
        let lost = redo(&lineage, taken, members)?;
        tracing::warn!(
            changes = lost.len(),
            "the store is behind the log: revocations and spends are done again"
        );
        store.renew().await?;
        // It knows of an earlier end, and the log is written from here on.
        self.kept.go_on().await?;
        let position = LogPosition {
            log: end.log,
            sequence: end.sequence,
            counter: lost.held,
        };
        for batch in lost.batches()? {
            store
                .commit(batch)
                .await
                .context("what the store lost cannot be done again")?;
        }
        Ok(store.drained(position).await?)
    }

    /// Goes on from what there is, as another log. Nothing that was issued before is worth anything from now on.
    pub(super) async fn roll_back(&self) -> anyhow::Result<()> {
        let Self {
            store,
            disk,
            log,
            guard,
            ..
        } = self;
        // First: the log may hold counters of this incarnation with other content, and would take what is committed under
        // them now for what it has.
        store.renew().await?;
        // The log may be an older copy, which comes by sequences once more that some backup knows: none of those positions
        // says anything of what is written from now on.
        log.begin_anew()
            .await
            .context("the log cannot be begun anew")?;
        // Tokens carry times up to the mark, whatever the clock says by now.
        let now = guard.latest();
        tracing::warn!(
            "the rollback is accepted: use-limited keys are suspended, tokens so far are cut off"
        );
        let keys = load_all(*store, KEY_PREFIX).await?;
        let suspensions =
            suspend_limited(&keys, log.encoder()).context("a key cannot be suspended")?;
        let change = serde_json::json!({ "cut_off": now }).to_string();
        let act = Act {
            change: Some(&change),
            ..Act::new(ActKind::Recovery, ROLLBACK_ACCEPTED)
        };
        let record = log.encoder().act(&act)?;
        let cutoff = accept_rollback(*store, now, suspensions, record.as_bytes()).await?;
        // Whole seconds count, so that a token of this very second would be cut off with those before. Not raised again at
        // each start: the mark is kept, and an operator may have said meanwhile that it came from a wrong clock.
        guard.raise(cutoff.at.saturating_add(SignedDuration::from_secs(1))?);
        disk.forget_acknowledged()
            .context("it is still known what the log lost")?;
        begin_anew(*store)
            .await
            .context("it is still known what was published of the log")?;
        // Last: as long as the old position stands, a start is refused, and a crash in between loses nothing.
        Ok(store.forget_log().await?)
    }
}

async fn note(log: &Log, action: &'static str, from: u64, to: u64) -> anyhow::Result<()> {
    let change = serde_json::json!({ "from": from, "to": to }).to_string();
    let act = Act {
        change: Some(&change),
        ..Act::new(ActKind::Recovery, action)
    };
    log.event(&act)
        .await
        .map(drop)
        .context("the recovery cannot be put on the record")
}
