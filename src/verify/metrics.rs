//! What was counted, in the text format of `OpenMetrics`.

use super::dpop::Proofs;
use super::error::VerifyError;
use super::guard::Guard;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::atomic::Ordering;

/// All counters and gauges of a guard as they are now.
pub(super) fn text(guard: Guard) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("cambist_verify");
    registry.register_collector(Box::new(Shown(guard)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Shown(Guard);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(guard) = self;
        checks(&mut encoder, guard)?;
        let stats = guard.stats();
        let (feed, keys) = (guard.feed().stats(), guard.keys().stats());
        let counters = [
            (
                "remembered_hits",
                "Checks of tokens that were remembered",
                &stats.hits,
            ),
            (
                "accepted_stale",
                "Tokens accepted though what is known of revocations was too old, as told",
                &stats.accepted_stale,
            ),
            ("feeds", "Feeds of revocations that were begun", &feed.begun),
            (
                "feed_failures",
                "Feeds of revocations that ended or could not be begun",
                &feed.failures,
            ),
            ("feed_snapshots", "Snapshots taken whole", &feed.snapshots),
            ("feed_deltas", "Changes applied", &feed.deltas),
            ("key_fetches", "Key sets fetched", &keys.fetches),
            (
                "key_failures",
                "Fetches of key sets that failed",
                &keys.failures,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            show(&mut encoder, name, help, None, &counter)?;
        }
        gauges(&mut encoder, guard)
    }
}

fn checks(encoder: &mut DescriptorEncoder<'_>, guard: &Guard) -> fmt::Result {
    let help = "Checks of tokens by result";
    let mut metric = encoder.encode_descriptor("checks", help, None, MetricType::Counter)?;
    let stats = guard.stats();
    let accepted = std::iter::once(("accepted", stats.accepted()));
    let refused = VerifyError::CODES.iter();
    let refused = refused.map(|code| (*code, stats.refused(code)));
    for (result, count) in accepted.chain(refused) {
        let label = [("result", result)];
        ConstCounter::new(count).encode(metric.encode_family(&label)?)?;
    }
    Ok(())
}

fn gauges(encoder: &mut DescriptorEncoder<'_>, guard: &Guard) -> fmt::Result {
    let status = guard.feed().status();
    let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let remembered = whole(guard.remembered());
    let bytes = i64::try_from(guard.remembered_bytes()).unwrap_or(i64::MAX);
    let gauges = [
        ("markers", "Revocations in force", whole(status.markers)),
        (
            "feed_connected",
            "Whether a feed is open",
            i64::from(status.connected),
        ),
        ("remembered", "Tokens that are remembered", remembered),
        ("remembered_bytes", "About what they take", bytes),
        (
            "proofs_remembered",
            "Proofs of possession that passed and are remembered, some of them until others come",
            whole(guard.proofs().map_or(0, Proofs::remembered)),
        ),
    ];
    for (name, help, value) in gauges {
        show(encoder, name, help, None, &ConstGauge::new(value))?;
    }
    // Before there is anything there is no age: a series that is not there can be told from one that is fresh.
    if let Some(age) = status.age {
        let help = "At most how old what is known of revocations is";
        let age = ConstGauge::new(age.as_secs_f64());
        show(encoder, "feed_age", help, Some(&Unit::Seconds), &age)?;
    }
    if let Some(as_of) = status.as_of {
        let help = "When the broker was last sure that nothing newer existed";
        let as_of = ConstGauge::new(as_of.as_second());
        let name = "feed_as_of_timestamp_seconds";
        show(encoder, name, help, None, &as_of)?;
    }
    Ok(())
}

fn show(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}
