//! What is recorded, what is refused, what is bounded.

use crate::audit::testing::{
    Effect, Memory, NOW, Step, context, key_id, kid, minted, minted_of, open, open_with, options,
    token_id,
};
use crate::audit::{Act, ActKind, LogHealth, Options, Refused};
use crate::authn::{Rejected, Verified};
use crate::clock::Clock;
use crate::id::CredentialId;
use crate::limits;
use crate::marker::{Cover, Marker, Second, Thing};
use crate::mint::Minted;
use crate::policy::Grant;
use crate::refusal::{Code, Denial, Fault, Refusal};
use crate::revocation::HotSet;
use jiff::Timestamp;
use serde_json::json;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn refusal(denial: Denial) -> Code {
    match denial {
        Denial::Refused(refusal) => refusal.code(),
        Denial::Failed { fault, cause } => panic!("{fault}: {cause}"),
    }
}

#[tokio::test]
async fn an_issue_is_on_the_record_before_its_token_is_let_go() {
    let device = Memory::new();
    let opened = open(&device);
    for n in 0..3_u64 {
        let issued = opened
            .log
            .issue(minted(n.into()), &context())
            .await
            .unwrap();
        assert_eq!(issued.receipt().index, n);
        let records = device.power_cut().records();
        let record = records.last().unwrap();
        assert_eq!(record["jti"], token_id(n.into()).to_string());
        assert_eq!((&record["v"], &record["seq"]), (&json!(1), &json!(n)));
        assert_eq!(issued.token().expose(), format!("token-{n}"));
    }
}

/// How a right is lost.
type Mark<'a> = &'a dyn Fn(&HotSet);

