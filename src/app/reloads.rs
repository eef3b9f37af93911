//! Files that were read again, on the record: what is in them decides who gets what.
//!
//! Once a change, and not once a look. While the log takes no record nothing is issued by what changes meanwhile: once it does
//! again, only what the files came to is told.

use super::World;
use crate::audit::{Act, ActKind, Log};
use crate::limits;
use anyhow::anyhow;
use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Value, json};
use std::fmt::Display;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// What was in a set of files.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    /// The digest of what was read.
    pub(super) sha256: String,
    /// What else is told of it.
    pub(super) says: Value,
}

/// What reading came to.
#[derive(Clone, Debug)]
struct State {
    /// What is in force.
    contents: Contents,
    /// What is wrong with what is in the files by now, if it was not taken.
    refused: Option<String>,
}

impl State {
    fn is_as(&self, other: &Self) -> bool {
        self.contents.sha256 == other.contents.sha256 && self.refused == other.refused
    }

    fn change(&self, before: &Self) -> String {
        let sha256 = &self.contents.sha256;
        let mut change = match &self.refused {
            Some(cause) => json!({ "in_force_sha256": sha256, "refused": cause }),
            None => json!({ "sha256": sha256, "before_sha256": before.contents.sha256 }),
        };
        if let (Some(change), Some(says), None) = (
            change.as_object_mut(),
            self.contents.says.as_object(),
            &self.refused,
        ) {
            change.extend(says.clone());
        }
        change.to_string()
    }
}

/// Tells of each change of a set of files.
#[derive(Debug)]
pub(super) struct Reloads {
    action: &'static str,
    state: watch::Sender<Option<State>>,
}

/// How long until a record is tried again, unless the log is known to be well before.
const AGAIN: Duration = Duration::from_secs(1);

impl Reloads {
    /// Records it as `action`.
    pub(super) fn new(action: &'static str) -> Self {
        let state = watch::Sender::new(None);
        Self { action, state }
    }

    /// Notes what reading came to.
    pub(super) fn note(&self, read: anyhow::Result<Contents>) -> anyhow::Result<()> {
        self.state.send_if_modified(|state| {
            let next = match (&read, &*state) {
                (Ok(contents), _) => State {
                    contents: contents.clone(),
                    refused: None,
                },
                (Err(error), Some(state)) => State {
                    refused: Some(brief(error)),
                    ..state.clone()
                },
                // That one keeps the broker from starting.
                (Err(_), None) => return false,
            };
            let is_new = state.as_ref().is_none_or(|state| !state.is_as(&next));
            *state = Some(next);
            is_new
        });
        read.map(drop)
    }

    /// Records what changes from now on, and answers what is there now.
    pub(super) fn follow(&self, world: &World, log: &Log) -> anyhow::Result<Contents> {
        let (mut states, log, action) = (self.state.subscribe(), log.clone(), self.action);
        let first = states.borrow_and_update().clone();
        let first = first.ok_or_else(|| anyhow!("{action}: nothing was read"))?;
        let (contents, quiet) = (first.contents.clone(), world.lifecycle.quiet().clone());
        world.lifecycle.spawn("reloads", async move {
            quiet
                .run_until_cancelled(record_all(states, first, &log, action))
                .await;
            quiet.cancelled().await;
            Ok::<_, anyhow::Error>(())
        });
        Ok(contents)
    }
}

async fn record_all(
    mut states: watch::Receiver<Option<State>>,
    mut told: State,
    log: &Log,
    action: &'static str,
) {
    let mut health = log.health_changes();
    while states.changed().await.is_ok() {
        loop {
            let state = states.borrow_and_update().clone();
            let Some(state) = state.filter(|state| !state.is_as(&told)) else {
                break;
            };
            let change = state.change(&told);
            let act = Act {
                change: Some(&change),
                ..Act::new(ActKind::Admin, action)
            };
            match log.event(&act).await {
                Ok(_) => told = state,
                Err(_) => drop(timeout(AGAIN, health.changed()).await),
            }
        }
    }
}

/// What is wrong, at the length of any reason.
fn brief(error: &impl Display) -> String {
    let mut text = error.to_string();
    let end = text.floor_char_boundary(limits::PURPOSE);
    text.truncate(end);
    text
}

/// The digest of parts, in hexadecimal. Each stands behind its length, so that no two lists have one digest.
pub(super) fn sha256<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut digest = Context::new(&SHA256);
    for part in parts {
        digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part);
    }
    let hex = |byte: &u8| format!("{byte:02x}");
    digest.finish().as_ref().iter().map(hex).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(text: &str) -> anyhow::Result<Contents> {
        Ok(Contents {
            sha256: text.to_owned(),
            says: json!({ "policies": 3 }),
        })
    }

    #[test]
    fn only_a_change_is_told_and_a_refusal_once() {
        let reloads = Reloads::new("policy.reload");
        let bad = |text: &str| Err(anyhow!("{text}"));
        reloads.note(contents("a")).unwrap();
        let mut states = reloads.state.subscribe();
        let mut step = |read: anyhow::Result<Contents>| {
            let before = states.borrow().clone().unwrap();
            let is_refused = read.is_err();
            assert_eq!(reloads.note(read).is_err(), is_refused);
            let changed = states.has_changed().unwrap();
            let state = states.borrow_and_update().clone().unwrap();
            changed.then(|| serde_json::from_str::<Value>(&state.change(&before)).unwrap())
        };
        assert_eq!(step(contents("a")), None);
        let taken = json!({ "sha256": "b", "before_sha256": "a", "policies": 3 });
        assert_eq!(step(contents("b")), Some(taken));
        let refused = json!({ "in_force_sha256": "b", "refused": "no" });
        assert_eq!(step(bad("no")), Some(refused));
        assert_eq!(step(bad("no")), None);
        assert!(step(bad("still no")).is_some());
        assert!(
            step(contents("b")).is_some(),
            "what is in the files is good"
        );
        assert_eq!(step(contents("b")), None);
    }

    #[test]
    fn what_is_wrong_is_told_up_to_n_bytes_and_not_n_plus_one() {
        let most = limits::PURPOSE;
        for (length, told) in [(most, most), (most + 1, most)] {
            assert_eq!(brief(&"x".repeat(length)).len(), told);
        }
        assert_eq!(brief(&"\u{fc}".repeat(most)).len(), most);
        assert_eq!(
            brief(&format!("x{}", "\u{fc}".repeat(most))).len(),
            most - 1
        );
    }

    #[test]
    fn parts_are_told_apart() {
        let of = |parts: &[&str]| sha256(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["a", "bc"]), of(&["ab", "c"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }
}
