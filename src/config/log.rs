//! The audit log: its segments, and who reads it.

mod party;

pub(super) use party::server;
pub use party::{CopyPlace, LogCopy, LogWitness, Server};

use super::check::Check;
use super::duration;
use super::governed::TrustDomainFiles;
use super::problem::KeyPath;
use super::service::{days, minutes};
use super::sink::{self, RawSink};
use crate::audit::sink::Settings;
use crate::authn::Sight;
use crate::id::{Owner, SpiffeId};
use crate::limits;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;
use toml::Spanned;

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Size at which a segment is closed.
    pub segment_bytes: u64,
    /// Age at which a segment is closed.
    pub segment_age: Duration,
    /// Whether anybody may have its checkpoints and its tree. Records are for readers alone.
    pub public: bool,
    /// How long records stay; for ever where it is not said.
    pub retention: Option<Duration>,
    /// How large all of it may be, if there is a bound.
    pub max_bytes: Option<u64>,
    /// Who may read it, beside administrators.
    pub readers: Vec<LogReader>,
    /// Where copies of its last checkpoint are kept.
    pub copies: Vec<LogCopy>,
    /// Where its records flow on to.
    pub sinks: Vec<Settings>,
    /// Who cosigns its checkpoints.
    pub witnesses: Vec<LogWitness>,
}

/// `[[log.reader]]`: somebody who may read the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReader {
    /// The workload.
    pub spiffe_id: SpiffeId,
    /// How much of it.
    pub sight: Sight,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    segment_bytes: u64,
    #[serde(deserialize_with = "duration::deserialize")]
    segment_age: Duration,
    public: bool,
    #[serde(deserialize_with = "duration::deserialize_some")]
    retention: Option<Duration>,
    max_bytes: Option<u64>,
    reader: Vec<Spanned<RawReader>>,
    copy: Vec<Spanned<party::RawCopy>>,
    sink: Vec<Spanned<RawSink>>,
    witness: Vec<Spanned<party::RawWitness>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReader {
    spiffe_id: SpiffeId,
    owners: Option<BTreeSet<Owner>>,
}

impl Default for RawLog {
    fn default() -> Self {
        Self {
            segment_bytes: limits::LOG_SEGMENT_BYTES,
            segment_age: limits::LOG_SEGMENT_AGE,
            public: false,
            retention: None,
            max_bytes: None,
            reader: Vec::new(),
            copy: Vec::new(),
            sink: Vec::new(),
            witness: Vec::new(),
        }
    }
}

impl Log {
    pub(super) fn check(
        raw: RawLog,
        domains: &[TrustDomainFiles],
        check: &mut Check<'_, '_>,
    ) -> Self {
        let at = KeyPath::default().key("log");
        let sizes = limits::SMALLEST_SEGMENT..=limits::LARGEST_SEGMENT;
        check.number(&at.key("segment_bytes"), raw.segment_bytes, sizes);
        let ages = minutes(1)..=days(31);
        check.time(&at.key("segment_age"), raw.segment_age, ages);
        if let Some(retention) = raw.retention {
            check.time(&at.key("retention"), retention, days(1)..=days(36_500));
        }
        if let Some(max_bytes) = raw.max_bytes {
            // One that is written, one that is compressed, and as much that is kept.
            let least = raw
                .segment_bytes
                .saturating_mul(4)
                .max(limits::SMALLEST_LOG);
            check.number(
                &at.key("max_bytes"),
                max_bytes,
                least..=i64::MAX.unsigned_abs(),
            );
        }
        Self {
            segment_bytes: raw.segment_bytes,
            segment_age: raw.segment_age,
            public: raw.public,
            retention: raw.retention,
            max_bytes: raw.max_bytes,
            readers: readers(raw.reader, domains, check),
            copies: party::copies(raw.copy, check),
            sinks: sink::sinks(raw.sink, check),
            witnesses: party::witnesses(raw.witness, check),
        }
    }
}

fn readers(
    raw: Vec<Spanned<RawReader>>,
    domains: &[TrustDomainFiles],
    check: &mut Check<'_, '_>,
) -> Vec<LogReader> {
    let mut readers: Vec<LogReader> = Vec::new();
    for raw in raw {
        let at = check.path_at(&raw.span());
        let RawReader { spiffe_id, owners } = raw.into_inner();
        check.known_domain(&at.key("spiffe_id"), &spiffe_id, domains);
        if readers.iter().any(|other| other.spiffe_id == spiffe_id) {
            let message = format!("`{spiffe_id}` has a section already");
            check.refuse(&at.key("spiffe_id"), message);
        }
        if owners.as_ref().is_some_and(BTreeSet::is_empty) {
            let message = "somebody who reads for no owner sees nothing";
            check.refuse(&at.key("owners"), message);
        }
        let sight = owners.map_or(Sight::Everything, Sight::Owned);
        readers.push(LogReader { spiffe_id, sight });
    }
    readers
}
