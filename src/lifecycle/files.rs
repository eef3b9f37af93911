//! Files that are read again when they change.
//!
//! Changes are watched for *and* looked for: announcements get lost (over network file systems, with limits
//! on watches, when directories are swapped), and a certificate that was renewed unnoticed is an outage.

use super::{BoxError, Lifecycle, Reload};
use crate::limits;
use crate::telemetry::Metrics;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Writers take a moment: a certificate, then its key.
const SETTLE: Duration = Duration::from_millis(100);

/// A set of files that belong together.
#[derive(Debug)]
pub struct FileWatch {
    what: &'static str,
    paths: Vec<PathBuf>,
    poll: Duration,
    seen: Vec<Stamp>,
}

/// What tells one state of a file from another without reading it. `None`: not there.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

impl FileWatch {
    /// Takes note of the files as they are. Must come *before* they are read for the first time, so that a
    /// change in between is seen. `what` names them in logs and metrics.
    #[must_use]
    pub fn new(what: &'static str, paths: Vec<PathBuf>) -> Self {
        Self {
            what,
            poll: limits::FILE_POLL,
            seen: stamps(&paths),
            paths,
        }
    }

    /// Looks every `poll` instead of every [`limits::FILE_POLL`].
    #[must_use]
    pub fn every(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// From now on calls `apply`, on a thread that may block, when a file has changed and at each SIGHUP;
    /// and again at each look as long as it fails, since what is bad now (not yet valid, half written) may
    /// be good later.
    pub fn start(
        self,
        lifecycle: &Lifecycle,
        metrics: Arc<Metrics>,
        apply: impl Fn() -> Result<(), BoxError> + Send + Sync + 'static,
    ) {
        let apply = reporting(self.what, metrics, apply);
        lifecycle.on_reload(self.what, Arc::clone(&apply));
        let quiet = lifecycle.quiet().clone();
        lifecycle.spawn("file watch", async move {
            tokio::select! {
                () = quiet.cancelled() => {}
                () = self.follow(apply) => {}
            }
            Ok::<_, BoxError>(())
        });
    }

    async fn follow(mut self, apply: Reload) {
        let (announce, mut announced) = mpsc::channel(1);
        // Dropping the watcher ends its announcements.
        let _watcher = watcher(&self.paths, announce)
            .inspect_err(|error| {
                tracing::warn!(what = self.what, %error, "changes cannot be watched, only looked for");
            })
            .ok();
        let mut failed = false;
        loop {
            // A lost watcher closes the channel; what is left is to look.
            match timeout(self.poll, announced.recv()).await {
                Ok(Some(())) => sleep(SETTLE).await,
                Ok(None) => sleep(self.poll).await,
                Err(_looked_long_enough) => {}
            }
            let now = stamps(&self.paths);
            if now == self.seen && !failed {
                continue;
            }
            self.seen = now;
            let apply = Arc::clone(&apply);
            let applied = tokio::task::spawn_blocking(move || apply()).await;
            failed = !matches!(applied, Ok(Ok(())));
        }
    }
}

/// Counts each attempt, and says what is wrong once, not at every look.
fn reporting(
    what: &'static str,
    metrics: Arc<Metrics>,
    apply: impl Fn() -> Result<(), BoxError> + Send + Sync + 'static,
) -> Reload {
    let said: Mutex<Option<String>> = Mutex::default();
    Arc::new(move || {
        let applied = apply();
        metrics.reloaded(what, applied.is_ok());
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        match &applied {
            Ok(()) => {
                *said = None;
                tracing::info!(what, "files read again");
            }
            Err(error) => {
                let text = error.to_string();
                if said.as_ref() != Some(&text) {
                    tracing::warn!(what, error, "files not taken; what was in force stays");
                }
                *said = Some(text);
            }
        }
        applied
    })
}

/// Watches the directories, since files are replaced by renaming and links by swapping.
fn watcher(paths: &[PathBuf], announce: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading announces itself too, and our own reading must not wake us.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            let _one_is_pending = announce.try_send(());
        }
    })?;
    let parents = paths.iter().filter_map(|path| path.parent());
    let named = |parent: &Path| match parent.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => parent.to_owned(),
    };
    for directory in parents.map(named).collect::<BTreeSet<_>>() {
        watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        let (changed, modified) = (found.ctime(), found.mtime());
        let nanos = (found.ctime_nsec(), found.mtime_nsec());
        Some((
            found.dev(),
            found.ino(),
            found.size(),
            modified,
            nanos.1,
            changed,
            nanos.0,
        ))
    };
    paths.iter().map(stamp).collect()
}
