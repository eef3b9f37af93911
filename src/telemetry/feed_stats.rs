//! The counters of the feed of revocations as metrics, read when somebody scrapes.

use super::metrics::{encode_unlabelled, gauge};
use crate::revocation::Feed;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The feed, once there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct FeedStats(pub(super) Arc<OnceLock<Feed>>);

impl Collector for FeedStats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(feed) = self.0.get() else {
            return Ok(());
        };
        let counts = feed.counts();
        let gauges = [
            ("watchers", "Watchers of revocations", counts.watchers),
            (
                "watchers_of_one",
                "Watchers of the principal that has the most of them",
                counts.most_of_one,
            ),
            ("markers", "Markers in force", counts.markers),
        ];
        for (name, help, value) in gauges {
            encode_unlabelled(&mut encoder, name, help, &gauge(value))?;
        }
        let counters = [
            (
                "watch_deltas",
                "Changes of markers sent, once for each watcher",
                counts.deltas,
            ),
            (
                "watch_snapshots",
                "Snapshots of all markers that were made",
                counts.snapshots,
            ),
            (
                "watch_lagged",
                "Watchers that fell behind and began again with a snapshot",
                counts.lagged,
            ),
            (
                "watch_refused",
                "Watchers turned away while as many watched as may, of all or of one principal",
                counts.refused,
            ),
        ];
        for (name, help, value) in counters {
            encode_unlabelled(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        Ok(())
    }
}
