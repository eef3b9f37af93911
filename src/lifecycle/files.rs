//! Files that are read again when they change.
//!
//! Changes are watched for *and* looked for: announcements get lost (over network file systems, with limits
//! on watches, when directories are swapped), and a certificate that was renewed unnoticed is an outage.

use super::{BoxError, Lifecycle, Reload};
use crate::limits;
use crate::telemetry::Metrics;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
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
pub struct FileWatch {
    what: &'static str,
    paths: Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>,
    poll: Duration,
}

/// What tells one state of a file from another without reading it. `None`: not there.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;
/// All files of a set as they are.
type Seen = BTreeMap<PathBuf, Stamp>;

impl FileWatch {
    /// The files that `paths` names, which is asked anew at each look, since files come and go. `what` names them in
    /// logs and metrics.
    #[must_use]
    pub fn new(
        what: &'static str,
        paths: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        Self {
            what,
            paths: Box::new(paths),
            poll: limits::FILE_POLL,
        }
    }

    /// Looks every `poll` instead of every [`limits::FILE_POLL`].
    #[must_use]
    pub fn every(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Calls `apply` once, here, and from then on, on a thread that may block, when a file has changed and at each
    /// SIGHUP; and again at each look as long as it fails, since what is bad now (not yet valid, half written) may
    /// be good later. Of two calls, the later one begins when the earlier has ended.
    ///
    /// # Errors
    /// Those of the first call; then nothing is watched.
    pub fn start<E: Into<BoxError>>(
        self,
        lifecycle: &Lifecycle,
        metrics: Arc<Metrics>,
        apply: impl Fn() -> Result<(), E> + Send + Sync + 'static,
    ) -> Result<(), E> {
        // Noted before they are read, so that a change in between is seen.
        let seen = self.look();
        apply()?;
        let apply = reporting(self.what, metrics, apply);
        lifecycle.on_reload(self.what, Arc::clone(&apply));
        let quiet = lifecycle.quiet().clone();
        lifecycle.spawn("file watch", async move {
            tokio::select! {
                () = quiet.cancelled() => {}
                () = self.follow(seen, apply) => {}
            }
            Ok::<_, BoxError>(())
        });
        Ok(())
    }

    async fn follow(self, mut seen: Seen, apply: Reload) {
        let (announce, mut announced) = mpsc::channel(1);
        // Dropping the watcher ends its announcements.
        let mut _watcher = self.watcher(&directories(&seen), &announce);
        let mut failed = false;
        loop {
            // Where nothing can be watched, what is left is to look.
            if let Ok(Some(())) = timeout(self.poll, announced.recv()).await {
                sleep(SETTLE).await;
            }
            let now = self.look();
            if now == seen && !failed {
                continue;
            }
            if now != seen {
                // A directory may be another one by now, under the same name.
                _watcher = self.watcher(&directories(&now), &announce);
            }
            seen = now;
            let apply = Arc::clone(&apply);
            let applied = tokio::task::spawn_blocking(move || apply()).await;
            failed = !matches!(applied, Ok(Ok(())));
        }
    }

    fn look(&self) -> Seen {
        let stamped = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        (self.paths)().into_iter().map(stamped).collect()
    }

    fn watcher(
        &self,
        directories: &BTreeSet<PathBuf>,
        announce: &mpsc::Sender<()>,
    ) -> Option<RecommendedWatcher> {
        watcher(directories, announce.clone())
            .inspect_err(|error| {
                tracing::warn!(what = self.what, %error, "changes cannot be watched, only looked for");
            })
            .ok()
    }
}

impl fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWatch")
            .field("what", &self.what)
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

/// One attempt at a time, or a slower one could put in force what it read before the files changed again. Counts each,
/// and says what is wrong once, not at every look.
fn reporting<E: Into<BoxError>>(
    what: &'static str,
    metrics: Arc<Metrics>,
    apply: impl Fn() -> Result<(), E> + Send + Sync + 'static,
) -> Reload {
    let said: Mutex<Option<String>> = Mutex::default();
    Arc::new(move || {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = apply().map_err(Into::into);
        metrics.reloaded(what, applied.is_ok());
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

/// Watches directories, since files are replaced by renaming and links by swapping.
fn watcher(
    directories: &BTreeSet<PathBuf>,
    announce: mpsc::Sender<()>,
) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading announces itself too, and our own reading must not wake us.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            let _one_is_pending = announce.try_send(());
        }
    })?;
    for directory in directories {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Where the files are, and the directories themselves that are among them.
fn directories(seen: &Seen) -> BTreeSet<PathBuf> {
    let named = |parent: &Path| match parent.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => parent.to_owned(),
    };
    let parents = seen.keys().filter_map(|path| path.parent()).map(named);
    let themselves = seen.keys().filter(|path| path.is_dir()).cloned();
    parents.chain(themselves).collect()
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ))
}
