//! Before anything is served: store and log each hold the other's last position. If the store is behind (an
//! old backup was put back), what must never be lost is done again from the log; where that cannot be complete,
//! the broker does not start unless the operator accepts it.

use super::parties::{Kept, begin_anew, is_contradicted};
use crate::administration::suspend_limited;
use crate::audit::{
    Act, ActKind, Author, Check, Device, Disk, Drain, Drained, Log, Logged, Publisher,
    ROLLBACK_ACCEPTED, Recovered, read,
};
use crate::clock::guard::TimeGuard;
use crate::inventory::KEY_PREFIX;
use crate::store::embedded::EmbeddedStore;
use crate::store::recovery::{LogEnd, Recovery, Redo, RedoError, accept_rollback, decide, redo};
use crate::store::{LogPosition, Revision, Store, StoreMember, load_all};
use anyhow::{Context as _, anyhow};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What else can be done where a start would go on from what is not all there.
pub(super) const WAY_OUT: &str = "start with --accept-rollback, which suspends all use-limited keys and cuts off all \
                                  tokens so far";

/// What else helps where it is the log that is not as it was.
pub(super) const PUT_BACK: &str = "put the log's folder back as it was";

const UNTOLD: &str = "the log does not say how far it had taken the store over";

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
    pub(super) store: &'a Arc<EmbeddedStore>,
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
            Recovery::InStep => Ok(()),
            Recovery::Untold(position) => match self.has_taken(recovered.drained) {
                Ok(()) => {
                    // A full disk is no reason not to start: what the log has is skipped when the outbox is drained.
                    if let Err(error) = self.store.drained(position).await {
                        tracing::warn!(%error, "the store does not take how far the log has come");
                    }
                    Ok(())
                }
                Err(error) => {
                    let what = "the log does not hold what it says of the store";
                    self.go_on_without(what, PUT_BACK, Some(error)).await
                }
            },
            Recovery::StoreBehind { from_sequence } => {
                let given_back = async {
                    let publisher = proven().await?;
                    let taken = recovered.drained.context(UNTOLD)?;
                    self.given_back(publisher, taken.revision, from_sequence)
                        .await
                };
                match given_back.await {
                    Ok(lost) => {
                        let last = recovered.next.saturating_sub(1);
                        self.replay(lost, from_sequence..=last).await
                    }
                    Err(error) if error.is::<RedoError>() || is_contradicted(&error) => {
                        let what = "the log cannot give back all that the store lost";
                        self.go_on_without(what, "put back a newer backup", Some(error))
                            .await
                    }
                    // It could not be looked at.
                    Err(error) => Err(error),
                }
            }
            Recovery::LogBehind => {
                let what = "the log lacks records that the store saw";
                self.go_on_without(what, PUT_BACK, None).await
            }
            Recovery::Foreign => {
                let what = "store and log do not belong together";
                self.go_on_without(what, "put back the two of one time", None)
                    .await
            }
        }
    }

    /// What is wrong, and what would put it right: goes on from what there is, where that is accepted.
    async fn go_on_without(
        &self,
        what: &'static str,
        remedy: &str,
        why: Option<anyhow::Error>,
    ) -> anyhow::Result<()> {
        let told = format!("{what}: {remedy}, or {WAY_OUT}");
        let lost = match why {
            Some(why) => why.context(told),
            None => anyhow::Error::msg(told),
        };
        self.accepted(lost)?;
        self.roll_back().await
    }

    /// Whether the broker goes on although this is lost.
    ///
    /// # Errors
    /// That very loss, where it is not accepted.
    pub(super) fn accepted(&self, lost: anyhow::Error) -> anyhow::Result<()> {
        if !self.accept {
            return Err(lost);
        }
        tracing::warn!(lost = format!("{lost:#}"), "this is accepted");
        Ok(())
    }

    /// Whether the last change of the store that the log seems to have taken over is one that it has: what waits in the outbox
    /// up to there is not written again.
    fn has_taken(&self, taken: Option<Drained>) -> anyhow::Result<()> {
        let taken = taken.context(UNTOLD)?;
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

    /// What the store lost, by the log from the record `from` on: each change held to the tree, and known to be the broker's.
    async fn given_back(
        &self,
        publisher: Arc<Publisher>,
        taken: Revision,
        from: u64,
    ) -> anyhow::Result<Redo> {
        let (store, author) = (self.store, self.log.author());
        let lineage = store.lineage().await?;
        let (logged, mut check) = (Logged::new(self.disk.clone(), publisher), Check::default());
        let device: Arc<dyn Device> = self.disk.clone();
        // The last change that was met; none before the first one.
        let mut last = None;
        let known = lineage.log.map(|known| known.sequence);
        let members = read::records(device, from)?.filter_map(|entry| {
            let change = entry.and_then(|entry| check.held(&logged, entry));
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
        Ok(redo(&lineage, taken, members)?)
    }

    /// Has the store make the changes again that it lost, which are in these records.
    async fn replay(&self, lost: Redo, records: RangeInclusive<u64>) -> anyhow::Result<()> {
        tracing::warn!(
            changes = lost.len(),
            "the store is behind the log: revocations and spends are done again"
        );
        self.store.renew().await?;
        // It knows of an earlier end, and the log is written from here on.
        self.kept.go_on().await?;
        let position = LogPosition {
            log: self.log.id(),
            sequence: *records.end(),
            counter: lost.held,
        };
        for batch in lost.batches()? {
            let redone = self.store.commit(batch).await;
            redone.context("what the store lost cannot be done again")?;
        }
        self.store.drained(position).await?;
        note(self.log, "recovery.replay", records).await
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
        // Tokens carry times up to the mark, whatever the clock says by now. Not up to where it was before somebody confirmed an
        // earlier time: what is cut off stays so, and nothing could be issued until then.
        let now = guard.reached();
        if let Some(from) = guard.confirmed_from() {
            tracing::warn!(
                until = %from,
                "what was issued while the clock was ahead is not cut off: withdraw the keys that signed it by `cambist \
                 signing-key rotate --compromised`"
            );
        }
        tracing::warn!(
            "the rollback is accepted: use-limited keys are suspended, tokens so far are cut off"
        );
        let keys = load_all(&***store, KEY_PREFIX).await?;
        let suspensions =
            suspend_limited(&keys, log.encoder()).context("a key cannot be suspended")?;
        let change = serde_json::json!({ "cut_off": now }).to_string();
        let act = Act {
            change: Some(&change),
            ..Act::new(ActKind::Recovery, ROLLBACK_ACCEPTED)
        };
        let record = log.encoder().act(&act)?;
        let cutoff = accept_rollback(&***store, now, suspensions, record.as_bytes()).await?;
        // Whole seconds count, so that a token of this very second would be cut off with those before. Not raised again at
        // each start: the mark is kept, and an operator may have said meanwhile that it came from a wrong clock.
        guard.raise(cutoff.at.saturating_add(SignedDuration::from_secs(1))?);
        disk.forget_acknowledged()
            .context("it is still known what the log lost")?;
        begin_anew(&***store)
            .await
            .context("it is still known what was published of the log")?;
        // Last: as long as the old position stands, a start is refused, and a crash in between loses nothing. What comes next
        // may fail: the log is left with a change of the store that it has under its new name.
        let store: Arc<dyn Store> = Arc::clone(store) as _;
        let drain = Drain::at_once(store, (*log).clone()).await;
        drain.context("the rollback cannot be put on the record")
    }
}

async fn note(log: &Log, action: &'static str, records: RangeInclusive<u64>) -> anyhow::Result<()> {
    let change = serde_json::json!({ "from": records.start(), "to": records.end() }).to_string();
    let act = Act {
        change: Some(&change),
        ..Act::new(ActKind::Recovery, action)
    };
    log.event(&act)
        .await
        .map(drop)
        .context("the recovery cannot be put on the record")
}
