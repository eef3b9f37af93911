//! Requests to a web server: how they look, and what each answer does.

use super::flow::Files;
use super::hook::{Hook, Noted};
use super::{Stream, load, metric, section, sequences, until, until_taken};
use crate::support::broker::Broker;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

#[tokio::test]
async fn requests_go_over_tls_with_token_and_a_signature_that_a_foreign_library_verifies() {
    let files = Files::new();
    let key = format!("whsec_{}", STANDARD.encode([7; 24]));
    files.write("key", &key);
    files.write("token", "s3cret-token\n");
    let hook = Hook::encrypted(&files.authority).await;
    let named = files.keys(&[("bearer_file", "token"), ("signing_key_file", "key")]);
    let broker = Broker::with(|setup| {
        let more = format!("url = \"{}\"\n{}{named}", hook.url, files.tls());
        setup.config += &section("hook", "webhook", &more);
    })
    .await;
    load(&broker, 2).await;
    until_taken(&broker, "hook").await;
    let requests = hook.taken();
    let text = |request: &Noted, name: &str| request.headers[name].to_str().unwrap().to_owned();
    for request in &requests {
        assert_eq!(text(request, "authorization"), "Bearer s3cret-token");
        let records: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
        let (first, last) = (&records[0]["seq"], &records[records.len() - 1]["seq"]);
        assert!(text(request, "webhook-id").ends_with(&format!("-{first}-{last}")));
        assert_eq!(verify(&key, request).await, "yes");
        let mut forged = request.clone();
        forged.body[0] = b' ';
        assert_eq!(verify(&key, &forged).await, "no");
    }
    Stream::of(sequences(&hook.records()));
    assert!(!broker.stderr().contains("s3cret-token"));
}

/// What the library of Standard Webhooks says.
async fn verify(key: &str, request: &Noted) -> String {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> = names
        .map(|name| {
            (
                name.to_owned(),
                json!(request.headers[name].to_str().unwrap()),
            )
        })
        .into_iter()
        .collect();
    let body = String::from_utf8(request.body.clone()).unwrap();
    python(
        "webhook.py",
        json!({ "key": key, "headers": headers, "body": body }),
    )
    .await["said"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Runs a script with one JSON value in and one out.
pub(super) async fn python(script: &str, input: Value) -> Value {
    let mut child = Command::new(super::tool("target/tools/python/bin/python"))
        .arg(super::tool(&format!("tests/interop/python/{script}")))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = crate::support::edge::within(script, child.wait_with_output())
        .await
        .unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn an_answer_that_is_no_yes_loses_nothing_and_no_redirect_is_followed() {
    let hook = Hook::plain().await;
    hook.answer(StatusCode::INTERNAL_SERVER_ERROR);
    let broker = Broker::with(|setup| {
        let more = format!("url = \"{}\"\nbody = \"lines\"", hook.url);
        setup.config += &section("hook", "webhook", &more);
    })
    .await;
    load(&broker, 5).await;
    // Pauses grow: a few answers do for all that are judged alike.
    for status in [StatusCode::UNAUTHORIZED, StatusCode::TEMPORARY_REDIRECT] {
        hook.answer(status);
        let before = hook.asked().len();
        until("another try", async || hook.asked().len() > before).await;
    }
    assert!(hook.taken().is_empty());
    assert_eq!(metric(&broker, "refused_total", "hook").await, 0);
    assert_eq!(metric(&broker, "delivered_total", "hook").await, 0);
    let counted = async || metric(&broker, "failures_total", "hook").await >= 3;
    until("failures to be counted", counted).await;
    hook.answer(StatusCode::OK);
    until_taken(&broker, "hook").await;
    let stream = Stream::of(sequences(&hook.records()));
    assert_eq!(stream.next, u64::try_from(broker.records().len()).unwrap());
    assert!(hook.asked().iter().all(|asked| asked.path == "/events"));
}

/// What its answer says of the whole batch, the sink finds out of each record; and not every record can be wrong.
#[tokio::test]
async fn a_receiver_that_refuses_everything_costs_no_more_than_the_named_number() {
    let hook = Hook::plain().await;
    hook.answer(StatusCode::BAD_REQUEST);
    let broker = Broker::with(|setup| {
        setup.config += &section("hook", "webhook", &format!("url = \"{}\"", hook.url));
    })
    .await;
    load(&broker, 10).await;
    let most = u64::from(cambist::limits::SINK_REFUSALS);
    let failing = async || metric(&broker, "failures_total", "hook").await > 1;
    until("the sink to fail", failing).await;
    assert_eq!(metric(&broker, "refused_total", "hook").await, most);
    broker.says("refuses this record for good").await;
    hook.answer(StatusCode::OK);
    until_taken(&broker, "hook").await;
    let records = hook.records();
    let first = records[0]["seq"].as_u64().unwrap();
    assert_eq!(first, most, "those set aside, and no more");
    assert_eq!(
        first + u64::try_from(records.len()).unwrap(),
        u64::try_from(broker.records().len()).unwrap()
    );
}
