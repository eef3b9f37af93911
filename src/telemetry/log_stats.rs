//! The log's own counters as metrics, read when somebody scrapes.

use super::metrics::{encode_unlabelled, gauge};
use crate::audit::{Distribution, PartyKind, Stats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// The counters of the log, once there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct LogStats(pub(super) Arc<OnceLock<Arc<Stats>>>);

impl Collector for LogStats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(stats) = self.0.get() else {
            return Ok(());
        };
        let counters = [
            ("log_records", "Records made durable", &stats.records),
            ("log_bytes", "Bytes of records made durable", &stats.bytes),
            (
                "log_fenced",
                "Issues that a marker stopped at the last moment",
                &stats.fenced,
            ),
            (
                "log_refusals_summarised",
                "Refusals counted towards a summary record",
                &stats.summarised,
            ),
            (
                "log_refusals_dropped",
                "Refusals whose own record was queued and lost; the next summary counts them",
                &stats.dropped,
            ),
            (
                "log_failures",
                "Group commits that failed and closed their segment",
                &stats.failures,
            ),
            ("log_segments", "Segments begun", &stats.segments),
            (
                "log_publish_failures",
                "Attempts to publish a checkpoint that failed",
                &stats.publish_failures,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            encode_unlabelled(&mut encoder, name, help, &counter)?;
        }
        let gauges = [
            (
                "log_queued_records",
                "Records waiting for their commit",
                stats.queued.load(Ordering::Relaxed),
            ),
            (
                "log_queued_bytes",
                "Bytes of records waiting for their commit",
                stats.queued_bytes.load(Ordering::Relaxed),
            ),
            (
                "log_queries",
                "Searches through the log that are under way",
                stats.queries.count(),
            ),
            (
                "log_tails",
                "Readers that follow the log",
                stats.tails.count(),
            ),
        ];
        for (name, help, value) in gauges {
            encode_unlabelled(&mut encoder, name, help, &gauge(value))?;
        }
        let sizes = [
            ("log_size", "Records that the log holds", &stats.next),
            (
                "log_checkpoint_size",
                "Records that the last checkpoint is of",
                &stats.published,
            ),
            (
                "log_begin",
                "First record that is there: those before it were removed by retention",
                &stats.begins,
            ),
            (
                "log_disk_bytes",
                "Bytes that segments, indexes and tiles take",
                &stats.disk,
            ),
            (
                "log_disk_bytes_limit",
                "Bytes that they may take (`max_bytes`); 0 where there is no bound",
                &stats.disk_bound,
            ),
        ];
        for (name, help, value) in sizes {
            let value = gauge(value.load(Ordering::Relaxed));
            encode_unlabelled(&mut encoder, name, help, &value)?;
        }
        parties(&mut encoder, stats)?;
        distribution(
            &mut encoder,
            "log_commit",
            "Time of group commits",
            Some(&Unit::Seconds),
            &stats.commit,
            1e6,
        )?;
        distribution(
            &mut encoder,
            "log_commit_records",
            "Records that a group commit carried",
            None,
            &stats.batch,
            1.0,
        )
    }
}

/// Who is sent the checkpoints: what the last one is of that each took, and what failed.
fn parties(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let kinds = [
        (
            PartyKind::Copy,
            "copy",
            ["log_copy_size", "log_copy_failures"],
        ),
        (
            PartyKind::Witness,
            "witness",
            ["log_witness_size", "log_witness_failures"],
        ),
    ];
    for (kind, label, [size, failures]) in kinds {
        let all = stats.parties.get().into_iter().flatten();
        let all: Vec<_> = all.filter(|party| party.kind() == kind).collect();
        if all.is_empty() {
            continue;
        }
        let help = "Records that the last checkpoint is of that each has taken";
        let mut metric = encoder.encode_descriptor(size, help, None, MetricType::Gauge)?;
        for party in &all {
            gauge(party.size()).encode(metric.encode_family(&[(label, party.name())])?)?;
        }
        let help = "Attempts to have each take a checkpoint that failed";
        let mut metric = encoder.encode_descriptor(failures, help, None, MetricType::Counter)?;
        for party in &all {
            let failures = ConstCounter::new(party.failures());
            failures.encode(metric.encode_family(&[(label, party.name())])?)?;
        }
    }
    Ok(())
}

/// A distribution as a histogram whose bounds are powers of two of a `scale`-th of the unit.
fn distribution(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    values: &Distribution,
    scale: f64,
) -> fmt::Result {
    let mut bound = 0.5_f64;
    let buckets: Vec<(f64, u64)> = values
        .buckets()
        .into_iter()
        .map(|count| {
            bound *= 2.0;
            (bound / scale, count)
        })
        .collect();
    let last = buckets.len().saturating_sub(1);
    let buckets: Vec<_> = buckets
        .into_iter()
        .enumerate()
        .map(|(i, (bound, n))| (if i == last { f64::MAX } else { bound }, n))
        .collect();
    let kind = MetricType::Histogram;
    let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a sum of microseconds or records stays far below 2^52"
    )]
    let sum = values.sum() as f64 / scale;
    metric.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
        sum,
        values.count(),
        &buckets,
        None,
    )
}
