//! Each call of the writer fails in each way. Whatever happens: who got a token has it on the record, who did
//! not was told at once, nothing is retried on the segment that failed, and the log goes on in a new one.

use crate::audit::device::Segments as _;
use crate::audit::testing::{
    Effect, Memory, Step, context, minted, open, open_with, options, token_id, until,
};
use crate::audit::{Act, ActKind, LogHealth, OpenError, Options};
use crate::refusal::{Denial, Fault};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

fn fault(denial: &Denial) -> Fault {
    match denial {
        Denial::Failed { fault, .. } => *fault,
        Denial::Refused(refusal) => panic!("{refusal}"),
    }
}

fn is_writing(health: &LogHealth) -> bool {
    *health == LogHealth::Writing
}

/// Every token handed out is there, by its `jti`, exactly once.
fn assert_recorded(device: &Arc<Memory>, issued: &[u128]) {
    let records = device.records();
    for n in issued {
        let jti = token_id(*n).to_string();
        let found = records
            .iter()
            .filter(|r| r["jti"] == jti && r["kind"] == "issue");
        assert_eq!(found.count(), 1, "token {n} in {records:#?}");
    }
}

/// Step × effect → the log is in a new segment after one batch was refused.
#[tokio::test]
async fn each_step_of_a_commit_may_fail_in_each_way() {
    use {Effect::*, Step::*};
    for (step, effect) in [
        (Append, Fails),
        (Append, Short),
        (Append, Persists),
        (Sync, Fails),
        (Sync, Short),
        (Sync, Persists),
        (Size, Fails),
    ] {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            let what = format!("{step:?} {effect:?} {kind:?}");
            let device = Memory::new();
            let opened = open(&device);
            opened.log.issue(minted(1), &context()).await.unwrap();
            let synced = device.calls(Sync);
            device.fail(step, effect, kind);
            let refused = opened.log.issue(minted(2), &context()).await;
            assert_eq!(
                fault(&refused.unwrap_err()),
                Fault::LogUnavailable,
                "{what}"
            );
            until(&opened.log, is_writing).await;
            assert!(device.calls(Sync) <= synced + 1, "{what}: sync retried");
            opened.log.issue(minted(3), &context()).await.unwrap();
            for left in [device.power_cut(), device.clone()] {
                assert_recorded(&left, &[1, 3]);
                let records = left.records();
                assert_eq!(records[1]["kind"], "gap", "{what}");
                assert_eq!(records[1]["dropped"], 1, "{what}");
            }
            opened.log.close().await;
            assert_eq!(open(&device.power_cut()).recovered.next, 3, "{what}");
        }
    }
}

#[tokio::test]
async fn a_failed_first_batch_of_a_segment_leaves_no_trace_of_it() {
    let device = Memory::new();
    let opened = open(&device);
    device.fail(Step::Sync, Effect::Persists, ErrorKind::Other);
    assert!(opened.log.issue(minted(1), &context()).await.is_err());
    until(&opened.log, is_writing).await;
    opened.log.issue(minted(2), &context()).await.unwrap();
    let kinds: Vec<_> = device.records().iter().map(|r| r["kind"].clone()).collect();
    assert_eq!(kinds, ["gap", "issue"]);
}

#[tokio::test]
async fn while_no_segment_can_be_begun_all_is_refused_and_then_the_log_heals() {
    let device = Memory::new();
    let opened = open(&device);
    opened.log.issue(minted(1), &context()).await.unwrap();
    device.fail(Step::Sync, Effect::Fails, ErrorKind::Other);
    for effect in [
        Effect::Fails,
        Effect::Short,
        Effect::Persists,
        Effect::Fails,
    ] {
        device.fail(Step::Create, effect, ErrorKind::ReadOnlyFilesystem);
    }
    let mut changes = opened.log.health_changes();
    let refused = opened.log.issue(minted(2), &context()).await;
    assert_eq!(fault(&refused.unwrap_err()), Fault::LogUnavailable);
    changes.changed().await.unwrap();
    until(&opened.log, is_writing).await;
    opened.log.issue(minted(3), &context()).await.unwrap();
    assert_eq!(device.calls(Step::Create), 1 + 4 + 1);
    assert_recorded(&device.power_cut(), &[1, 3]);
}

