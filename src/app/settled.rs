//! When a change is in force: applied to this node's memory, and its record durable in the log.

use crate::administration::Settled;
use crate::audit::{Log, LogHealth, Outbox};
use crate::limits;
use crate::refusal::{Denial, Fault};
use crate::store::replica::Replica;
use crate::store::{Reply, Revision};

/// The replica, the outbox and the log together.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) replica: Replica,
    pub(super) outbox: Outbox,
    pub(super) log: Log,
}

impl Settled for InForce {
    fn settles(&self) -> Result<(), Denial> {
        match &*self.log.health() {
            LogHealth::Writing => Ok(()),
            LogHealth::Failed { cause, .. } => {
                Err(Denial::failed(Fault::LogUnavailable, cause.to_string()))
            }
        }
    }

    fn settled(&self, revision: Revision) -> Reply<'_, Result<(), Denial>> {
        Box::pin(async move {
            let applied = self.replica.applied(revision, limits::APPLY).await;
            applied.map_err(|error| Denial::failed(Fault::StoreUnavailable, error.to_string()))?;
            self.outbox.passed(revision).await
        })
    }

    fn reached(&self) -> Option<Revision> {
        let applied = self.replica.revision();
        let is_reached = self.replica.rejected().is_empty() && self.outbox.has_passed(&applied);
        is_reached.then_some(applied)
    }
}