#[tokio::test]
async fn a_marker_that_comes_after_the_decision_stops_the_issue() {
    let credential = CredentialId::ApiKey(key_id());
    let revoke = |hot: &HotSet, thing: Thing<'_>| hot.revoke(thing, Second::NEVER);
    let cut_off = |hot: &HotSet, before| {
        let until = Second::NEVER;
        let cover = Cover { before, until };
        let id = Thing::Issuer("https://issuer.example").id();
        hot.put(Marker { id, cover });
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    let before = Some(at(NOW - 1));
    let ways: [(&str, Option<Timestamp>, Mark<'_>, Code); 7] = [
        (
            "revoked",
            None,
            &|hot| revoke(hot, Thing::Credential(credential)),
            Code::Revoked,
        ),
        (
            "compromised",
            before,
            &|hot| revoke(hot, Thing::SigningKey(&kid())),
            Code::Revoked,
        ),
        (
            "made from what is cut off",
            before,
            &|hot| cut_off(hot, Second::of(at(NOW))),
            Code::Revoked,
        ),
        (
            "banned",
            None,
            &|hot| cut_off(hot, Second::NEVER),
            Code::Revoked,
        ),
        (
            "cut off, and revoked",
            None,
            &|hot| {
                cut_off(hot, Second::of(at(NOW)));
                revoke(hot, Thing::SigningKey(&kid()));
            },
            Code::Revoked,
        ),
        // A later one is covered by none of these.
        (
            "of the cut-off's second",
            None,
            &|hot| cut_off(hot, Second::of(at(NOW))),
            Code::TooBusy,
        ),
        (
            "of the second before it",
            None,
            &|hot| cut_off(hot, Second::of(at(NOW + 1))),
            Code::TooBusy,
        ),
    ];
    for (way, parent, mark, code) in ways {
        let issue = |n| {
            let mut verified = Verified::of_key_for_test(key_id(), "sub", None);
            if let Some(issued) = parent {
                verified = verified.by_token_for_test(issued);
            }
            minted_of(Grant::of_rules_for_test(verified, Vec::new(), "{}"), n)
        };
        let device = Memory::new();
        let opened = open(&device);
        device.hold(true);
        let first = opened.log.issue(issue(1), &context());
        device.await_sync();
        // Queued before the marker is in force, but not in a batch yet.
        let second = opened.log.issue(issue(2), &context());
        mark(&opened.hot);
        let revoke = opened.log.event(&Act::new(ActKind::Admin, "revoke"));
        device.hold(false);
        assert!(first.await.is_ok());
        assert_eq!(refusal(second.await.unwrap_err()), code, "{way}");
        revoke.await.unwrap();
        let kinds: Vec<_> = device.records().iter().map(|r| r["kind"].clone()).collect();
        assert_eq!(kinds, ["issue", "refuse", "admin"]);
        assert_eq!(device.records()[1]["code"], code.code());
        assert_eq!(device.records()[1]["jti"], token_id(2).to_string());
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_issued() {
    let device = Memory::new();
    let opened = open(&device);
    let denied = opened.log.issue(of_input(limits::RECORD, 1), &context());
    match denied.await.unwrap_err() {
        Denial::Failed { fault, .. } => assert_eq!(fault, Fault::Internal),
        Denial::Refused(refusal) => panic!("{refusal}"),
    }
    assert_eq!(device.records().len(), 0);
    opened.log.issue(minted(2), &context()).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_record() {
    let device = Memory::new();
    let opened = open(&device);
    drop(opened.log.issue(minted(1), &context()));
    opened.log.issue(minted(2), &context()).await.unwrap();
    assert_eq!(device.power_cut().records().len(), 2);
}

#[tokio::test]
async fn the_queue_is_bounded_at_n_and_n_plus_one() {
    let device = Memory::new();
    let opened = open(&device);
    device.hold(true);
    let mut waiting: Vec<_> = (0..limits::LOG_QUEUE)
        .map(|n| opened.log.issue(minted(n as u128), &context()))
        .collect();
    let beyond = opened.log.issue(minted(0), &context()).await;
    assert_eq!(refusal(beyond.unwrap_err()), Code::TooBusy);
    device.hold(false);
    let last = waiting.pop().unwrap().await;
    assert!(last.is_ok());
    for answer in waiting {
        assert!(answer.await.is_ok());
    }
    assert!(opened.log.issue(minted(0), &context()).await.is_ok());
    opened.log.close().await;
    assert_eq!(opened.log.stats().queued.load(Ordering::Acquire), 0);
    assert_eq!(opened.log.stats().queued_bytes.load(Ordering::Acquire), 0);
}

/// An issue whose record takes as much room as one can.
fn large(n: u128) -> Minted {
    of_input(60_000, n)
}

fn of_input(bytes: usize, n: u128) -> Minted {
    let input = format!("\"{}\"", "x".repeat(bytes));
    let verified = Verified::of_key_for_test(key_id(), "sub", None);
    minted_of(Grant::of_rules_for_test(verified, Vec::new(), &input), n)
}

#[tokio::test]
async fn the_queue_is_bounded_in_bytes_at_n_and_n_plus_one_and_so_is_a_batch() {
    let device = Memory::new();
    let opened = open(&device);
    device.hold(true);
    let first = opened.log.issue(large(0), &context());
    let queued = || opened.log.stats().queued_bytes.load(Ordering::Acquire);
    let each = queued();
    let fit = limits::LOG_QUEUE_BYTES / each;
    let rest: Vec<_> = (1..fit)
        .map(|n| opened.log.issue(large(n as u128), &context()))
        .collect();
    assert_eq!(queued(), fit * each);
    let beyond = opened.log.issue(large(0), &context()).await;
    assert_eq!(refusal(beyond.unwrap_err()), Code::TooBusy);
    device.hold(false);
    first.await.unwrap();
    for answer in rest {
        answer.await.unwrap();
    }
    assert!(device.largest_append() <= limits::LOG_BATCH_BYTES);
    assert!(device.largest_append() > limits::LOG_BATCH_BYTES / 2);
    // What did not fit waited for no more company.
    assert_eq!(opened.clock.monotonic(), Duration::ZERO);
}

#[tokio::test]
async fn one_commit_carries_all_that_is_queued() {
    let device = Memory::new();
    let opened = open(&device);
    device.hold(true);
    let first = opened.log.issue(minted(0), &context());
    device.await_sync();
    let rest: Vec<_> = (1..=1000)
        .map(|n| opened.log.issue(minted(n), &context()))
        .collect();
    device.hold(false);
    first.await.unwrap();
    for answer in rest {
        answer.await.unwrap();
    }
    assert_eq!(opened.log.stats().batch.count(), 2);
    assert_eq!(opened.log.stats().batch.sum(), 1001);
}

#[tokio::test]
async fn only_after_a_crowd_does_a_commit_wait_for_company() {
    for (crowd, waited) in [
        (limits::LOG_CROWD - 1, Duration::ZERO),
        (limits::LOG_CROWD, limits::LOG_GATHER),
    ] {
        let device = Memory::new();
        let opened = open(&device);
        device.hold(true);
        let first = opened.log.issue(minted(0), &context());
        device.await_sync();
        let crowd: Vec<_> = (0..crowd)
            .map(|n| opened.log.issue(minted(n.into()), &context()))
            .collect();
        device.hold(false);
        first.await.unwrap();
        for answer in crowd {
            answer.await.unwrap();
        }
        assert_eq!(opened.clock.monotonic(), Duration::ZERO);
        opened.log.issue(minted(1), &context()).await.unwrap();
        assert_eq!(opened.clock.monotonic(), waited);
        // That one was alone.
        opened.log.issue(minted(2), &context()).await.unwrap();
        assert_eq!(opened.clock.monotonic(), waited);
    }
}

#[tokio::test]
async fn the_first_lone_caller_after_a_crowd_is_committed_at_once() {
    let device = Memory::new();
    let opened = open(&device);
    device.hold(true);
    let first = opened.log.issue(minted(0), &context());
    device.await_sync();
    let crowd: Vec<_> = (0..limits::LOG_CROWD)
        .map(|n| opened.log.issue(minted(n.into()), &context()))
        .collect();
    device.hold(false);
    first.await.unwrap();
    for answer in crowd {
        answer.await.unwrap();
    }
    opened.clock.advance(1);
    opened.log.issue(minted(1), &context()).await.unwrap();
    assert_eq!(opened.clock.monotonic(), Duration::from_secs(1));
}

#[tokio::test]
async fn refusals_give_way_when_the_queue_is_over_half_full() {
    let device = Memory::new();
    let opened = open(&device);
    let no = Refusal::new(Code::CredentialRefused, "expired");
    let refused = Refused {
        credential: Some(CredentialId::ApiKey(key_id())),
        ..Refused::new(&no)
    };
    device.hold(true);
    let half = limits::LOG_QUEUE / 2;
    let mut waiting: Vec<_> = (0..half)
        .map(|n| opened.log.issue(minted(n as u128), &context()))
        .collect();
    opened.log.refuse(&refused, &context());
    let summarised = || opened.log.stats().summarised.load(Ordering::Relaxed);
    assert_eq!(summarised(), 0);
    opened.log.refuse(&refused, &context());
    assert_eq!(summarised(), 1);
    device.hold(false);
    waiting.pop().unwrap().await.unwrap();
    // What gave way is in the summary.
    opened.log.close().await;
    let records = device.records();
    assert_eq!(records[half]["code"], "credential_refused");
    assert_eq!(records[half]["detail"], "expired");
    let summary = records.last().unwrap();
    assert_eq!(summary["kind"], "refusals");
    let expected = json!([{"code": "credential_refused", "network": "192.0.2.0/24", "count": 1}]);
    assert_eq!(summary["refused"], expected);
}

#[tokio::test]
async fn refusals_leave_the_last_of_the_disk_to_others() {
    let device = Memory::new();
    device.set_available(options().refusal_floor - 1);
    let opened = open(&device);
    let no = Refusal::new(Code::TokenRefused, "expired");
    let refused = Refused {
        credential: Some(CredentialId::ApiKey(key_id())),
        ..Refused::new(&no)
    };
    opened.log.refuse(&refused, &context());
    opened.log.issue(minted(1), &context()).await.unwrap();
    assert_eq!(opened.log.stats().dropped.load(Ordering::Relaxed), 1);
    device.set_available(options().refusal_floor);
    opened.clock.advance(1);
    opened.log.refuse(&refused, &context());
    opened.log.close().await;
    let kinds: Vec<_> = device.records().iter().map(|r| r["kind"].clone()).collect();
    assert_eq!(kinds, ["issue", "refuse", "refusals"]);
    assert_eq!(device.records()[2]["refused"][0]["count"], 1);
}

/// Nobody waits for a refusal: one that was queued and is lost with its batch, or finds no segment open, is counted.
#[tokio::test]
async fn refusals_that_a_failed_log_loses_are_counted() {
    let no = Refusal::new(Code::TokenRefused, "expired");
    let refused = Refused {
        credential: Some(CredentialId::ApiKey(key_id())),
        ..Refused::new(&no)
    };
    let device = Memory::new();
    let opened = open(&device);
    let dropped = || opened.log.stats().dropped.load(Ordering::Relaxed);
    device.hold(true);
    let first = opened.log.issue(minted(1), &context());
    device.await_sync();
    opened.log.refuse(&refused, &context());
    device.fail(Step::Sync, Effect::Persists, ErrorKind::Other);
    device.break_down(Step::Create);
    device.hold(false);
    assert!(first.await.is_err());
    let waiting = opened.log.event(&Act::new(ActKind::Start, "broker.start"));
    assert!(waiting.await.is_err());
    assert_eq!(dropped(), 1, "no segment is open");

    let device = Memory::new();
    let opened = open(&device);
    let dropped = || opened.log.stats().dropped.load(Ordering::Relaxed);
    device.fail(Step::Sync, Effect::Persists, ErrorKind::Other);
    opened.log.refuse(&refused, &context());
    let waiting = opened.log.event(&Act::new(ActKind::Start, "broker.start"));
    let _ = waiting.await;
    assert_eq!(dropped(), 1, "its batch is dropped");
}

#[tokio::test]
async fn unknown_callers_are_only_counted() {
    let device = Memory::new();
    let opened = open(&device);
    let no = Refusal::new(Code::CredentialMalformed, "checksum");
    for _ in 0..1000 {
        opened.log.refuse(&Refused::new(&no), &context());
    }
    opened.log.tick();
    opened.log.close().await;
    let records = device.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["refused"][0]["count"], 1000);
}

fn rejected(n: u32, is_registered: bool) -> Rejected {
    Rejected {
        refusal: Refusal::new(Code::CredentialRefused, format!("cause {n}")),
        named: Some(CredentialId::ApiKey(key_id())),
        is_registered,
        key: None,
        made_from: crate::authn::MadeFrom::default(),
    }
}

#[tokio::test]
async fn failed_authentications_take_one_course_until_the_tick_and_then_theirs() {
    let device = Memory::new();
    let opened = open(&device);
    let summarised = || opened.log.stats().summarised.load(Ordering::Relaxed);
    for (n, is_registered) in [(1, true), (2, false)] {
        opened.log.reject(rejected(n, is_registered), &context());
        let queued = opened.log.stats().queued.load(Ordering::Acquire);
        assert_eq!((queued, summarised()), (0, 0), "nothing is decided yet");
    }
    opened.clock.advance(1);
    opened.log.close().await;
    let records = device.records();
    let told: Vec<_> = records.iter().map(|r| (&r["kind"], &r["detail"])).collect();
    assert_eq!(told[0], (&json!("refuse"), &json!("cause 1")));
    assert_eq!(told[1].0, "refusals");
    assert_eq!(records.len(), 2);
    let at = |second| Timestamp::from_second(second).unwrap();
    let time = |n: usize| records[n]["time"].as_str().unwrap().parse::<Timestamp>();
    assert_eq!(time(0).unwrap(), at(NOW), "when it was answered");
    assert_eq!(time(1).unwrap(), at(NOW + 1));
    assert_eq!(records[1]["refused"][0]["count"], 1);
}

#[tokio::test]
async fn notes_are_bounded_at_n_and_n_plus_one_and_strangers_crowd_nobody_out() {
    let device = Memory::new();
    let opened = open(&device);
    let summarised = || opened.log.stats().summarised.load(Ordering::Relaxed);
    let most = u32::try_from(limits::REFUSALS_NOTED).unwrap();
    for is_registered in [false, true] {
        let before = summarised();
        for n in 0..most {
            opened.log.reject(rejected(n, is_registered), &context());
        }
        assert_eq!(summarised(), before);
        opened.log.reject(rejected(most, is_registered), &context());
        assert_eq!(summarised(), before + 1);
    }
    opened.log.close().await;
    let mut records = device.records();
    let summary = records.pop().unwrap();
    assert_eq!(records.len(), limits::REFUSALS_NOTED);
    assert!(records.iter().all(|record| record["kind"] == "refuse"));
    assert_eq!(summary["refused"][0]["count"], most + 2);
}

#[tokio::test]
async fn segments_follow_each_other_by_size_and_by_age() {
    let device = Memory::new();
    let small = Options {
        segment_bytes: 2048,
        segment_age: Duration::from_secs(60),
        ..options()
    };
    let opened = open_with(&device, small).unwrap();
    for n in 0..9 {
        opened.log.issue(minted(n), &context()).await.unwrap();
    }
    let by_size = opened.log.stats().segments.load(Ordering::Relaxed);
    assert!(by_size >= 2, "{by_size}");
    opened.clock.advance(60);
    opened.log.issue(minted(9), &context()).await.unwrap();
    assert_eq!(
        opened.log.stats().segments.load(Ordering::Relaxed),
        by_size + 1
    );
    opened.log.close().await;
    assert_eq!(device.records().len(), 10);
    // Only the last segment is read at start, and its header has what the others said.
    let again = open_with(&device, small).unwrap();
    assert_eq!(again.recovered.next, 10);
    assert_eq!(again.recovered.mark, Timestamp::from_second(NOW).ok());
}

#[tokio::test]
async fn a_closed_log_takes_nothing_and_has_written_all_it_took() {
    let device = Memory::new();
    let opened = open(&device);
    let waiting: Vec<_> = (0..100)
        .map(|n| opened.log.issue(minted(n), &context()))
        .collect();
    opened.log.close().await;
    for answer in waiting {
        answer.await.unwrap();
    }
    assert_eq!(device.power_cut().records().len(), 100);
    assert!(matches!(&*opened.log.health(), LogHealth::Failed { .. }));
    match opened.log.issue(minted(0), &context()).await.unwrap_err() {
        Denial::Failed { fault, .. } => assert_eq!(fault, Fault::LogUnavailable),
        Denial::Refused(refusal) => panic!("{refusal}"),
    }
}
