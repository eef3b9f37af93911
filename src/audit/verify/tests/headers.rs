//! The headers of a log to which everything happens that headers tell of.

use super::{look, publisher, value};
use crate::audit::testing::{
    Effect, Memory, Step, context, key_id, minted, open_with, options, until,
};
use crate::audit::tests::outbox::entry;
use crate::audit::{Act, ActKind, CLOCK_CONFIRMED, Finding, Log, LogHealth, Options, Segments};
use crate::id::CredentialId;
use crate::marker::{Second, Thing};
use std::io::ErrorKind;
use std::sync::Arc;

async fn act(log: &Log, action: &str) {
    log.event(&Act::new(ActKind::Admin, action)).await.unwrap();
}

/// One record a segment.
async fn eventful() -> Arc<Memory> {
    let device = Memory::new();
    let options = || Options {
        segment_bytes: 1,
        ..options()
    };
    let opened = open_with(&device, options()).unwrap();
    let log = &opened.log;
    log.issue(minted(1), &context()).await.unwrap();
    log.take_over(&[entry(log, 1, "key.create")]).await.unwrap();
    log.take_over(&[entry(log, 2, "key.create")]).await.unwrap();
    act(log, CLOCK_CONFIRMED).await;
    act(log, "key.create").await;
    // Refused at the last moment: its time counts for the next start, and not for this writer.
    let thing = Thing::Credential(CredentialId::ApiKey(key_id()));
    opened.hot.revoke(thing, Second::NEVER);
    for n in 2..4 {
        log.issue(minted(n), &context()).await.unwrap_err();
        if n == 2 {
            act(log, "key.create").await;
        }
    }
    log.close().await;
    let opened = open_with(&device, options()).unwrap();
    let log = &opened.log;
    assert!(opened.recovered.mark.is_some());
    act(log, "key.create").await;
    log.begin_anew().await.unwrap();
    act(log, "key.create").await;
    device.fail(Step::Sync, Effect::Fails, ErrorKind::Other);
    log.issue(minted(4), &context()).await.unwrap_err();
    until(log, |health| *health == LogHealth::Writing).await;
    act(log, "key.create").await;
    log.close().await;
    device
}

#[tokio::test]
async fn every_byte_of_every_header_counts_but_when_it_was_begun_and_its_tag() {
    let device = eventful().await;
    let folder = tempfile::tempdir().unwrap();
    let segments = || Arc::clone(&device) as Arc<dyn Segments>;
    let firsts = device.segments().unwrap();
    assert!(firsts.len() > 10, "{firsts:?}");
    let durable = device.segments().unwrap().pop().unwrap() + 1;
    let publisher = publisher(folder.path(), segments(), durable);
    publisher.advance(durable).unwrap();
    let key = publisher.verifier();
    let look = || look(folder.path(), segments(), key);
    look().unwrap();
    for first in firsts {
        let good = device.bytes(first);
        let begun = value(&good, "created");
        let headed = good.iter().position(|byte| *byte == b'\n').unwrap();
        let tag = value(&good, "mac");
        for at in 0..=headed {
            let mut bad = good.clone();
            bad[at] ^= 1;
            device.set_bytes(first, bad);
            let found = look();
            assert!(
                found.is_err() || begun.contains(&at) || tag.contains(&at),
                "byte {at} of the segment of record {first}: {}",
                String::from_utf8_lossy(&good[..headed])
            );
        }
        device.set_bytes(first, good);
    }
}

/// Each field, changed into another that is of the right form.
#[tokio::test]
async fn a_header_that_says_what_the_records_do_not_is_named() {
    let device = eventful().await;
    let folder = tempfile::tempdir().unwrap();
    let segments = || Arc::clone(&device) as Arc<dyn Segments>;
    let durable = device.segments().unwrap().pop().unwrap() + 1;
    let publisher = publisher(folder.path(), segments(), durable);
    publisher.advance(durable).unwrap();
    let last = device.segments().unwrap().pop().unwrap();
    type Change = fn(&mut serde_json::Value, &serde_json::Value);
    let changes: [(&str, Change); 7] = [
        ("its form", |header, _| header["more"] = 1.into()),
        ("the log's origin", |header, _| {
            header["origin"] = "https://elsewhere.example.org/n".into();
        }),
        ("which log it is of", |header, first| {
            header["log"] = first["log"].clone();
        }),
        ("how far the store's outbox was taken over", |header, _| {
            header["drained_at"] = 1.into();
        }),
        ("how far the store's outbox was taken over", |header, _| {
            header["drained"] = serde_json::Value::Null;
            header["drained_at"] = serde_json::Value::Null;
        }),
        ("the highest time of an issue before it", |header, _| {
            header["mark"] = serde_json::Value::Null;
        }),
        ("the size of the segment before it", |header, _| {
            let size = header["previous"]["size"].as_u64().unwrap();
            header["previous"]["size"] = (size + 1).into();
        }),
    ];
    let header = |first| {
        let bytes = device.bytes(first);
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap();
        serde_json::from_slice::<serde_json::Value>(line).unwrap()
    };
    let (good, begin) = (device.bytes(last), header(0));
    for (what, change) in changes {
        let mut changed = header(last);
        change(&mut changed, &begin);
        // The order of the fields is part of the form: values are put in the places of values.
        let text = String::from_utf8(good.clone()).unwrap();
        let (old, rest) = text.split_once('\n').unwrap();
        let mut line = old.to_owned();
        for (name, value) in changed.as_object().unwrap() {
            let was = &header(last)[name.as_str()];
            if was.is_null() && name == "more" {
                line = line.replacen('}', &format!(r#","{name}":{value}}}"#), 1);
            }
            line = line.replacen(
                &format!(r#""{name}":{was}"#),
                &format!(r#""{name}":{value}"#),
                1,
            );
        }
        device.set_bytes(last, format!("{line}\n{rest}").into_bytes());
        let found = look(folder.path(), segments(), publisher.verifier());
        let named = matches!(&found, Err(Finding::Header { first, what: why }) if *first == last && *why == what);
        assert!(named, "{what}: {found:?}: {line}");
        device.set_bytes(last, good.clone());
    }
    look(folder.path(), segments(), publisher.verifier()).unwrap();
}
