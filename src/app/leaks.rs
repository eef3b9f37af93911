//! Where leaked keys are handed in, and who reports them.

use super::files;
use crate::clock::Clock;
use crate::config::{LeakReporter, Leaks, PublishedAt};
use crate::id::Reporter;
use crate::leak::fetch::{FileKeys, WebKeys};
use crate::leak::{KeySource, Published, Reporters};
use anyhow::{Context as _, anyhow};
use std::sync::Arc;

/// Those that are configured; none where there are none.
pub(super) fn reporters(
    config: &Leaks,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Reporters>> {
    let all: anyhow::Result<Vec<_>> = config.reporters.iter().map(reporter).collect();
    let all = all?;
    Ok((!all.is_empty()).then(|| Reporters::new(all, clock)))
}

fn reporter(configured: &LeakReporter) -> anyhow::Result<(Reporter, Box<dyn KeySource>)> {
    let source: Box<dyn KeySource> = match &configured.keys {
        PublishedAt::File(path) => Box::new(FileKeys::new(path.clone())),
        PublishedAt::Web(server) => {
            let keys = WebKeys::new(&files::roots(&server.ca)?, server.url.clone());
            Box::new(keys.with_context(|| server.ca.display().to_string())?)
        }
    };
    Ok((configured.name.clone(), source))
}

/// What is wrong with the file of a reporter, by what it holds.
pub(super) fn check(configured: &LeakReporter) -> anyhow::Result<()> {
    reporter(configured)?;
    if let PublishedAt::File(path) = &configured.keys {
        let document = FileKeys::new(path.clone())
            .read()
            .map_err(anyhow::Error::msg)?;
        let read = Published::read(&document);
        read.map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    Ok(())
}