#[tokio::test]
async fn a_full_disk_takes_what_the_store_committed_and_nothing_else() {
    let device = Memory::new();
    let opened = open(&device);
    opened.log.issue(minted(1), &context()).await.unwrap();
    device.fill(true);
    assert!(opened.log.issue(minted(2), &context()).await.is_err());
    let failed = |health: &LogHealth| matches!(health, LogHealth::Failed { cause, .. } if cause.contains("full"));
    until(&opened.log, failed).await;
    assert!(opened.log.issue(minted(3), &context()).await.is_err());
    let event = opened.log.event(&Act::new(ActKind::Start, "broker.start"));
    assert!(event.await.is_err());
    let revoke = super::outbox::entry(&opened.log, 5, "key.revoke");
    let sequence = opened.log.take_over(&[revoke]).await.unwrap();
    assert_eq!(sequence, 2);
    device.fill(false);
    until(&opened.log, is_writing).await;
    opened.log.issue(minted(4), &context()).await.unwrap();
    let kinds: Vec<_> = device
        .power_cut()
        .records()
        .iter()
        .map(|r| r["kind"].clone())
        .collect();
    assert_eq!(kinds, ["issue", "gap", "admin", "issue"]);
}

#[tokio::test]
async fn a_start_on_a_full_disk_without_reserve_does_not_issue() {
    let before = Memory::new();
    open(&before).log.close().await;
    let device = before.power_cut();
    device.fill(true);
    let opened = open(&device);
    let failed = |health: &LogHealth| !is_writing(health);
    until(&opened.log, failed).await;
    assert!(opened.log.issue(minted(1), &context()).await.is_err());
    device.fill(false);
    until(&opened.log, is_writing).await;
    opened.log.issue(minted(2), &context()).await.unwrap();
}

/// The reserve is gone, and what keeps it from being set aside again is not a full disk.
#[tokio::test]
async fn while_the_reserve_cannot_be_set_aside_revocations_go_on_and_nothing_else() {
    let device = Memory::new();
    let opened = open(&device);
    opened.log.issue(minted(1), &context()).await.unwrap();
    device.break_down(Step::KeepReserve);
    device.fill(true);
    assert!(opened.log.issue(minted(2), &context()).await.is_err());
    let told = |health: &LogHealth| matches!(health, LogHealth::Failed { cause, .. } if cause.contains("reserve") && cause.contains("injected") && !cause.contains("full"));
    // Callers are told before another segment is begun: until then there must be no room for it but the reserve.
    until(&opened.log, told).await;
    device.fill(false);
    // However often it is tried.
    let tried = device.calls(Step::KeepReserve);
    let again = async {
        while device.calls(Step::KeepReserve) < tried + 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, again).await.unwrap();
    let refused = opened.log.issue(minted(3), &context()).await;
    assert_eq!(fault(&refused.unwrap_err()), Fault::LogUnavailable);
    let event = opened.log.event(&Act::new(ActKind::Start, "broker.start"));
    assert!(event.await.is_err());
    for revision in [5, 6] {
        let revoke = super::outbox::entry(&opened.log, revision, "key.revoke");
        opened.log.take_over(&[revoke]).await.unwrap();
    }
    assert!(told(&opened.log.health()));
    device.mend();
    until(&opened.log, is_writing).await;
    opened.log.issue(minted(4), &context()).await.unwrap();
    let left = device.power_cut();
    assert_recorded(&left, &[1, 4]);
    let kinds: Vec<_> = left.records().iter().map(|r| r["kind"].clone()).collect();
    assert_eq!(kinds, ["issue", "gap", "admin", "admin", "issue"]);
}

