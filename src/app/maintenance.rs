//! What an operator asks of this node.

use crate::administration::{Author, Copied, Maintenance};
use crate::audit::{Act, ActKind, CLOCK_CONFIRMED, Log};
use crate::clock::guard::TimeGuard;
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::store::Reply;
use crate::store::embedded::{EmbeddedStore, OpenError};
use crate::store::mark::{self, Mark};
use jiff::Timestamp;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// This node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) store: Arc<EmbeddedStore>,
    /// The folder of store and log: no copy is put there.
    pub(super) data: PathBuf,
    pub(super) guard: Arc<TimeGuard>,
    pub(super) log: Log,
}

impl Node {
    async fn recorded(
        &self,
        action: &'static str,
        change: &str,
        author: &Author,
    ) -> Result<(), Denial> {
        let who = author.who.to_string();
        let act = Act {
            context: Some(&author.context),
            sub: Some(&who),
            change: Some(change),
            ..Act::new(ActKind::Admin, action)
        };
        self.log.event(&act).await.map(drop)
    }
}

impl Maintenance for Node {
    fn backup<'a>(
        &'a self,
        path: &'a Path,
        author: &'a Author,
    ) -> Reply<'a, Result<Copied, Denial>> {
        Box::pin(async move {
            if !path.is_absolute() {
                return Err(Refusal::new(
                    Code::InvalidRequest,
                    "path: must be absolute on the broker's host",
                )
                .into());
            }
            let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
            let data = self.data.canonicalize().ok();
            if let (Some(folder), Some(data)) = (folder, data)
                && folder.starts_with(data)
            {
                let cause = "path: is in the broker's own data folder; copies belong elsewhere";
                return Err(Refusal::new(Code::InvalidRequest, cause).into());
            }
            let target = serde_json::json!({ "path": path }).to_string();
            self.recorded("store.backup", &target, author).await?;
            let revision = self.store.backup(path).await.map_err(not_copied)?;
            let copy = tokio::fs::metadata(path).await;
            let copy = copy.map_err(|error| unavailable(&error))?;
            Ok(Copied {
                revision,
                bytes: copy.len(),
            })
        })
    }

    fn confirm_clock<'a>(&'a self, author: &'a Author) -> Reply<'a, Result<Timestamp, Denial>> {
        Box::pin(async move {
            let before = self.guard.mark().map(|mark| mark.to_string());
            let change =
                serde_json::json!({ "mark_before": before, "now": self.guard.wall() }).to_string();
            self.recorded(CLOCK_CONFIRMED, &change, author).await?;
            self.guard.confirm();
            let now = self
                .guard
                .now()
                .map_err(|error| Denial::failed(Fault::ClockUnsteady, error.to_string()))?;
            // Or the next start would ask the same question again.
            if let Some(mark) = Mark::of(&self.guard)
                && let Err(error) = mark::keep(&*self.store, mark).await
            {
                tracing::warn!(%error, "the store keeps the mark that was before");
            }
            Ok(now)
        })
    }
}

/// The path is the administrator's own choice: what is wrong with it is theirs to know, and to put right. A disk that is
/// full or fails is ours.
fn not_copied(error: OpenError) -> Denial {
    let their_choice = match &error {
        OpenError::Copying => return Refusal::new(Code::Conflict, error.to_string()).into(),
        OpenError::Exists(_) => true,
        OpenError::Io { error, .. } => matches!(
            error.kind(),
            ErrorKind::NotFound
                | ErrorKind::PermissionDenied
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::InvalidFilename
                | ErrorKind::ReadOnlyFilesystem
        ),
        OpenError::Damaged { .. }
        | OpenError::InUse(_)
        | OpenError::NoRandomness(_)
        | OpenError::NotAStore { .. }
        | OpenError::Orphaned(_)
        | OpenError::Unusable { .. }
        | OpenError::Version { .. } => false,
    };
    match their_choice {
        true => Refusal::new(Code::InvalidRequest, format!("path: {error}")).into(),
        false => unavailable(&error),
    }
}

fn unavailable(error: &dyn std::error::Error) -> Denial {
    tracing::warn!(%error, "no backup was made");
    Denial::failed(Fault::StoreUnavailable, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_path_is_the_callers_to_put_right() {
        let io = |kind: ErrorKind| OpenError::Io {
            path: "/copy".into(),
            error: kind.into(),
        };
        let unusable = OpenError::Unusable {
            path: "/copy".into(),
            what: "database or disk is full".into(),
        };
        for (error, code) in [
            (OpenError::Exists("/copy".into()), "invalid_request"),
            (io(ErrorKind::NotFound), "invalid_request"),
            (io(ErrorKind::ReadOnlyFilesystem), "invalid_request"),
            (OpenError::Copying, "conflict"),
            (io(ErrorKind::StorageFull), "store_unavailable"),
            (unusable, "store_unavailable"),
        ] {
            let text = error.to_string();
            assert_eq!(not_copied(error).code(), code, "{text}");
        }
    }
}
