//! What arrives: each kind of sink, to a receiver that was not written here.

use super::collector::Collector;
use super::syslogd::Syslogd;
use super::{Stream, load, metric, section, sequences, until, until_taken};
use crate::support::broker::{Broker, api_key, ask, spec};
use crate::support::pki::Authority;
use serde_json::{Value, json};
use std::fs;

/// A CA, a client's certificate and its key in the folder of a site that is being set up.
pub(super) struct Files {
    pub(super) authority: Authority,
    folder: tempfile::TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        let (authority, folder) = (Authority::new("receiver"), tempfile::tempdir().unwrap());
        let client = authority.client("cambist");
        let files = Self { authority, folder };
        files.write("ca.pem", files.authority.pem());
        files.write("client.pem", &client.certificate);
        files.write("client.key", &client.key);
        files
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The keys of a section that name a file each.
    pub(super) fn keys(&self, files: &[(&str, &str)]) -> String {
        let key = |(key, name): &(&str, &str)| {
            format!("{key} = \"{}\"\n", self.folder.path().join(name).display())
        };
        files.iter().map(key).collect()
    }

    /// Those of TLS with a client's certificate.
    pub(super) fn tls(&self) -> String {
        self.keys(&[
            ("ca", "ca.pem"),
            ("certificate", "client.pem"),
            ("key", "client.key"),
        ])
    }
}

/// One of each kind of record that a broker in good health makes.
async fn everything(broker: &Broker) {
    load(broker, 3).await;
    let caller = broker.anybody().await;
    caller.no(ask(api_key(broker.api_key()), "vault")).await;
    let few = cambist::proto::KeySpec {
        uses: 2,
        ..spec(&["shop"], &[])
    };
    let few = broker.create_key(few).await.secret;
    caller.yes(ask(api_key(&few), "shop")).await;
}

/// So little that not every record has room.
const MESSAGE: usize = 2_048;

#[tokio::test]
async fn standard_output_has_the_records_and_nothing_else() {
    let mut broker = Broker::with(|setup| {
        setup.config += &section("out", "stdout", "");
    })
    .await;
    everything(&broker).await;
    until_taken(&broker, "out").await;
    assert!(broker.terminate().await.success());
    // The stop was recorded after the last delivery: it comes with the next start.
    broker.restart().await;
    until_taken(&broker, "out").await;
    let written = fs::read(broker.path("stdout")).unwrap();
    let lines: Vec<&[u8]> = written.split(|byte| *byte == b'\n').collect();
    let (last, lines) = lines.split_last().unwrap();
    assert!(last.is_empty());
    broker.kill9().await;
    let log: Vec<_> = broker
        .whole_log()
        .into_iter()
        .zip(lines)
        .map(|(record, line)| (record, serde_json::from_slice::<Value>(line).unwrap()))
        .collect();
    assert!(log.iter().all(|(record, line)| record == line));
    assert!(log.iter().any(|(record, _)| record["kind"] == "stop"));
    assert_eq!(lines.len(), log.len());
    // Byte by byte: what the tree's leaves are made of.
    let stored = fs::read(broker.path("data/log/00000000000000000000.seg")).unwrap();
    for line in lines {
        assert!(stored.windows(line.len()).any(|stored| stored == *line));
    }
}

#[tokio::test]
async fn a_collector_takes_the_records_over_tls_with_what_they_mean() {
    let files = Files::new();
    let collector = Collector::start().await;
    let url = collector.encrypted(&files.authority).await;
    let broker = Broker::with(|setup| {
        setup.config += &section("otel", "otlp", &format!("url = \"{url}\"\n{}", files.tls()));
    })
    .await;
    everything(&broker).await;
    until_taken(&broker, "otel").await;
    let wanted = broker.records();
    let arrived = async || collector.bodies().len() >= wanted.len();
    until("all records at the collector", arrived).await;
    assert_eq!(collector.bodies()[..wanted.len()], wanted);
    let said = collector.said();
    for text in [
        "service.name: Str(cambist)",
        "service.instance.id: Str(node-1)",
        "SeverityText: WARN",
        "cambist.refusal.code",
    ] {
        assert!(said.contains(text), "{text} is not in {said}");
    }
}

#[tokio::test]
async fn a_syslog_server_takes_the_records_over_tls_with_what_they_mean() {
    let files = Files::new();
    let server = Syslogd::start(&files.authority).await;
    let broker = Broker::with(|setup| {
        let url = format!(
            "url = \"{}\"\nmessage_bytes = {MESSAGE}\n{}",
            server.url(),
            files.tls()
        );
        setup.config += &section("logs", "syslog", &url);
    })
    .await;
    everything(&broker).await;
    let labels = (0..32).map(|n| (format!("label-{n}"), "x".repeat(60)));
    let labelled = cambist::proto::KeySpec {
        labels: labels.collect(),
        ..spec(&["shop"], &[])
    };
    broker.create_key(labelled).await;
    until_taken(&broker, "logs").await;
    let wanted = broker.records();
    let arrived = async || server.messages().len() >= wanted.len();
    until("all records at the syslog server", arrived).await;
    let mut cut = 0;
    for (message, record) in server.messages().iter().zip(&wanted) {
        let told: Value = serde_json::from_str(&message.text).unwrap();
        match told.get("cut") {
            None => assert_eq!(told, *record),
            Some(names) => {
                cut += 1;
                assert!(!names.as_array().unwrap().is_empty());
                assert_eq!(told["seq"], record["seq"]);
                assert!(message.text.len() <= MESSAGE);
            }
        }
        assert_eq!(message.kind, record["kind"]);
        assert_eq!(message.host, "node-1");
        let weight = match message.kind.as_str() {
            "issue" | "spend" => "110",
            "refuse" | "refusals" | "recovery" => "108",
            _ => "109",
        };
        assert_eq!(message.priority, weight, "{message:?}");
        if let Some(code) = record["code"].as_str() {
            assert!(
                message.data.contains(&format!("code=\"{code}\"")),
                "{message:?}"
            );
        }
    }
    assert!(cut > 0 && cut < wanted.len(), "{cut} were too long");
}

#[tokio::test]
async fn what_a_sink_does_is_in_the_metrics_under_its_name() {
    let hook = super::Hook::plain().await;
    let broker = Broker::with(|setup| {
        setup.config += &section("hook", "webhook", &format!("url = \"{}\"", hook.url));
    })
    .await;
    until_taken(&broker, "hook").await;
    let delivered = metric(&broker, "delivered_total", "hook").await;
    load(&broker, 2).await;
    until_taken(&broker, "hook").await;
    assert!(metric(&broker, "delivered_total", "hook").await >= delivered + 8);
    assert_eq!(metric(&broker, "failures_total", "hook").await, 0);
    assert_eq!(metric(&broker, "refused_total", "hook").await, 0);
    assert!(metric(&broker, "last_success_timestamp_seconds", "hook").await > 1_700_000_000);
    let stream = Stream::of(sequences(&hook.records()));
    assert_eq!(stream.copies, 0);
    // The next start goes on where this one was.
    let kept: Value =
        serde_json::from_slice(&fs::read(broker.path("data/sinks/hook.cursor")).unwrap()).unwrap();
    assert_eq!(
        (&kept["v"], kept["next"].as_u64()),
        (&json!(1), Some(stream.next))
    );
}