#[tokio::test]
async fn a_start_that_cannot_set_the_reserve_aside_is_refused_and_loses_nothing() {
    let before = Memory::new();
    let opened = open(&before);
    opened.log.issue(minted(1), &context()).await.unwrap();
    opened.log.close().await;
    for device in [before.power_cut(), Memory::new()] {
        let records = device.segments().unwrap().len();
        device.break_down(Step::KeepReserve);
        let refused = open_with(&device, options()).err().unwrap();
        assert!(matches!(refused, OpenError::Io(_)), "{refused}");
        for word in ["reserve", "injected"] {
            assert!(refused.to_string().contains(word), "{refused}");
        }
        device.mend();
        let opened = open(&device);
        assert_eq!(*opened.log.health(), LogHealth::Writing);
        opened.log.issue(minted(2), &context()).await.unwrap();
        let issued: &[u128] = if records == 0 { &[2] } else { &[1, 2] };
        assert_recorded(&device.power_cut(), issued);
    }
}

fn rotating() -> Options {
    Options {
        segment_bytes: 1,
        ..options()
    }
}

#[tokio::test]
async fn a_rotation_that_comes_to_nothing_leaves_the_segment_in_use() {
    let device = Memory::new();
    let opened = open_with(&device, rotating()).unwrap();
    opened.log.issue(minted(1), &context()).await.unwrap();
    device.fail(Step::Create, Effect::Fails, ErrorKind::Other);
    opened.log.issue(minted(2), &context()).await.unwrap();
    assert_eq!(*opened.log.health(), LogHealth::Writing);
    opened.clock.advance(5);
    opened.log.issue(minted(3), &context()).await.unwrap();
    assert_recorded(&device.power_cut(), &[1, 2, 3]);
}

/// The new segment has its name, and only then something fails. The next start would go on from it, whatever the old one
/// took meanwhile: so the old one takes nothing.
#[tokio::test]
async fn a_rotation_that_may_have_come_about_closes_the_segment_before_it() {
    for (before, step, effect, next) in [
        (None, Step::Create, Effect::Persists, 2),
        // The old segment is looked at, and then the new one. The gap is not tried where the old one cannot be.
        (None, Step::Size, Effect::Fails, 1),
        (Some(Effect::Works), Step::Size, Effect::Fails, 1),
    ] {
        let fail = |device: &Memory, times| {
            let effects = before.into_iter().chain(std::iter::repeat_n(effect, times));
            effects.for_each(|effect| device.fail(step, effect, ErrorKind::Other));
        };
        let device = Memory::new();
        let opened = open_with(&device, rotating()).unwrap();
        opened.log.issue(minted(1), &context()).await.unwrap();
        fail(&device, 1);
        // Healed before the record is written, so that its caller notices nothing.
        opened.log.issue(minted(2), &context()).await.unwrap();
        opened.log.issue(minted(3), &context()).await.unwrap();
        for left in [device.power_cut(), device.clone()] {
            assert_recorded(&left, &[1, 2, 3]);
            assert_eq!(left.records()[1]["kind"], "gap", "{step:?}");
        }
        opened.log.close().await;
        let again = open(&device.power_cut());
        assert_eq!(again.recovered.next, 4, "{step:?}");
        // And where it cannot be healed at once, nothing is acknowledged that a start would miss.
        let device = Memory::new();
        let opened = open_with(&device, rotating()).unwrap();
        opened.log.issue(minted(1), &context()).await.unwrap();
        fail(&device, 2);
        let refused = opened.log.issue(minted(2), &context()).await;
        assert_eq!(
            fault(&refused.unwrap_err()),
            Fault::LogUnavailable,
            "{step:?}"
        );
        let left = device.power_cut();
        assert_recorded(&left, &[1]);
        assert_eq!(open(&left).recovered.next, next, "{step:?}");
    }
}
