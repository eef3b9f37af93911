//! What goes wrong on the way: receivers that end, that never answer, and brokers that are killed.

use super::collector::Collector;
use super::flow::Files;
use super::syslogd::Syslogd;
use super::{Hook, Stream, exchange, load, metric, section, sequences, until, until_taken};
use crate::support::broker::{Broker, Site, spec};
use crate::support::edge::within;
use crate::support::long;
use std::process::Stdio;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_collector_and_the_syslog_server_are_away() {
    let files = Files::new();
    let mut collector = Collector::start().await;
    let mut server = Syslogd::start(&files.authority).await;
    let broker = Broker::with(|setup| {
        let otlp = format!("url = \"{}\"\nformat = \"record\"", collector.url());
        setup.config += &section("otel", "otlp", &otlp);
        let syslog = format!("url = \"{}\"\n{}", server.url(), files.tls());
        setup.config += &section("logs", "syslog", &syslog);
    })
    .await;
    let rounds = if long() { 20 } else { 2 };
    for _ in 0..rounds {
        let working = async {
            load(&broker, 100).await;
        };
        let coming_and_going = async {
            collector.stop().await;
            server.stop().await;
            load(&broker, 50).await;
            collector.again().await;
            server.again().await;
        };
        tokio::join!(working, coming_and_going);
    }
    until_taken(&broker, "otel").await;
    until_taken(&broker, "logs").await;
    let wanted = u64::try_from(broker.records().len()).unwrap();
    assert!(wanted > 600 * rounds);
    let arrived = async || {
        Stream::of(collector.sequences()).next >= wanted
            && Stream::of(server.sequences()).next >= wanted
    };
    until("every record at both", arrived).await;
    for sink in ["otel", "logs"] {
        assert!(
            metric(&broker, "failures_total", sink).await > 0,
            "{sink} was away"
        );
        assert_eq!(metric(&broker, "refused_total", sink).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_neither_stops_issuance_nor_loses_a_record() {
    // It accepts, and never answers.
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = hole.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let swallowing = tokio::spawn(async move {
        let mut swallowed = Vec::new();
        let accept = async {
            while let Ok((stream, _)) = hole.accept().await {
                swallowed.push(stream);
            }
        };
        tokio::select! { () = accept => {}, _ = stopped => {} }
        hole
    });
    let other = Hook::plain().await;
    let broker = Broker::with(|setup| {
        let hole = format!("url = \"http://{address}/\"\ntimeout = \"500ms\"");
        setup.config += &section("hole", "webhook", &hole);
        setup.config += &section("other", "webhook", &format!("url = \"{}\"", other.url));
    })
    .await;
    load(&broker, 300).await;
    // The other sink knows nothing of it.
    until_taken(&broker, "other").await;
    let failing = async || metric(&broker, "failures_total", "hole").await > 1;
    until("deliveries to end without an answer", failing).await;
    // The broker may add to them: a checkpoint after a minute.
    let records = u64::try_from(broker.records().len()).unwrap();
    assert!(metric(&broker, "lag_records", "hole").await >= records);
    assert!(records > 1_200);
    // The hole becomes a receiver.
    stop.send(()).unwrap();
    let hook = Hook::on(swallowing.await.unwrap()).await;
    until_taken(&broker, "hole").await;
    assert!(Stream::of(sequences(&hook.records())).next >= records);
}

/// Syslog has no answers: what a receiver had not read when it went away is sent again.
#[tokio::test]
async fn a_syslog_receiver_that_goes_away_with_something_unread_gets_it_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broker = Broker::with(|setup| {
        setup.config += &section("logs", "syslog", &format!("url = \"tcp://{address}\""));
    })
    .await;
    let (stream, _) = within("a first batch", listener.accept()).await.unwrap();
    // It has arrived, as far as the system is concerned, and nobody reads it.
    stream.peek(&mut [0]).await.unwrap();
    drop(stream);
    let mut received = Vec::new();
    let wanted = u64::try_from(broker.records().len()).unwrap();
    while Stream::of(framed(&received)).next < wanted {
        let (mut stream, _) = within("a batch", listener.accept()).await.unwrap();
        stream.read_to_end(&mut received).await.unwrap();
    }
    assert!(metric(&broker, "failures_total", "logs").await > 0);
}

/// The sequences of messages, each behind its length (RFC 5425 section 4.3).
fn framed(mut bytes: &[u8]) -> Vec<u64> {
    let mut sequences = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&bytes[..space])
            .unwrap()
            .parse()
            .unwrap();
        let message = std::str::from_utf8(&bytes[space + 1..][..length]).unwrap();
        let (_, record) = message.split_once("] ").unwrap();
        let record: serde_json::Value = serde_json::from_str(record).unwrap();
        sequences.push(record["seq"].as_u64().unwrap());
        bytes = &bytes[space + 1 + length..];
    }
    sequences
}

/// Standard output is the only sink whose receiver can hold up a thread.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_holds_up_neither_tokens_nor_the_end() {
    let site = Site::with(|setup| {
        setup.config += &section("out", "stdout", "timeout = \"200ms\"");
    });
    let mut command = site.command();
    command.stdout(Stdio::piped());
    let mut broker = site.run(command).await;
    let key = broker.create_key(spec(&["shop"], &[])).await.secret;
    // More than the pipe has room for.
    exchange(broker.anybody().await, key.clone(), 200).await;
    let failing = async || metric(&broker, "failures_total", "out").await > 0;
    until("a delivery to end", failing).await;
    exchange(broker.anybody().await, key, 20).await;
    assert!(metric(&broker, "lag_records", "out").await > 20);
    assert!(broker.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_delivers_at_least_once_in_order_without_a_gap() {
    let files = Files::new();
    let server = Syslogd::start(&files.authority).await;
    let hook = Hook::plain().await;
    let collector = Collector::start().await;
    let mut broker = Broker::with(|setup| {
        let syslog = format!("url = \"{}\"\n{}", server.url(), files.tls());
        setup.config += &section("logs", "syslog", &syslog);
        setup.config += &section("hook", "webhook", &format!("url = \"{}\"", hook.url));
        setup.config += &section("otel", "otlp", &format!("url = \"{}\"", collector.url()));
    })
    .await;
    let rounds = if long() { 30 } else { 4 };
    for round in 0..rounds {
        load(&broker, 20 + 7 * round).await;
        // In the middle of whatever the sinks do: they look every so often, by themselves.
        broker.kill9().await;
        broker.restart().await;
    }
    for sink in ["logs", "hook", "otel"] {
        until_taken(&broker, sink).await;
    }
    let wanted = u64::try_from(broker.records().len()).unwrap();
    let arrived = async || {
        let all = [
            server.sequences(),
            sequences(&hook.records()),
            collector.sequences(),
        ];
        all.into_iter()
            .all(|sequences| Stream::of(sequences).next >= wanted)
    };
    until("every record at each", arrived).await;
}
