//! What is counted. Names end up on dashboards: they change as rarely as codes do.

use super::feed_stats::FeedStats;
use super::log_stats::LogStats;
use super::sink_stats::ShownSinks;
use crate::audit::Stats;
use crate::audit::sink::Sinks;
use crate::authn::{Credential, CredentialKind};
use crate::exchange::Observer as Answers;
use crate::leak;
use crate::listener::{Observer, Outcome};
use crate::refusal::{Code, Denial, Fault};
use crate::revocation::Feed;
use crate::trust::CertificateRefusal;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeOutcome {
    /// With a token.
    Issued,
    /// With a "no".
    Refused(Code),
    /// With a failure of ours.
    Failed(Fault),
}

/// Every metric of the process. Recording allocates nothing; the counters of the hot path are looked up by
/// index, not by label.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// By kind, then by outcome; both in the order of their indices below.
    exchanges: Vec<Vec<Counter>>,
    exchange_seconds: Histogram,
    tokens_issued: Counter,
    refusals: Vec<Counter>,
    attempts: Family<ByOutcome, Counter>,
    leaks: Family<ByOutcome, Counter>,
    connections: Gauge,
    log: LogStats,
    sinks: ShownSinks,
    feed: FeedStats,
    store_staleness: Gauge<f64, AtomicU64>,
    revocations_waiting: Gauge,
    clock_unconfirmed: Gauge,
    reloads: Family<ByReload, Counter>,
    certificate_expiry: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByExchange {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReload {
    what: &'static str,
    result: &'static str,
}

impl ExchangeOutcome {
    fn all() -> impl Iterator<Item = Self> {
        let refused = Code::ALL.iter().copied().map(Self::Refused);
        let failed = Fault::ALL.iter().copied().map(Self::Failed);
        std::iter::once(Self::Issued).chain(refused).chain(failed)
    }

    /// Its place in [`Self::all`].
    const fn index(self) -> usize {
        match self {
            Self::Issued => 0,
            Self::Refused(code) => 1 + code as usize,
            Self::Failed(fault) => 1 + Code::ALL.len() + fault as usize,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Refused(code) => code.code(),
            Self::Failed(fault) => fault.code(),
        }
    }
}

/// Subjects by kind.
const KINDS: [CredentialKind; 3] = [
    CredentialKind::ApiKey,
    CredentialKind::Certificate,
    CredentialKind::OwnToken,
];

/// Its place in [`KINDS`].
const fn kind_index(kind: CredentialKind) -> usize {
    match kind {
        CredentialKind::ApiKey => 0,
        CredentialKind::Certificate => 1,
        CredentialKind::OwnToken => 2,
    }
}

impl Metrics {
    /// All at zero. Series with a known set of labels exist from the start, so that their first increase
    /// can be seen.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("cambist");
        let r = &mut registry;
        let exchanges = add(
            r,
            "exchanges",
            "Exchanges by subject and outcome",
            Family::default(),
        );
        let refusals = add(
            r,
            "refusals",
            "Refusals on all faces by code",
            Family::default(),
        );
        let attempts: Family<_, Counter> = add(
            r,
            "connection_attempts",
            "Attempts to connect by outcome; client certificates by their refusal",
            Family::default(),
        );
        let certificates = CertificateRefusal::CODES.iter().copied();
        let outcomes = Outcome::PLAIN.iter().map(|outcome| outcome.code());
        for outcome in certificates.chain(outcomes) {
            attempts.get_or_create_owned(&ByOutcome { outcome });
        }
        let leaks: Family<_, Counter> = add(
            r,
            "leak_reports",
            "Keys reported as leaked, by what became of them",
            Family::default(),
        );
        for outcome in leak::Outcome::ALL.map(leak::Outcome::code) {
            leaks.get_or_create_owned(&ByOutcome { outcome });
        }
        Self {
            exchange_seconds: histogram(r, "exchange", "Time of exchanges, from request to reply"),
            tokens_issued: add(r, "tokens_issued", "Tokens issued", Counter::default()),
            connections: add(r, "connections", "Open connections", Gauge::default()),
            log: collected(r),
            sinks: collected(r),
            feed: collected(r),
            store_staleness: seconds(r, "store_staleness", "Age of the view of the store"),
            revocations_waiting: add(
                r,
                "revocations_waiting",
                "Revocations that are in force and wait to be written",
                Gauge::default(),
            ),
            clock_unconfirmed: add(
                r,
                "clock_unconfirmed_seconds",
                "How far the wall clock is ahead of the time that counts for removing what has ended",
                Gauge::default(),
            ),
            reloads: add(
                r,
                "reloads",
                "Reloads of files by result",
                Family::default(),
            ),
            certificate_expiry: add(
                r,
                "server_certificate_expiry_timestamp_seconds",
                "When the server's certificate expires",
                Gauge::default(),
            ),
            exchanges: KINDS.map(|kind| by_outcome(&exchanges, kind)).into(),
            refusals: Code::ALL
                .iter()
                .map(|code| refusals.get_or_create_owned(&ByCode { code: code.code() }))
                .collect(),
            attempts,
            leaks,
            registry,
        }
    }

    /// An exchange ended.
    pub fn exchanged(&self, kind: CredentialKind, outcome: ExchangeOutcome, took: Duration) {
        let counters = self.exchanges.get(kind_index(kind));
        if let Some(counter) = counters.and_then(|counters| counters.get(outcome.index())) {
            counter.inc();
        }
        self.exchange_seconds.observe(took.as_secs_f64());
    }

    /// A token left.
    pub fn token_issued(&self) {
        self.tokens_issued.inc();
    }

    /// Shows the counters of this log from now on; the first one stays.
    pub fn follow_log(&self, stats: &Arc<Stats>) {
        let _first_stays = self.log.0.set(Arc::clone(stats));
    }

    /// Shows the counters of these sinks from now on; the first ones stay.
    pub fn follow_sinks(&self, sinks: Sinks) {
        let _first_stay = self.sinks.0.set(sinks);
    }

    /// Shows the counters of this feed from now on; the first one stays.
    pub fn follow_feed(&self, feed: Feed) {
        let _first_stays = self.feed.0.set(feed);
    }

    /// How old the view of the store is.
    pub fn store_is_stale_for(&self, age: Duration) {
        self.store_staleness.set(age.as_secs_f64());
    }

    /// So many revocations are in force and wait to be written.
    pub fn revocations_wait(&self, count: usize) {
        self.revocations_waiting
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// What has ended is kept for so much longer than by the wall clock.
    pub fn clock_is_unconfirmed_for(&self, lag: Duration) {
        self.clock_unconfirmed
            .set(i64::try_from(lag.as_secs()).unwrap_or(i64::MAX));
    }

    /// Files were read again, and taken or not.
    pub fn reloaded(&self, what: &'static str, taken: bool) {
        let result = if taken { "taken" } else { "refused" };
        self.reloads
            .get_or_create_owned(&ByReload { what, result })
            .inc();
    }

    /// The server's certificate expires then, in seconds since the epoch.
    pub fn certificate_expires(&self, at: jiff::Timestamp) {
        self.certificate_expiry.set(at.as_second());
    }

    /// All metrics in the text format of `OpenMetrics` 1.0.
    ///
    /// # Errors
    /// Never in practice: the format writes to memory.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Metrics {
    fn attempt(&self, outcome: Outcome) {
        let outcome = outcome.code();
        self.attempts.get_or_create(&ByOutcome { outcome }).inc();
    }

    fn opened(&self) {
        self.connections.inc();
    }

    fn closed(&self) {
        self.connections.dec();
    }
}

impl leak::Observer for Metrics {
    fn reported(&self, outcome: leak::Outcome) {
        let outcome = outcome.code();
        self.leaks.get_or_create(&ByOutcome { outcome }).inc();
    }
}

impl Answers for Metrics {
    fn answered(&self, subject: &Credential, denial: Option<&Denial>, took: Duration) {
        let kind = match subject {
            Credential::ApiKey(_) => CredentialKind::ApiKey,
            Credential::PeerCertificate => CredentialKind::Certificate,
            Credential::Token(..) => CredentialKind::OwnToken,
        };
        let outcome = match denial {
            None => {
                self.token_issued();
                ExchangeOutcome::Issued
            }
            Some(Denial::Refused(refusal)) => {
                Answers::refused(self, refusal.code());
                ExchangeOutcome::Refused(refusal.code())
            }
            Some(Denial::Failed { fault, .. }) => ExchangeOutcome::Failed(*fault),
        };
        self.exchanged(kind, outcome, took);
    }

    fn refused(&self, code: Code) {
        if let Some(counter) = self.refusals.get(code as usize) {
            counter.inc();
        }
    }
}

fn collected<C: Collector + Clone + Default>(registry: &mut Registry) -> C {
    let collector = C::default();
    registry.register_collector(Box::new(collector.clone()));
    collector
}

fn by_outcome(exchanges: &Family<ByExchange, Counter>, kind: CredentialKind) -> Vec<Counter> {
    let kind = kind.name();
    let counter = |outcome: ExchangeOutcome| {
        exchanges.get_or_create_owned(&ByExchange {
            kind,
            outcome: outcome.code(),
        })
    };
    ExchangeOutcome::all().map(counter).collect()
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Encodes a metric that has no labels.
pub(super) fn encode_unlabelled(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// A gauge of a count.
pub(super) fn gauge(count: impl TryInto<i64>) -> ConstGauge<i64> {
    ConstGauge::new(count.try_into().unwrap_or(i64::MAX))
}

fn seconds<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

/// Fifty microseconds to one and a half seconds, each bucket twice the one before.
fn histogram(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let metric = Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_places() {
        for (place, outcome) in ExchangeOutcome::all().enumerate() {
            assert_eq!(outcome.index(), place, "{outcome:?}");
        }
        for (place, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind_index(kind), place, "{kind:?}");
        }
        for (place, code) in Code::ALL.iter().enumerate() {
            assert_eq!(*code as usize, place, "{code:?}");
        }
    }

    #[test]
    fn what_is_recorded_is_shown() {
        let metrics = Metrics::new();
        metrics.exchanged(
            CredentialKind::ApiKey,
            ExchangeOutcome::Refused(Code::PolicyDenied),
            Duration::from_micros(60),
        );
        Answers::refused(&metrics, Code::PolicyDenied);
        metrics.token_issued();
        let stats = Arc::<Stats>::default();
        stats.records.store(7, std::sync::atomic::Ordering::Relaxed);
        metrics.follow_log(&stats);
        metrics.store_is_stale_for(Duration::from_millis(1500));
        metrics.revocations_wait(3);
        metrics.clock_is_unconfirmed_for(Duration::from_millis(7_900));
        metrics.reloaded("server certificate", false);
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        metrics.attempt(Outcome::Certificate("certificate_revoked", address));
        metrics.opened();
        leak::Observer::reported(&metrics, leak::Outcome::Revoked);
        let text = metrics.encode().unwrap();
        for line in [
            r#"cambist_exchanges_total{kind="api_key",outcome="policy_denied"} 1"#,
            r#"cambist_exchanges_total{kind="certificate",outcome="issued"} 0"#,
            r#"cambist_exchange_seconds_bucket{le="0.0001"} 1"#,
            r#"cambist_refusals_total{code="policy_denied"} 1"#,
            "cambist_tokens_issued_total 1",
            "cambist_log_records_total 7",
            "cambist_log_commit_seconds_count 0",
            "cambist_store_staleness_seconds 1.5",
            "cambist_revocations_waiting 3",
            "cambist_clock_unconfirmed_seconds 7",
            r#"cambist_reloads_total{what="server certificate",result="refused"} 1"#,
            r#"cambist_connection_attempts_total{outcome="certificate_revoked"} 1"#,
            r#"cambist_connection_attempts_total{outcome="tls"} 0"#,
            "cambist_connections 1",
            r#"cambist_leak_reports_total{outcome="revoked"} 1"#,
            r#"cambist_leak_reports_total{outcome="wrong_secret"} 0"#,
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
