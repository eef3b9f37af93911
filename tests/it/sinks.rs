//! Sinks: what the real broker records reaches receivers that were not written here, whatever happens on the way.

mod checkpoints;
mod collector;
mod faults;
mod flow;
mod hook;
mod ocsf;
mod syslogd;
mod webhook;

use crate::support::broker::{Broker, Caller, Site, api_key, ask};
use crate::support::edge::{until, within};
use serde_json::Value;
use std::path::PathBuf;

/// Receivers on this machine's loopback interface: what the broker is configured with to reach them.
pub(crate) use hook::Hook;

/// A section of the configuration.
pub(crate) fn section(name: &str, kind: &str, more: &str) -> String {
    format!("\n[[log.sink]]\nname = \"{name}\"\nkind = \"{kind}\"\n{more}\n")
}

/// The records of a stream, by their sequences: each is there, none before the one that it follows, some of them twice.
struct Stream {
    next: u64,
    copies: usize,
}

impl Stream {
    fn of(sequences: impl IntoIterator<Item = u64>) -> Self {
        let mut stream = Self { next: 0, copies: 0 };
        for sequence in sequences {
            let next = stream.next;
            assert!(sequence <= next, "{sequence} came before {next}");
            match sequence == next {
                true => stream.next += 1,
                false => stream.copies += 1,
            }
        }
        stream
    }
}

/// The sequences of records that stand in lines.
fn sequences<'a>(records: impl IntoIterator<Item = &'a Value>) -> Vec<u64> {
    let sequence = |record: &Value| record["seq"].as_u64().unwrap();
    records.into_iter().map(sequence).collect()
}

/// Several callers at a time, so many tokens each.
async fn load(broker: &Broker, tokens: usize) {
    let mut callers = Vec::new();
    for _ in 0..4 {
        let (caller, key) = (broker.anybody().await, broker.api_key().to_owned());
        callers.push(tokio::spawn(exchange(caller, key, tokens)));
    }
    for caller in callers {
        within("tokens", caller).await.unwrap();
    }
}

async fn exchange(caller: Caller, key: String, tokens: usize) {
    for _ in 0..tokens {
        caller.yes(ask(api_key(&key), "shop")).await;
    }
}

/// A metric of a sink.
async fn metric(site: &Site, name: &str, sink: &str) -> u64 {
    let name = format!("log_sink_{name}{{sink=\"{sink}\"}}");
    site.metric(&name).await.unwrap()
}

/// Waits until a sink has delivered all that the log holds.
pub(crate) async fn until_taken(site: &Site, sink: &str) {
    let taken = async || metric(site, "lag_records", sink).await == 0;
    until(&format!("{sink} has caught up"), taken).await;
}

/// A tool that `tests/setup` installs.
fn tool(path: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(
        path.is_file(),
        "{} is not there: run tests/setup",
        path.display()
    );
    path
}
