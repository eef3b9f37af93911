//! Whether this node should get traffic, and if not, why.

use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// Named conditions. The node is ready while all of them hold.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Sender<BTreeMap<&'static str, Option<Cow<'static, str>>>>);

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotReady {
    /// Its name.
    pub condition: &'static str,
    /// Why it does not hold.
    pub reason: Cow<'static, str>,
}

impl Readiness {
    /// Not ready: each of `conditions` is still to be met.
    #[must_use]
    pub fn new(conditions: &[&'static str]) -> Self {
        let starting = |name: &&'static str| (*name, Some(Cow::Borrowed("starting")));
        Self(watch::Sender::new(
            conditions.iter().map(starting).collect(),
        ))
    }

    /// `condition` holds.
    pub fn met(&self, condition: &'static str) {
        self.set(condition, None);
    }

    /// `condition` does not hold, because of `reason`.
    pub fn unmet(&self, condition: &'static str, reason: impl Into<Cow<'static, str>>) {
        self.set(condition, Some(reason.into()));
    }

    /// All that keeps the node from being ready.
    #[must_use]
    pub fn reasons(&self) -> Vec<NotReady> {
        let conditions = self.0.borrow();
        let unmet = conditions.iter().filter_map(|(condition, reason)| {
            Some(NotReady {
                condition,
                reason: reason.clone()?,
            })
        });
        unmet.collect()
    }

    /// Waits until readiness is `ready`. The gRPC health service does not follow it: calls are answered as long as the
    /// node serves, those that put right what is missing among them.
    pub async fn becomes(&self, ready: bool) {
        let mut changes = self.0.subscribe();
        let reached =
            |conditions: &BTreeMap<_, Option<_>>| conditions.values().all(Option::is_none) == ready;
        // The sender lives as long as `self`, so this waits and never fails.
        let _reached = changes.wait_for(reached).await;
    }

    fn set(&self, condition: &'static str, reason: Option<Cow<'static, str>>) {
        self.0
            .send_if_modified(|conditions| match conditions.get(condition) {
                Some(same) if *same == reason => false,
                _ => {
                    conditions.insert(condition, reason);
                    true
                }
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_only_while_every_condition_holds() {
        let readiness = Readiness::new(&["log", "store"]);
        assert_eq!(readiness.reasons().len(), 2);
        readiness.met("log");
        readiness.unmet("store", "stale for 61 s");
        let expected = NotReady {
            condition: "store",
            reason: "stale for 61 s".into(),
        };
        assert_eq!(readiness.reasons(), [expected]);
        readiness.becomes(false).await;
        let follower = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.becomes(true).await }
        });
        readiness.met("store");
        follower.await.unwrap();
        assert!(readiness.reasons().is_empty());
    }
}
