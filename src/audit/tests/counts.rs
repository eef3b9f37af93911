//! Refusals that have no record of their own are counted, and no count is lost.

use crate::audit::testing::{Effect, Memory, NOW, Step, context, minted, open, options, until};
use crate::audit::{Act, ActKind, LogHealth, Refused};
use crate::limits;
use crate::refusal::{Code, Denial, Refusal};
use jiff::Timestamp;
use serde_json::json;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;

/// A summary stands for as many as it says: where it is not written, the next one says so.
#[tokio::test]
async fn no_count_is_lost_with_a_summary() {
    let no = Refusal::new(Code::CredentialMalformed, "checksum");
    for is_full in [true, false] {
        let device = Memory::new();
        let opened = open(&device);
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let refuse = || {
            for _ in 0..1000 {
                opened.log.refuse(&Refused::new(&no), &context());
            }
            opened.log.tick();
        };
        if is_full {
            device.set_available(options().refusal_floor - 1);
        } else {
            device.fail(Step::Sync, Effect::Fails, ErrorKind::Other);
        }
        refuse();
        let waiting = opened.log.event(&Act::new(ActKind::Start, "broker.start"));
        let _ = waiting.await;
        // Callers are told before another segment is begun, and until then no summary is taken.
        until(&opened.log, |health| *health == LogHealth::Writing).await;
        let told = |records: Vec<serde_json::Value>| -> u64 {
            let summaries = records.iter().filter(|record| record["kind"] == "refusals");
            let counts = summaries.map(|summary| summary["refused"][0]["count"].as_u64().unwrap());
            counts.sum()
        };
        assert_eq!(told(device.power_cut().records()), 0, "full: {is_full}");
        device.set_available(u64::MAX);
        opened.clock.advance(1);
        refuse();
        opened.log.close().await;
        let records = device.records();
        assert_eq!(told(records.clone()), 2000, "full: {is_full}");
        let summary = records.iter().rfind(|record| record["kind"] == "refusals");
        let since: Timestamp = summary.unwrap()["since"].as_str().unwrap().parse().unwrap();
        assert_eq!(since, Timestamp::from_second(NOW).unwrap());
        let stats = opened.log.stats();
        assert_eq!((of(&stats.summarised), of(&stats.dropped)), (2000, 0));
    }
}

/// Who is turned away because there is too much costs no place in the queue, and is told all the same.
#[tokio::test]
async fn who_is_told_that_it_is_too_much_is_counted() {
    let device = Memory::new();
    let opened = open(&device);
    device.hold(true);
    let waiting: Vec<_> = (0..limits::LOG_QUEUE)
        .map(|n| opened.log.issue(minted(n as u128), &context()))
        .collect();
    for _ in 0..3 {
        match opened.log.issue(minted(0), &context()).await.unwrap_err() {
            Denial::Refused(refusal) => assert_eq!(refusal.code(), Code::TooBusy),
            Denial::Failed { fault, cause } => panic!("{fault}: {cause}"),
        }
    }
    assert_eq!(opened.log.stats().summarised.load(Ordering::Relaxed), 3);
    device.hold(false);
    for answer in waiting {
        answer.await.unwrap();
    }
    opened.log.close().await;
    let summary = device.records().pop().unwrap();
    let expected = json!([{"code": "too_busy", "network": "192.0.2.0/24", "count": 3}]);
    assert_eq!(summary["refused"], expected);
}
