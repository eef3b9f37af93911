//! The sinks' counters as metrics, by their names: as many as are configured, and no more.

use super::metrics::gauge;
use crate::audit::sink::{SinkStats, Sinks};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The sinks, once there are any.
#[derive(Clone, Debug, Default)]
pub(super) struct ShownSinks(pub(super) Arc<OnceLock<Sinks>>);

impl Collector for ShownSinks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(sinks) = self.0.get().filter(|sinks| !sinks.all().is_empty()) else {
            return Ok(());
        };
        let encoder = &mut encoder;
        let (name, help) = (
            "log_sink_lag_records",
            "Durable records that a sink has not delivered",
        );
        each(encoder, sinks, name, help, |sink| gauge(sink.lag()))?;
        let (name, help) = ("log_sink_delivered", "Records that a sink delivered");
        each(encoder, sinks, name, help, |sink| {
            ConstCounter::new(sink.delivered())
        })?;
        let (name, help) = (
            "log_sink_refused",
            "Records that a sink's receiver refused for good",
        );
        each(encoder, sinks, name, help, |sink| {
            ConstCounter::new(sink.refused())
        })?;
        let (name, help) = (
            "log_sink_missed",
            "Records that were removed from the log before a sink delivered them",
        );
        each(encoder, sinks, name, help, |sink| {
            ConstCounter::new(sink.missed())
        })?;
        let (name, help) = ("log_sink_failures", "Deliveries of a sink that failed");
        each(encoder, sinks, name, help, |sink| {
            ConstCounter::new(sink.failures())
        })?;
        let name = "log_sink_last_success_timestamp_seconds";
        let help = "When a sink last delivered";
        each(encoder, sinks, name, help, |sink| {
            ConstGauge::new(sink.last_success())
        })
    }
}

fn each<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    sinks: &Sinks,
    name: &str,
    help: &str,
    metric: impl Fn(&SinkStats) -> M,
) -> fmt::Result {
    let Some(kind) = sinks.all().first().map(|sink| metric(sink).metric_type()) else {
        return Ok(());
    };
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for sink in sinks.all() {
        let labels = [("sink", sink.name().as_str())];
        metric(sink).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
